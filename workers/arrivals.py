"""From raw records to parsed headers and decoded images; what is wrong with a record stays with it as an error."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from inference.decode import DecodeLimits, decode_frame
from inference.formats import FrameFormat
from messaging.ports import Delivery, Record
from schemas.arrays import UInt8
from schemas.codec import HEADER, decode_header
from schemas.errors import BadMessageError
from schemas.messages import FrameHeader


@dataclass(frozen=True, slots=True)
class Arrival:
    """One delivery with its header and the image on its way, or the error that makes it a dead letter."""

    delivery: Delivery
    header: FrameHeader | None
    error: BadMessageError | None = None
    image: "Future[UInt8] | None" = None


class Decoder:
    """Parses headers at once and decodes images in threads (OpenCV releases the interpreter lock)."""

    def __init__(self, target: FrameFormat, limits: DecodeLimits, num_threads: int) -> None:
        self._target = target
        self._limits = limits
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="decode")

    def begin(self, deliveries: Sequence[Delivery]) -> list[Arrival]:
        """Parse all headers and start decoding; ``Arrival.image`` holds the pixels or a BadMessageError."""
        return [self._begin(delivery) for delivery in deliveries]

    def close(self) -> None:
        """Stop the threads; what has not begun is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _begin(self, delivery: Delivery) -> Arrival:
        record = delivery.record
        try:
            header = parse_header(record)
        except BadMessageError as error:
            return Arrival(delivery, None, error)
        if header.kind == "end_of_session":
            return Arrival(delivery, header)
        future = self._pool.submit(decode_frame, record.value or b"", self._target, self._limits)
        return Arrival(delivery, header, image=future)


def parse_header(record: Record) -> FrameHeader:
    """The frame header of a record.

    Raises:
        BadMessageError: no header, not ours, from the future, too long, or under another camera's key.
    """
    return decode_header(FrameHeader, record.header(HEADER), record.key, "camera_id")
