"""Settings read again while the process runs: on SIGHUP, and when their file was saved."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Generic, TypeVar

from schemas.errors import EngramError
from schemas.settings import Loaded, Settings, changes

S = TypeVar("S", bound=Settings)

log = logging.getLogger(__name__)

LOOK_S = 1.0

Stamp = tuple[int, int, int]
"""Of a file: when it was changed, its size, its place on the disk."""


@dataclass(frozen=True, slots=True)
class Reload(Generic[S]):
    """How settings are read again.

    Attributes:
        path: the file that is looked at; None = there is none, and nothing is read again.
        load: reads everything anew, flags and environment as at the start.
    """

    path: Path | None
    load: Callable[[], Loaded[S]]


class FileWatch:
    """Tells whether a file was saved, once it lies still: half a file is not read while somebody writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = self._seen = self._stamp()

    def was_saved(self) -> bool:
        """Whether it is another than at the last ``True``, and the same as at the last look."""
        before, self._seen = self._seen, self._stamp()
        if self._seen is None or self._seen != before or self._seen == self._read:
            return False
        self._read = self._seen
        return True

    def note(self) -> None:
        """It is being read as it is now."""
        self._read = self._seen = self._stamp()

    def _stamp(self) -> Stamp | None:
        try:
            found = self._path.stat()
        except OSError:  # between two names while it is being saved
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


class Reloader(Generic[S]):
    """Reads settings again, takes over what may change, and says what may not.

    Args:
        settings: those in force.
        load: reads them anew.
        apply: takes over what may change.
    """

    def __init__(self, settings: S, load: Callable[[], Loaded[S]], apply: Callable[[Loaded[S]], None]) -> None:
        self._settings = settings
        self._load = load
        self._apply = apply

    def reload(self, why: str) -> bool:
        """Whether what is in the file now is in force; if not, all stays as it was, and the log says why."""
        try:
            loaded = self._load()
            found = changes(self._settings, loaded.settings)
            self._apply(loaded)
        except EngramError as error:
            log.error("%s, and cannot be used, so that all stays as it was: %s", why, error)  # noqa: TRY400
            return False
        log.info("%s: %s", why, f"now in force: {', '.join(found.hot)}" if found.hot else "nothing to take over")
        if found.cold:
            log.warning("these take effect at the next start only: %s", ", ".join(found.cold))
        self._settings = loaded.settings
        return True


@contextmanager
def reloading(settings: S, how: Reload[S] | None, apply: Callable[[Loaded[S]], None]) -> Iterator[None]:
    """Meanwhile, a SIGHUP or a save reads the settings again; ``apply`` is called from a thread of its own.

    Must be entered in the main thread. Without a file a SIGHUP does what it always does.
    """
    if how is None or how.path is None:
        yield
        return
    watch, reloader = FileWatch(how.path), Reloader(settings, how.load, apply)
    hangup, over = threading.Event(), threading.Event()

    def on_hangup(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - given by the system
        hangup.set()

    def look() -> None:
        while not over.is_set():
            if hangup.wait(LOOK_S) and not over.is_set():
                hangup.clear()
                watch.note()
                reloader.reload(f"{how.path} was read again on SIGHUP")
            elif watch.was_saved():
                reloader.reload(f"{how.path} was saved")

    before = signal.signal(signal.SIGHUP, on_hangup)
    thread = threading.Thread(target=look, name="reload", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        hangup.set()
        thread.join()
        signal.signal(signal.SIGHUP, before)
