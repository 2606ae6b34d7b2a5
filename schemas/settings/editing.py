"""One key of one camera changed in a settings file, and not a letter of the rest: comments and order are people's."""

import re
from datetime import datetime
from typing import Any

from schemas.errors import SettingsError
from schemas.settings.toml import parsed_toml

_NAME = r"(?:\"{0}\"|'{0}'|{0})"


def with_camera_key(text: str, camera: str, key: str, value: datetime | None) -> str:
    """The file's text with ``key`` of the camera's table set, or taken out where ``value`` is None.

    Raises:
        SettingsError: the text is no TOML, has no such table, or is written in a way that is not understood here.
    """
    wanted = _parsed(text)
    tables = wanted.get("cameras", {})
    table = tables.get(camera) if isinstance(tables, dict) else None
    if not isinstance(table, dict):
        raise SettingsError(f"the file must have a table [cameras.{camera}], it has none; is it the right file?")
    table.pop(key, None)
    if value is not None:
        table[key] = value
    head = re.compile(rf"^[ \t]*\[[ \t]*cameras[ \t]*\.[ \t]*{_NAME.format(re.escape(camera))}[ \t]*\][^\n]*\n?", re.M)
    line = "" if value is None else f"{key} = {value.isoformat()}\n"
    found = head.search(text)
    if found is not None:
        before, after = text[: found.end()], text[found.end() :]
        end = _end_of_table(after)
        rest = re.sub(rf"^[ \t]*{re.escape(key)}[ \t]*=[^\n]*\n?", "", after[:end], count=1, flags=re.M) + after[end:]
        changed = before + ("" if before.endswith("\n") or not line else "\n") + line + rest
        if _is(changed, wanted):
            return changed
    told = line.strip() or f"{key} = …"
    what = "take out" if value is None else "write"
    raise SettingsError(f"[cameras.{camera}] is written in a way that is not understood here; {what} '{told}' by hand")


def _end_of_table(text: str) -> int:
    found = re.search(r"^[ \t]*\[\[?[ \t]*[A-Za-z0-9_\"'-]+[ \t]*[.\]]", text, re.M)
    return len(text) if found is None else found.start()


def _parsed(text: str) -> dict[str, Any]:
    try:
        return parsed_toml(text)
    except ValueError as error:
        raise SettingsError(f"the file must be TOML: {error}") from error


def _is(text: str, wanted: dict[str, Any]) -> bool:
    try:
        return parsed_toml(text) == wanted
    except ValueError:
        return False
