"""Settings from defaults < file < environment < flags, and where each value came from."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import SecretStr, ValidationError

from schemas.addresses import MASK, without_secrets
from schemas.errors import SettingsError
from schemas.settings.cameras import events_of
from schemas.settings.layers import (
    CAMERAS,
    Layer,
    environment_layer,
    file_layer,
    flag_layer,
    is_secret,
    known_paths,
    shown,
    steps,
)
from schemas.settings.processes import AllSettings, Settings

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """Settings of one process.

    Attributes:
        settings: validated values.
        origins: ``section.key`` to "default", "file PATH", "env NAME" or "flag", for every value of ``settings``, and
            ``cameras.<camera>.<key>`` for what cameras say.
    """

    settings: S
    origins: Mapping[str, str]


def load_settings(kind: type[S], file: Path | None, overrides: Mapping[str, object]) -> S:
    """Merge all sources for one process.

    Args:
        kind: the process's model.
        file: TOML file with sections of any process; none = no file.
        overrides: ``section.key`` to value, from the command line; None values count as not given.

    Raises:
        SettingsError: an unknown key, an unreadable file, or a value out of range; names the place.
    """
    return load_with_origins(kind, file, overrides).settings


def load_with_origins(
    kind: type[S],
    file: Path | None,
    overrides: Mapping[str, object],
    environ: Mapping[str, str] | None = None,
) -> Loaded[S]:
    """As ``load_settings``, with the origin of every value; ``environ`` none = the process's own."""
    layers = [{} if file is None else file_layer(file), environment_layer(os.environ if environ is None else environ)]
    merged: Layer = {key: given for layer in (*layers, flag_layer(overrides)) for key, given in layer.items()}
    everything = _validated(merged)
    settings = kind(**{name: getattr(everything, name) for name in kind.model_fields})
    paths = sorted(key for key in known_paths() if key.partition(".")[0] in kind.model_fields)
    if CAMERAS in kind.model_fields:
        paths += [key for key in merged if steps(key)[0] == CAMERAS]
    return Loaded(settings, {key: merged[key].origin if key in merged else "default" for key in paths})


def _validated(merged: Layer) -> AllSettings:
    nested: dict[str, Any] = {}
    for path, given in merged.items():
        *tables, key = steps(path)
        table = nested
        for name in tables:
            table = table.setdefault(name, {})
        table[key] = given.value
    try:
        everything = AllSettings.model_validate(nested)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(merged, part) for part in _parts(error))) from error
    for name, camera in everything.cameras.items():
        events = events_of(camera, everything.events)
        if events.enter is not None and events.exit is not None and events.exit > events.enter:
            text = f"{CAMERAS}.{name}: exit must be at most enter, got exit {events.exit} and enter {events.enter}"
            raise SettingsError(f"{text}, one of them from [events]")
    return everything


def _parts(error: ValidationError) -> list[dict[str, Any]]:
    return [dict(part) for part in error.errors(include_url=False, include_input=False)]


def _explain(merged: Layer, part: Mapping[str, Any]) -> str:
    loc = [str(step) for step in part["loc"]]
    if loc[-1:] == ["[key]"]:
        where = _in_one_line(without_secrets(".".join(loc[:-1])))
        return f"{where}: a name must have 1 to 64 letters, digits or . _ -" + _from(merged, f"{CAMERAS}.{loc[1]}")
    path = ".".join(loc[: 3 if loc[:1] == [CAMERAS] else 2])
    message = str(part["msg"]).removeprefix("Value error, ")
    if path not in merged:
        return f"{path}: {message}" + _from(merged, path)
    given = merged[path]
    value = "a hidden value" if is_secret(path) else f"{shown(given.value)!r:.80}"
    return f"{path}: {message}, got {value} ({given.origin})"


def _in_one_line(name: str) -> str:
    """What somebody called something, fit for a log: no control characters, and its beginning only."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in f"{name:.100}")


def _from(merged: Layer, path: str) -> str:
    """Where the values under ``path`` are from, in brackets."""
    origins = sorted({given.origin for key, given in merged.items() if key.startswith(f"{path}.")})
    return f" ({', '.join(origins)})" if origins else ""


def masked(settings: Settings) -> Mapping[str, object]:
    """Every key of ``Loaded.origins`` to plain value for showing; secrets are stars, and passwords inside URLs too."""
    tables = {name: getattr(settings, name) for name in type(settings).model_fields if name != CAMERAS}
    values = {f"{name}.{key}": _plain(value) for name, section in tables.items() for key, value in section}
    for camera, said in getattr(settings, CAMERAS, {}).items():
        values |= {f"{CAMERAS}.{camera}.{key}": _plain(getattr(said, key)) for key in said.model_fields_set}
    return values


def _plain(value: object) -> object:
    return MASK if isinstance(value, SecretStr) else shown(value)
