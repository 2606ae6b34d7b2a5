"""The folder of a spool: one process at a time, of one version, within its caps.

All shelves share one lock, for the caps hold for them together: whoever needs room takes it from the oldest of all.
"""

import errno
import fcntl
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from producers.spool.segments import KeptFrame, Place
from producers.spool.shelf import Shelf
from schemas.errors import SettingsError
from schemas.messages import FrameHeader

logger = logging.getLogger(__name__)

VERSION = "engram-spool 1"
MIB = 1024 * 1024
_CAMERA = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SEGMENTS_PER_CAP = 64
"""What is dropped at once is at most one part in so many of what may be kept."""
_LARGEST_SEGMENT = 8 * MIB
_FULL = (errno.ENOSPC, errno.EDQUOT)
_TRIES = 3

OnLost = Callable[[Sequence[KeptFrame], str], None]
"""Told, under the lock, which records of a camera are about to be dropped, without their values, and why."""


@dataclass(frozen=True, slots=True)
class SpoolOptions:
    """Where frames are kept, and how many.

    Attributes:
        folder: made when absent; of one process alone.
        max_bytes: of all segments together; the oldest goes first.
        max_age_s: a record kept for longer is dropped.
    """

    folder: Path
    max_bytes: int = 1024 * MIB
    max_age_s: float = 86400.0


class Spool:
    """The shelves of all cameras in one folder.

    Attributes:
        lock: to be held for whatever is asked of a shelf.
    """

    def __init__(self, options: SpoolOptions, now: Callable[[], float] = time.time) -> None:
        """Lock the folder and open what is kept in it.

        Raises:
            SettingsError: another process has it, it is of another version, or it cannot be written.
        """
        self.lock = threading.RLock()
        self.options = options
        self.now = now
        self._on_lost: dict[str, OnLost] = {}
        self._is_failing = False
        try:
            options.folder.mkdir(parents=True, exist_ok=True)
            self._lock_file = _locked(options.folder)
            with ExitStack() as on_failure:
                on_failure.callback(os.close, self._lock_file)
                _check_version(options.folder)
                self._folder = options.folder / "cameras"
                self._folder.mkdir(exist_ok=True)
                self._shelves = {name: self._open(name) for name in _camera_names(self._folder)}
                on_failure.pop_all()
        except OSError as error:
            text = f"producer.spool_dir must be a folder that can be written, '{options.folder}' cannot be"
            raise SettingsError(f"{text}: {error.strerror or error}") from error

    @property
    def cameras(self) -> Sequence[str]:
        """Those of whom something is kept, or was asked for."""
        return tuple(self._shelves)

    @property
    def num_bytes(self) -> int:
        """On disk."""
        return sum(shelf.num_bytes for shelf in self._shelves.values())

    def shelf(self, camera_id: str, on_lost: OnLost) -> Shelf:
        """The shelf of one camera; ``on_lost`` is told what the caps take from it.

        Raises:
            SettingsError: its folder cannot be made.
        """
        with self.lock:
            self._on_lost[camera_id] = on_lost
            if camera_id not in self._shelves:
                try:
                    self._shelves[camera_id] = self._open(camera_id)
                except OSError as error:
                    text = f"producer.spool_dir must take a folder for camera {camera_id}, it does not"
                    raise SettingsError(f"{text}: {error.strerror}") from error
            return self._shelves[camera_id]

    def keep(self, camera_id: str, header: FrameHeader, value: bytes) -> Place | None:
        """Write one record onto its camera's shelf, at the cost of the oldest ones; None if the disk does not take it.

        A disk that fails is told once, and once when it works again.
        """
        with self.lock:
            self._make_room(len(value) + 1024)
            error = None
            for _ in range(_TRIES):
                try:
                    place = self._shelves[camera_id].append(header, value, self.now())
                except OSError as caught:
                    error = caught
                    # On a disk that others have filled, what we can free is our own.
                    if caught.errno not in _FULL or not self._drop_oldest("spool_full"):
                        break
                else:
                    self._tell_works()
                    return place
            self._tell_failing(error)
            return None

    def drop_old(self) -> None:
        """Drop segments that have outlived ``max_age_s``; to be called now and then."""
        limit = self.now() - self.options.max_age_s
        with self.lock:
            for camera_id, shelf in self._shelves.items():
                while shelf.is_outlived(limit):
                    shelf.drop_oldest("spool_old", partial(self._lose, camera_id))

    def sync(self) -> None:
        """Make what was written outlive a power cut."""
        with self.lock:
            for shelf in self._shelves.values():
                try:
                    shelf.sync()
                except OSError as error:
                    self._tell_failing(error)

    def close(self) -> None:
        """Release folder and files; what is kept stays."""
        with self.lock:
            for shelf in self._shelves.values():
                shelf.close()
            os.close(self._lock_file)

    def _open(self, camera_id: str) -> Shelf:
        size = min(_LARGEST_SEGMENT, self.options.max_bytes // _SEGMENTS_PER_CAP)
        shelf = Shelf(self._folder / camera_id, size)
        if shelf.num_torn_bytes:
            text = (
                "spool of camera %s: the last %d bytes, of a frame whose writing had not come to an end, were cut off"
            )
            logger.warning(text, camera_id, shelf.num_torn_bytes)
        return shelf

    def _make_room(self, num_bytes: int) -> None:
        while self.num_bytes + num_bytes > self.options.max_bytes and self._drop_oldest("spool_full"):
            pass

    def _drop_oldest(self, cause: str) -> bool:
        free = {camera_id: shelf.droppable_since for camera_id, shelf in self._shelves.items()}
        kept = {camera_id: shelf.oldest_kept_at for camera_id, shelf in self._shelves.items()}
        camera_id = _oldest(free) or _oldest(kept)
        if camera_id is None:
            return False
        self._shelves[camera_id].drop_oldest(cause, partial(self._lose, camera_id))
        return True

    def _lose(self, camera_id: str, cause: str, lost: Sequence[KeptFrame]) -> None:
        if camera_id in self._on_lost:
            self._on_lost[camera_id](lost, cause)

    def _tell_failing(self, error: OSError | None) -> None:
        if not self._is_failing:
            self._is_failing = True
            reason = error.strerror if error is not None else "there is no room"
            logger.error("the spool in %s cannot be written, frames are lost: %s", self.options.folder, reason)

    def _tell_works(self) -> None:
        if self._is_failing:
            self._is_failing = False
            logger.warning("the spool in %s can be written again", self.options.folder)


def _oldest(since: Mapping[str, float | None]) -> str | None:
    """Of which camera that is; None if of none."""
    known = ((at, camera_id) for camera_id, at in since.items() if at is not None)
    return min(known, default=(0.0, None))[1]


def _locked(folder: Path) -> int:
    """An open file whose lock says that this process has the folder; the system lets go of it when we die.

    Raises:
        SettingsError: another process has it.
    """
    file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(file, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(file)
        text = f"producer.spool_dir must be of one process alone, '{folder}' is used by process {holder}"
        raise SettingsError(f"{text}; stop it, or give each its own folder") from error
    os.ftruncate(file, 0)
    os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
    return file


def _check_version(folder: Path) -> None:
    path = folder / "VERSION"
    if not path.exists():
        path.write_text(f"{VERSION}\n", "ascii")
    found = path.read_bytes()[:80].decode("ascii", "replace").strip()
    if found != VERSION:
        text = f"the spool in '{folder}' must be of version '{VERSION}', it says {found!r}"
        raise SettingsError(f"{text}; empty it with the Engram that wrote it, or give another folder")


def _camera_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and _CAMERA.fullmatch(path.name))
