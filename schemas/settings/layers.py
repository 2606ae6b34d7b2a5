"""Where settings come from: a TOML file and the environment, each as flat ``section.key`` values with their origin."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from schemas.addresses import without_secrets
from schemas.errors import SettingsError
from schemas.settings.cameras import CameraSection
from schemas.settings.processes import AllSettings
from schemas.settings.toml import parsed_toml

ENV_PREFIX = "ENGRAM_"
FLAG = "flag"
ENV_RESERVED = ("ENGRAM_HOME", "ENGRAM_REFERENCE", "ENGRAM_CONFIG")
ENV_RESERVED_PREFIX = "ENGRAM_TEST_"
MAX_SECRET_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Given:
    """One value as somebody wrote it, and where."""

    value: object
    origin: str


Layer = Mapping[str, Given]
"""Key: ``section.key``, or ``cameras.<camera>.<key>``."""

CAMERAS = "cameras"


def known_paths() -> frozenset[str]:
    """Every ``section.key`` there is; those of cameras, which have names of their own, are not among them."""
    sections = AllSettings.model_fields.items()
    return frozenset(f"{name}.{key}" for name, field in sections if name != CAMERAS for key in _keys(field.annotation))


def _keys(section: object) -> tuple[str, ...]:
    return tuple(getattr(section, "model_fields"))  # noqa: B009 - annotation is typed as object


def steps(path: str) -> tuple[str, ...]:
    """A key of a layer taken apart; the name of a camera may have dots of its own."""
    section, _, key = path.partition(".")
    if section != CAMERAS:
        return section, key
    camera, _, key = key.rpartition(".")
    return section, camera, key


def is_secret(path: str) -> bool:
    """Whether the value of a key must never be shown: passwords, and addresses of cameras, which may hold one."""
    section, *_, key = steps(path)
    if section == CAMERAS:
        return key == "source"
    fields = getattr(AllSettings.model_fields[section].annotation, "model_fields", {})
    return key in fields and "SecretStr" in str(fields[key].annotation)


def shown(value: object) -> object:
    """A value of a setting that is no secret itself, fit for output; passwords inside URLs are stars."""
    return without_secrets(str(value)) if isinstance(value, str | Path) else value


def file_layer(path: Path) -> Layer:
    """Values of a TOML file.

    Raises:
        SettingsError: not readable, not TOML, or a key that does not exist.
    """
    try:
        content = parsed_toml(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"settings file must be readable, got {error.strerror}: {path}") from error
    except ValueError as error:
        raise SettingsError(f"settings file must be TOML: {path}: {error}") from error
    return {key: Given(value, f"file {path}") for key, value in _flat(content, path)}


def _flat(content: Mapping[str, object], path: Path) -> Iterator[tuple[str, object]]:
    for section, keys in content.items():
        if section == CAMERAS:
            yield from _cameras(keys, path)
            continue
        if not isinstance(keys, dict):
            require_known(section, f"{path}: {section}")
            raise SettingsError(f"{path}: [{section}] must be a table, got {shown(keys)!r:.60}")
        if section not in AllSettings.model_fields:
            require_known(section, f"{path}: [{section}]")
        for key, value in keys.items():
            require_known(f"{section}.{key}", f"{path}: {section}.{key}")
            yield f"{section}.{key}", value


def _cameras(tables: object, path: Path) -> Iterator[tuple[str, object]]:
    """Values of ``[cameras.NAME]``; what somebody wrote in place of a table may be an address, so it is not shown."""
    if not isinstance(tables, dict):
        raise SettingsError(f"{path}: {CAMERAS} must be tables, one a camera: [{CAMERAS}.gate]")
    for name, keys in tables.items():
        where = f"{CAMERAS}.{without_secrets(name)}"
        if not isinstance(keys, dict):
            hint = f"[{CAMERAS}.{name}]" if name not in CameraSection.model_fields else f"[{CAMERAS}.gate]"
            raise SettingsError(f"{path}: {where} must be a table; write {without_secrets(hint)} and its keys below")
        if not keys:
            raise SettingsError(f"{path}: {where} says nothing; give at least a source, or take it out")
        for key, value in keys.items():
            if key not in CameraSection.model_fields:
                hint = _hint(key, CameraSection.model_fields, f"{where}.{{}}".format)
                raise SettingsError(f"{path}: {where}.{without_secrets(key)} is no setting of a camera{hint}")
            yield f"{CAMERAS}.{name}.{key}", value


def environment_layer(environ: Mapping[str, str]) -> Layer:
    """Values of ``ENGRAM_SECTION__KEY``, and of files named by ``ENGRAM_SECTION__KEY_FILE``. Empty counts as not given.

    Raises:
        SettingsError: a name that no setting has, both forms of one setting, or a file that cannot be read.
    """
    layer: dict[str, Given] = {}
    for name in sorted(environ):
        if not _is_setting(name) or not environ[name]:
            continue
        key, given = _from_environment(name, environ[name])
        if key in layer:
            raise SettingsError(f"{name} and {layer[key].origin} must not both be given; unset one")
        layer[key] = given
    return layer


def _is_setting(name: str) -> bool:
    reserved = name in ENV_RESERVED or name.startswith(ENV_RESERVED_PREFIX)
    return name.startswith(ENV_PREFIX) and not reserved


def _from_environment(name: str, text: str) -> tuple[str, Given]:
    key = name.removeprefix(ENV_PREFIX).lower().replace("__", ".", 1)
    plain = key.removesuffix("_file")
    if key not in known_paths() and plain in known_paths():
        return plain, Given(_secret_of(name, Path(text)), f"env {name}")
    require_known(key, f"environment: {name}", as_environment)
    return key, Given(text, f"env {name}")


def _secret_of(name: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_SECRET_BYTES).decode("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        # Not the path where it may be the secret itself, given to the wrong variable.
        named = f"'{path}'" if path.is_absolute() else "a relative path"
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        text = f"{name} must name a readable text file by its full path, got {named}: {reason}"
        raise SettingsError(text) from error


def as_environment(key: str) -> str:
    """The variable of ``section.key``."""
    return ENV_PREFIX + key.upper().replace(".", "__")


def flag_layer(overrides: Mapping[str, object]) -> Layer:
    """Values from the command line; None counts as not given, and a ``Given`` says itself where it is from.

    Raises:
        SettingsError: a key that does not exist.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    for key in given:
        require_known(key, f"flag: {key}")
    return {key: value if isinstance(value, Given) else Given(value, FLAG) for key, value in given.items()}


def require_known(key: str, where: str, spell: Callable[[str], str] = str) -> None:
    """Raise a ``SettingsError`` with the nearest known key unless ``key`` exists."""
    known = known_paths()
    if key in known:
        return
    if key == CAMERAS:
        raise SettingsError(f"{where}: cameras are told in a settings file, a table each: [{CAMERAS}.gate]")
    if key in AllSettings.model_fields:
        example = min(path for path in known if path.startswith(f"{key}."))
        raise SettingsError(f"{where} is a section; name a setting of it, such as {spell(example)}")
    raise SettingsError(f"{where} is no setting{_hint(key, known | set(AllSettings.model_fields), spell)}")


def _hint(key: str, known: Collection[str], spell: Callable[[str], str]) -> str:
    near = get_close_matches(key, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {spell(near[0])}?" if near else "; see 'engram config show' for all settings"
