"""The bundle a process was told to use, and the one that comes with the package."""

from importlib.resources import files
from pathlib import Path

from schemas.errors import SettingsError


def require_bundle(path: Path | None) -> Path:
    """The bundle's folder.

    Raises:
        SettingsError: none is named.
    """
    if path is None:
        raise SettingsError("a bundle must be named: --bundle DIR, or worker.bundle; 'engram train' makes one")
    return path


def shipped_bundle() -> Path:
    """The bundle of the synthetic walkway, part of the package.

    Raises:
        SettingsError: this copy of the package has none.
    """
    path = Path(str(files("engram"))) / "data" / "walkway"
    if not path.is_dir():
        raise SettingsError(f"the demo's bundle must be in '{path}', it is not; name another with --bundle DIR")
    return path
