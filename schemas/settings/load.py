"""Settings from defaults < file < environment < flags, and where each value came from."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import SecretStr, ValidationError

from schemas.addresses import MASK
from schemas.errors import SettingsError
from schemas.settings.layers import Layer, environment_layer, file_layer, flag_layer, is_secret, known_paths, shown
from schemas.settings.processes import AllSettings, Settings

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """Settings of one process.

    Attributes:
        settings: validated values.
        origins: ``section.key`` to "default", "file PATH", "env NAME" or "flag", for every value of ``settings``.
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
    return Loaded(settings, {key: merged[key].origin if key in merged else "default" for key in paths})


def _validated(merged: Layer) -> AllSettings:
    nested: dict[str, dict[str, object]] = {}
    for path, given in merged.items():
        section, _, key = path.partition(".")
        nested.setdefault(section, {})[key] = given.value
    try:
        return AllSettings.model_validate(nested)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(merged, part) for part in _parts(error))) from error


def _parts(error: ValidationError) -> list[dict[str, Any]]:
    return [dict(part) for part in error.errors(include_url=False, include_input=False)]


def _explain(merged: Layer, part: Mapping[str, Any]) -> str:
    path = ".".join(str(step) for step in part["loc"][:2])
    message = str(part["msg"]).removeprefix("Value error, ")
    if path not in merged:
        return f"{path}: {message}"
    given = merged[path]
    value = "a hidden value" if is_secret(path) else f"{shown(given.value)!r:.80}"
    return f"{path}: {message}, got {value} ({given.origin})"


def masked(settings: Settings) -> Mapping[str, object]:
    """``section.key`` to plain value for showing; secrets are stars, and passwords inside URLs too."""
    return {
        f"{section}.{key}": MASK if isinstance(value, SecretStr) else shown(value)
        for section in type(settings).model_fields
        for key, value in getattr(settings, section)
    }
