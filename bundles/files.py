"""Files of a bundle: read with their digests checked, written so that a folder is whole or absent."""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from schemas.errors import BundleError

Model = TypeVar("Model", bound=BaseModel)


def sha256(content: bytes) -> str:
    """Hexadecimal digest."""
    return hashlib.sha256(content).hexdigest()


def checked(path: Path, wanted: str | None, listed_in: str) -> bytes:
    """A file that must have the SHA-256 ``wanted``.

    Raises:
        BundleError: it cannot be read, or is another; says so with ``listed_in``, the file that names the digest.
    """
    content = read(path)
    found = sha256(content)
    if found != wanted:
        text = f"'{path}' must have SHA-256 {wanted} as its {listed_in} says, got {found}"
        raise BundleError(f"{text}; the file was changed or cut short: copy the bundle again")
    return content


def read(path: Path) -> bytes:
    """All bytes of a file.

    Raises:
        BundleError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        text = f"a bundle must have '{path.name}', cannot read it in '{path.parent}' ({error.strerror})"
        raise BundleError(f"{text}; point to a folder made by 'engram train'") from error


def parsed(kind: type[Model], path: Path, content: bytes) -> Model:
    """JSON as a model.

    Raises:
        BundleError: it is not one.
    """
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        text = f"'{path}' must be a {kind.__name__.lower()} of version 1: {where}: {first['msg']}"
        raise BundleError(f"{text}; make it again or use the version of Engram that made it") from error


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder of these files; whatever happens, it is whole or absent.

    Raises:
        BundleError: ``path`` exists.
    """
    if path.exists():
        raise BundleError(f"'{path}' must not exist yet; remove it or choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-unfinished-") as unfinished:
        content = Path(unfinished, "content")
        content.mkdir()
        for name, data in files.items():
            (content / name).write_bytes(data)
        content.rename(path)
