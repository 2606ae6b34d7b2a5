"""From raw records to parsed headers and decoded images; what is wrong with a record stays with it as an error."""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from inference.decode import DecodeLimits, decode_frame
from inference.formats import FrameFormat
from messaging.ports import Delivery, Record
from messaging.tracing import Tracer, context_of, stage
from schemas.arrays import UInt8
from schemas.codec import HEADER, decode_header
from schemas.errors import BadMessageError, FatalError
from schemas.messages import FrameHeader

_log = logging.getLogger(__name__)

MAX_LOST_THREADS = 3
SETTLE_S = 1.0


class AwaitedImage(Protocol):
    """Pixels that are on their way."""

    def result(self, timeout: float) -> UInt8:
        """Wait for them, ``timeout`` seconds at most. Raises BadMessageError if they cannot be had."""

    def wait(self, timeout: float) -> None:
        """Until ``result`` would not wait, ``timeout`` seconds at most."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One delivery with its header and the image on its way, or the error that makes it a dead letter."""

    delivery: Delivery
    header: FrameHeader | None
    error: BadMessageError | None = None
    image: AwaitedImage | None = None


class PendingImage:
    """An image that a thread is decoding."""

    def __init__(self, decode: Callable[[], UInt8], gave_up: Callable[[], None]) -> None:
        self._decode = decode
        self._gave_up = gave_up
        self._future: Future[UInt8] = Future()

    def run(self) -> None:
        """Decode; for the thread."""
        if self._future.set_running_or_notify_cancel():
            try:
                self._future.set_result(self._decode())
            except Exception as error:
                self._future.set_exception(error)

    def result(self, timeout: float) -> UInt8:
        """The pixels.

        Args:
            timeout: seconds to wait at most.

        Raises:
            BadMessageError: they cannot be had, or not in time; then the thread counts as lost.
            FatalError: too many threads were lost.
        """
        try:
            return self._future.result(timeout)
        except FutureTimeout as error:
            if self._future.cancel():
                text = f"no thread was free to decode it within {timeout:g} s"
            else:
                text = f"it must be decoded within {timeout:g} s, the decoder has not come back"
                self._gave_up()
            raise BadMessageError("decode_timeout", f"{text}; the bytes are in the dead letter") from error
        except MemoryError as error:
            raise BadMessageError("undecodable", "there is not enough memory to decode it") from error

    def wait(self, timeout: float) -> None:
        """Until it is decoded or cannot be, ``timeout`` seconds at most."""
        wait([self._future], timeout)


def settle(arrivals: Sequence[Arrival]) -> None:
    """Wait a while for the last image: one wake-up for the batch, where asking for each in turn takes one an image."""
    last = next((arrival.image for arrival in reversed(arrivals) if arrival.image is not None), None)
    if last is not None:
        last.wait(SETTLE_S)


class Decoder:
    """Parses headers at once and decodes images in threads (OpenCV releases the interpreter lock).

    A decoder that does not come back takes its thread with it, but neither the others nor the process: another thread
    takes its place, up to a bound, and none of them keeps the process from ending.
    """

    def __init__(
        self,
        target: FrameFormat,
        limits: DecodeLimits,
        num_threads: int,
        max_attempts: int = 3,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._target = target
        self._max_attempts = max_attempts
        self._limits = limits
        self._num_threads = num_threads
        self._num_lost = 0
        self._waiting: queue.SimpleQueue[PendingImage | None] = queue.SimpleQueue()
        for _ in range(num_threads):
            self._start_thread()

    def begin(self, deliveries: Sequence[Delivery]) -> list[Arrival]:
        """Parse all headers and start decoding; ``Arrival.image`` holds the pixels or a BadMessageError."""
        return [self._begin(delivery) for delivery in deliveries]

    def close(self) -> None:
        """Let the threads end once they are through with what they have."""
        for _ in range(self._num_threads):
            self._waiting.put(None)

    def _begin(self, delivery: Delivery) -> Arrival:
        record = delivery.record
        if delivery.attempts >= self._max_attempts:
            text = f"{delivery.attempts} workers have begun with this record and not come back"
            return Arrival(delivery, None, BadMessageError("poison", f"{text}; it is given up, not they"))
        try:
            header = parse_header(record)
        except BadMessageError as error:
            return Arrival(delivery, None, error)
        if header.kind == "end_of_session":
            return Arrival(delivery, header)
        decode = partial(decode_frame, record.value or b"", self._target, self._limits)
        if self._tracer is not None:
            decode = partial(self._traced, context_of(delivery), decode)
        image = PendingImage(decode, self._replace_thread)
        self._waiting.put(image)
        return Arrival(delivery, header, image=image)

    def _traced(self, parent: str | None, decode: Callable[[], UInt8]) -> UInt8:
        with stage(self._tracer, "decode", (parent,)):
            return decode()

    def _replace_thread(self) -> None:
        self._num_lost += 1
        if self._num_lost > MAX_LOST_THREADS:
            text = f"at most {MAX_LOST_THREADS} decoding threads may be lost, got {self._num_lost}"
            raise FatalError(f"{text}; start the worker again, and look into the dead letters for what did it")
        _log.warning("an image has kept its decoding thread beyond the deadline; another thread takes its place")
        self._start_thread()

    def _start_thread(self) -> None:
        # Not a ThreadPoolExecutor: the interpreter would wait for its threads at exit, lost ones too.
        threading.Thread(target=self._run, name="decode", daemon=True).start()

    def _run(self) -> None:
        while (image := self._waiting.get()) is not None:
            image.run()


def parse_header(record: Record) -> FrameHeader:
    """The frame header of a record.

    Raises:
        BadMessageError: no header, not ours, from the future, too long, or under another camera's key; a bad MAC.
    """
    record.check()
    return decode_header(FrameHeader, record.header(HEADER), record.key, "camera_id")
