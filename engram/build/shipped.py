"""The bundles that come with the package, by their names."""

from importlib.resources import files
from pathlib import Path
from typing import Literal

from schemas.errors import SettingsError

ShippedName = Literal["anywhere", "walkway"]
ANYWHERE: ShippedName = "anywhere"
"""For any camera: its network saw synthetic places of all kinds, its memory learns the camera's own as it runs."""
WALKWAY: ShippedName = "walkway"
"""The demo's, of the synthetic walkway alone."""
SHIPPED = (ANYWHERE, WALKWAY)


def shipped_bundle(name: ShippedName) -> Path:
    """Its folder, part of the package; 'python -m engram.demo.make_bundle' made it.

    Raises:
        SettingsError: this copy of the package has none.
    """
    path = _place_of(name)
    if not path.is_dir():
        raise SettingsError(f"the bundle '{name}' must be in '{path}', it is not; name another with --bundle DIR")
    return path


def name_of(bundle: Path) -> str:
    """What to call a bundle by on a command line: the name of a shipped one, else its path."""
    return next((name for name in SHIPPED if bundle == _place_of(name)), str(bundle))


def _place_of(name: ShippedName) -> Path:
    return Path(str(files("engram"))) / "data" / name


def bundle_named(path: Path | str) -> Path:
    """A folder, or the one of the shipped bundle that is named, unless there is a folder of this name.

    Raises:
        SettingsError: this copy of the package has no such bundle.
    """
    for name in SHIPPED:
        if str(path) == name and not Path(path).is_dir():
            return shipped_bundle(name)
    return Path(path)
