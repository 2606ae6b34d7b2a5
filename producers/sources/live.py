"""A camera that is always on its way back: capture in a thread of its own, endless reconnection, newest frames only."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, sleep_using_event
from tenacity.stop import stop_when_event_set
from tenacity.wait import wait_exponential, wait_random

from producers.sources.frame import CapturedFrame, SourceStatus
from producers.sources.options import LiveOptions, SourceOptions
from producers.sources.picture import Picture
from producers.sources.stamps import StreamClock
from producers.sources.status import StatusBoard
from schemas.errors import TransientError

logger = logging.getLogger(__name__)

_JOIN_TIMEOUT_S = 2.0
_MAX_HUNG = 3
"""Threads that hang in a driver or a library cannot be ended, only left behind; more than these are not."""

T = TypeVar("T")


class _AbandonedError(Exception):
    """This thread hung, and another has taken over."""


class Connection(Protocol):
    """An open camera."""

    @property
    def num_unreadable(self) -> int:
        """Pictures that came in and could not be decoded."""

    def read(self) -> Picture | None:
        """The next frame; None when the connection is lost."""

    def close(self) -> None:
        """Release it."""


class LiveSource:
    """Frames of one camera, with the best time there is: see ``StreamClock``.

    Latency does not grow: a slow reader finds the newest ``max_held_frames`` frames, older ones are overwritten and
    counted in ``num_overrun``. The thread starts with the iteration and ends with ``close``; one that hangs in a call,
    long after every time-out, is left behind, and another takes over.
    """

    is_live = True

    def __init__(self, name: str, connect: Callable[[], Connection], options: SourceOptions) -> None:
        """Nothing is opened yet.

        Args:
            name: for logs, credentials masked.
            connect: opens the camera; raises TransientError with the reason, free of credentials.
            options: patience, rate, clock, callback.
        """
        self._name = name
        self._connect = connect
        self._options = options
        self._board = StatusBoard(name, options.on_status)
        self._closed = threading.Event()
        self._arrival = threading.Condition()
        self._held: deque[CapturedFrame] = deque()
        self._failure: Exception | None = None
        self._num_overrun = 0
        self._num_unreadable = 0
        self._size: tuple[int, int] | None = None
        self._clock = StreamClock(options.clock, options.live.clock)
        self._complaint: str | None = None
        self._last_frame_s = 0.0
        self._turn = 0  # which capture thread counts
        self._called_at_s = math.inf  # when its call that has not returned began
        self._threads: list[threading.Thread] = []

    @property
    def fps(self) -> float | None:
        """As told by the options: what cameras say of themselves is not to be relied on."""
        return self._options.fps

    @property
    def status(self) -> SourceStatus:
        """State as last known."""
        return self._board.status

    @property
    def num_overrun(self) -> int:
        """Frames overwritten by newer ones before anybody read them."""
        with self._arrival:
            return self._num_overrun

    @property
    def num_unreadable(self) -> int:
        """Pictures that came in and could not be decoded."""
        with self._arrival:
            return self._num_unreadable

    def describe(self) -> str:
        """Name for logs, credentials masked."""
        return self._name

    def close(self) -> None:
        """End capture and iteration; a read that hangs ends at its own time-out."""
        self._closed.set()
        with self._arrival:
            self._arrival.notify_all()

    def __iter__(self) -> Iterator[CapturedFrame]:
        """The newest frames, until ``close``; waits for the camera as long as it takes."""
        self._start_capture()
        try:
            while (frame := self._next_frame()) is not None:
                yield frame
        finally:
            self.close()
            self._threads[-1].join(_JOIN_TIMEOUT_S)
            # A camera that was away when it was closed keeps the reason, which is what people want to know.
            if self.status.state != "offline":
                self._board.finish("closed")

    def _next_frame(self) -> CapturedFrame | None:
        while True:
            with self._arrival:
                if self._held:
                    return self._held.popleft()
                if self._failure is not None:
                    raise self._failure
                if self._closed.is_set():
                    return None
                self._arrival.wait(self._live.stale_after_s / 4)
            self._check_stale()
            self._check_hung()

    def _start_capture(self) -> None:
        self._turn += 1
        self._called_at_s = math.inf
        thread = threading.Thread(
            target=self._capture_until_closed, args=(self._turn,), name=f"capture {self._name}", daemon=True
        )
        self._threads = [*(one for one in self._threads if one.is_alive()), thread]
        thread.start()

    def _check_hung(self) -> None:
        hung_s = time.monotonic() - self._called_at_s
        if hung_s <= self._live.hung_after_s:
            return
        num_hung = sum(thread.is_alive() for thread in self._threads)
        if num_hung > _MAX_HUNG:
            self._board.set("offline", f"{num_hung} attempts hang in the camera's driver; restart camera or producer")
            return
        self._board.set(
            "offline", f"the camera's driver has hung for more than {self._live.hung_after_s:g} s; once more"
        )
        self._start_capture()

    def _call(self, turn: int, function: Callable[[], T]) -> T:
        """Something of a library that may never return, under watch.

        Raises:
            _AbandonedError: it did return, and too late; what it gave must be released by ``function`` itself.
        """
        if turn != self._turn:
            raise _AbandonedError
        self._called_at_s = time.monotonic()
        try:
            return function()
        finally:
            if turn != self._turn:
                raise _AbandonedError
            self._called_at_s = math.inf

    def _check_stale(self) -> None:
        silent_s = time.monotonic() - self._last_frame_s
        if self.status.state == "online" and silent_s > self._live.stale_after_s:
            self._board.set("stale", f"no frame for more than {self._live.stale_after_s:g} s")

    @property
    def _live(self) -> LiveOptions:
        return self._options.live

    def _capture_until_closed(self, turn: int) -> None:
        try:
            while not self._closed.is_set():
                self._capture_once(turn)
        except _AbandonedError:
            logger.info("source %s: an attempt that had hung came back", self._name)
        except Exception as error:
            # Anything unforeseen must reach the reader instead of dying with this thread.
            logger.exception("source %s: capture broke", self._name)
            with self._arrival:
                self._failure = error
                self._arrival.notify_all()

    def _capture_once(self, turn: int) -> None:
        connection = self._connect_with_patience(turn)
        if connection is None:
            return
        num_before = 0
        try:
            while not self._closed.is_set():
                picture = self._call(turn, connection.read)
                num_before = self._count_unreadable(connection, num_before)
                if picture is None:
                    break
                self._hold(picture)
        finally:
            connection.close()
        if not self._closed.is_set():
            self._board.set("offline", "the stream broke off; connecting again")
            # A camera that gives a few frames and breaks off, again and again, must not be hammered either.
            self._closed.wait(self._live.backoff_first_s)

    def _count_unreadable(self, connection: Connection, num_before: int) -> int:
        """Add what this connection could not decode since ``num_before``; the new number."""
        now = connection.num_unreadable
        with self._arrival:
            self._num_unreadable += now - num_before
        return now

    def _connect_with_patience(self, turn: int) -> Connection | None:
        live = self._live
        attempts = Retrying(
            retry=retry_if_exception_type(TransientError),
            wait=wait_exponential(multiplier=live.backoff_first_s, max=live.backoff_max_s)
            + wait_random(0, live.backoff_jitter_s),
            stop=stop_when_event_set(self._closed),
            sleep=sleep_using_event(self._closed),
            before_sleep=self._tell_failure,
            retry_error_callback=lambda _state: None,
        )
        return attempts(self._connect_to_frames, turn)

    def _connect_to_frames(self, turn: int) -> Connection:
        # A connection counts only once a frame has come: some cameras accept viewers and then send nothing.
        opened: list[Connection] = []
        try:
            self._call(turn, lambda: opened.append(self._connect()))
            picture = self._call(turn, opened[0].read)
        except BaseException:
            for connection in opened:
                connection.close()
            raise
        if picture is None:
            opened[0].close()
            raise TransientError(f"connected, but no frame came within {self._live.dead_after_s:g} s")
        self._clock.reconnect()
        self._hold(picture)
        return opened[0]

    def _tell_failure(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._board.set("offline", str(error))

    def _hold(self, picture: Picture) -> None:
        self._tell_size(picture.size)
        stamped = self._clock.next(self._options.now(), picture.stamp_s, picture.wall_at)
        self._tell_clock()
        frame = CapturedFrame(picture.image, stamped.captured_at, stamped.clock)
        with self._arrival:
            self._last_frame_s = time.monotonic()
            while len(self._held) >= self._live.max_held_frames:
                self._held.popleft()
                self._num_overrun += 1
            self._held.append(frame)
            self._arrival.notify_all()
        self._board.set("online", "frames come in")

    def _tell_size(self, size: tuple[int, int]) -> None:
        before, self._size = self._size, size
        if before not in (None, size):
            assert before is not None
            text = "source %s: its pictures are %d x %d from now on, they were %d x %d"
            logger.warning(text, self._name, *size, *before)

    def _tell_clock(self) -> None:
        if self._clock.complaint != self._complaint:
            self._complaint = self._clock.complaint
            logger.warning("source %s: %s", self._name, self._complaint)
