"""Media in a folder: any disk, or whatever is mounted there."""

import errno
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from consumers.media.store import Stored
from schemas.errors import FatalError, TransientError

PART = ".part"
STALE_S = 3600.0
"""What was begun so long ago and is not whole is of a process that died."""
_FULL = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR}


def write_whole(path: Path, content: bytes) -> None:
    """Whole or not at all, since others may look on; folders above are made.

    Raises:
        OSError: as writing does; nothing is left of it.
    """
    # No process id: in containers all have the same, and several may share a folder.
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PART}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


class FolderStore:
    """See ``store.MediaStore``.

    Args:
        root: the folder; made by ``check`` when absent.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def check(self) -> None:
        """See ``store.MediaStore``."""
        probe = self._root / f".probe-{secrets.token_hex(4)}{PART}"
        with self._told("be written"):
            self._root.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        for _ in self.stored():  # for what was left half written, also where nothing is ever swept
            pass

    def put(self, name: str, content: bytes, content_type: str) -> None:  # noqa: ARG002 - a folder keeps no types
        """See ``store.MediaStore``."""
        path = self._path(name)
        with self._told("take a file"):
            write_whole(path, content)

    def get(self, name: str) -> bytes | None:
        """See ``store.MediaStore``."""
        with self._told("be read"):
            try:
                return self._path(name).read_bytes()
            except FileNotFoundError:
                return None

    def uri(self, name: str) -> str:
        """See ``store.MediaStore``."""
        return self._path(name).as_uri()

    def stored(self) -> Iterator[Stored]:
        """See ``store.MediaStore``. What a process that died has left half written goes on the way."""
        with self._told("be read"):
            for path in self._root.glob("*/*/*"):
                try:
                    found = path.lstat()
                    if path.suffix == PART and time.time() - found.st_mtime > STALE_S:
                        path.unlink()
                except FileNotFoundError:  # another process swept it
                    continue
                modified_at = datetime.fromtimestamp(found.st_mtime, timezone.utc)
                yield Stored(path.relative_to(self._root).as_posix(), found.st_size, modified_at)

    def delete(self, name: str) -> None:
        """See ``store.MediaStore``. Folders that are empty then go, too."""
        path = self._path(name)
        with self._told("be written"):
            path.unlink(missing_ok=True)
        for folder in (path.parent, path.parent.parent):
            try:
                folder.rmdir()
            except OSError:  # it holds others
                return

    def _path(self, name: str) -> Path:
        path = self._root / name
        if ".." in path.parts or not path.is_relative_to(self._root):
            raise FatalError(f"a medium must lie in the store's folder, got '{name}'")
        return path

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            text = f"the folder of media {self._root} must {what}: {error.strerror or error}"
            if error.errno in _FULL:
                raise TransientError(f"{text}; free space, or keep less (--keep, --keep-gb)") from error
            if error.errno in _REFUSED:
                raise FatalError(f"{text}; give this user a folder that it may write") from error
            raise TransientError(text) from error
