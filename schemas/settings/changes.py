"""What is different between two readings of the settings, and what of it a running process can take over."""

from collections.abc import Iterator
from dataclasses import dataclass

from schemas.settings.cameras import HOT, HOT_DEFAULTS, CameraSection, is_read_by
from schemas.settings.processes import Settings


@dataclass(frozen=True, slots=True)
class Changes:
    """Keys whose values differ, as ``section.key``, ``cameras.<camera>.<key>`` or, come or gone, ``cameras.<camera>``.

    Attributes:
        hot: can take effect at once.
        cold: take effect at the next start only.
    """

    hot: tuple[str, ...]
    cold: tuple[str, ...]


def changes(before: Settings, now: Settings) -> Changes:
    """What differs, of two settings of one process."""
    found = dict(_differences(before, now))
    return Changes(tuple(key for key in found if found[key]), tuple(key for key in found if not found[key]))


def _differences(before: Settings, now: Settings) -> Iterator[tuple[str, bool]]:
    """Each key, and whether it is hot."""
    for section in type(before).model_fields:
        if section == "cameras":
            continue
        old, new = getattr(before, section), getattr(now, section)
        for key in type(old).model_fields:
            if getattr(old, key) != getattr(new, key):
                path = f"{section}.{key}"
                yield path, path in HOT_DEFAULTS
    sections = type(before).model_fields
    old_cameras, new_cameras = getattr(before, "cameras", {}), getattr(now, "cameras", {})
    for name in dict.fromkeys((*old_cameras, *new_cameras)):
        if name not in old_cameras or name not in new_cameras:
            yield f"cameras.{name}", True
            continue
        for key in CameraSection.model_fields:
            is_other = getattr(old_cameras[name], key) != getattr(new_cameras[name], key)
            if is_other and is_read_by(key, sections):
                yield f"cameras.{name}.{key}", key in HOT
