"""A publisher that keeps records in memory, with room for so many until the test says they are done."""

import threading
from collections.abc import Callable

from messaging.ports import OutRecord
from schemas.codec import HEADER, decode_message
from schemas.errors import BadMessageError, BufferFullError
from schemas.messages import FrameHeader

OnDone = Callable[[Exception | None], None]


class MemoryPublisher:
    """Takes records while there is room; ``holds`` leaves them in flight until ``finish`` or ``flush``."""

    def __init__(
        self,
        room: int = 10**9,
        holds: bool = False,
        max_value_bytes: int = 10**9,
        refusal: str = "record_too_large",
    ) -> None:
        self.away: Exception | None = None
        self._refusal = refusal
        self.records: list[OutRecord] = []
        self.num_refused = 0
        self._open: list[OnDone] = []
        self._room = room
        self._holds = holds
        self._max_value_bytes = max_value_bytes
        self._changed = threading.Condition()

    def publish(self, record: OutRecord, on_done: OnDone | None = None) -> None:
        """See ``ports.Publisher``."""
        if self.away is not None:
            raise self.away
        if len(record.value or b"") > self._max_value_bytes:
            raise BadMessageError(self._refusal, "larger than the topic takes")
        with self._changed:
            if len(self._open) >= self._room:
                self.num_refused += 1
                self._changed.notify_all()
                raise BufferFullError("no room")
            self.records.append(record)
            self._changed.notify_all()
            if self._holds and on_done is not None:
                self._open.append(on_done)
                return
        if on_done is not None:
            on_done(None)

    def finish(self, error: Exception | None = None, num: int | None = None) -> None:
        """Settle the oldest ``num`` records in flight."""
        with self._changed:
            settled, self._open = self._open[:num], self._open[num:] if num is not None else []
        for on_done in settled:
            on_done(error)

    def flush(self, timeout_s: float) -> bool:
        """See ``ports.Publisher``; here everything is delivered."""
        self.finish()
        return True

    def close(self, timeout_s: float) -> None:
        """See ``ports.Publisher``."""
        self.flush(timeout_s)

    def wait_until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Wait for something that a call to ``publish`` brings about."""
        with self._changed:
            assert self._changed.wait_for(condition, timeout_s), "the condition did not come about in time"

    @property
    def headers(self) -> list[FrameHeader]:
        """Headers of all records taken."""
        return [decode_message(FrameHeader, dict(record.headers)[HEADER]) for record in self.records]

    @property
    def frames(self) -> list[FrameHeader]:
        """Headers of the frames, without the end of the session."""
        return [header for header in self.headers if header.kind == "frame"]
