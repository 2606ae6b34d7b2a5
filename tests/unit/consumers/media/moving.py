"""A camera whose frames lie in a log in memory, and events of it."""

import threading
import zlib
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np

from consumers.group import GroupReader
from consumers.media.clipper import ClipCounts, ClipOptions, Clipper
from consumers.media.folder import FolderStore
from consumers.media.footage import FrameLog
from consumers.media.store import MediaStore
from consumers.sieve import EventSieve
from messaging.inprocess.bus import InProcessBus
from messaging.ports import Bus, OutRecord, TopicSpec
from schemas.codec import EVENT_HEADERS, decode_message, encode_header, encode_message
from schemas.media import EventMedia, EventMediaEvent
from schemas.messages import AnomalyEvent, FrameHeader
from tests.unit.consumers.samples import FPS, ORIGIN, at

FRAMES, EVENTS, MEDIA = "frames", "anomaly-events", "event-media"
WIDTH, HEIGHT = 161, 120
"""One side is odd, which H.264 does not take as it is."""
WALL_S = ORIGIN.timestamp() + 1e6
"""The log's clock: far from the capture times, as for a film."""


class Clock:
    """Seconds that grow when told."""

    def __init__(self, start_s: float) -> None:
        self.now_s = start_s

    def __call__(self) -> float:
        return self.now_s


def jpeg(index: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> bytes:
    """A square that moves to the right, a pixel each frame, over grey that grows lighter."""
    image = np.full((size[1], size[0], 3), 40 + index % 100, np.uint8)
    image[40:80, index % 120 : index % 120 + 30] = (0, 0, 255)
    return cv2.imencode(".jpg", image)[1].tobytes()


def header(index: int, camera_id: str = "cam1", session_id: str = "s1") -> FrameHeader:
    return FrameHeader(
        camera_id=camera_id,
        session_id=session_id,
        frame_index=index,
        captured_at=at(index),
        clock="camera",
        width=WIDTH,
        height=HEIGHT,
        fps=FPS,
    )


class Yard:
    """A bus with frames, events, and a clipper that follows them."""

    def __init__(self, folder: Path, ring_records: int = 10_000, partitions: int = 3) -> None:
        self.clock = Clock(WALL_S)
        self.bus = InProcessBus(max_topic_bytes=64 << 20, ring_records=ring_records, clock=self.clock)
        specs = [TopicSpec(FRAMES, partitions), TopicSpec(EVENTS, partitions), TopicSpec(MEDIA, 1)]
        self.bus.create_topics(specs)
        self.frames_bus: Bus = self.bus
        self.folder = folder
        self._publisher = self.bus.publisher()

    def send(self, indices: Iterable[int], camera_id: str = "cam1", session_id: str = "s1") -> None:
        """Frames, at the pace of capture."""
        for index in indices:
            head = header(index, camera_id, session_id)
            self._publisher.publish(OutRecord(FRAMES, camera_id, jpeg(index), encode_header(head)))
            self.clock.now_s += 1 / FPS

    def send_to(self, partition: int, indices: Iterable[int]) -> None:
        """As ``send``, whatever the key says."""
        for index in indices:
            record = OutRecord(FRAMES, "cam1", jpeg(index), encode_header(header(index)), partition=partition)
            self._publisher.publish(record)
            self.clock.now_s += 1 / FPS

    def partition_of(self, key: str) -> int:
        """Where the bus puts a key."""
        return zlib.crc32(key.encode()) % self.bus.existing_topics()[FRAMES]

    def put(self, key: str, value: bytes, head: FrameHeader) -> None:
        """One frame with any value."""
        self._publisher.publish(OutRecord(FRAMES, key, value, encode_header(head)))

    def tell(self, *messages: AnomalyEvent) -> None:
        """Events."""
        for message in messages:
            self._publisher.publish(OutRecord(EVENTS, message.data.camera_id, encode_message(message), EVENT_HEADERS))

    def clipper(self, store: MediaStore | None = None, **options: object) -> Clipper:
        """One more member of the group."""
        reader = GroupReader(self.bus.subscription([EVENTS], "clips"), EventSieve())
        chosen = ClipOptions(MEDIA, **{"before_s": 1.0, "after_s": 1.0, **options})  # type: ignore[arg-type]
        frames = FrameLog(self.frames_bus, FRAMES, self.bus.existing_topics()[FRAMES])
        return Clipper(
            reader, frames, store or FolderStore(self.folder), self.bus.publisher(), chosen, self.now, self.clock
        )

    def make(self, **options: object) -> ClipCounts:
        """Have all media made that can be, by a member that then leaves."""
        clipper, stop = self.clipper(None, **options), threading.Event()
        stop.set()
        clipper.run(stop, at_end=clipper.finish)
        return clipper.counts

    def now(self) -> datetime:
        """The wall clock, which is the log's."""
        return datetime.fromtimestamp(self.clock.now_s, timezone.utc)

    def told(self) -> list[EventMedia]:
        """What was told of media so far."""
        records = self.bus.reader([MEDIA], from_beginning=True).read_to_end(1)
        return [decode_message(EventMediaEvent, record.value).data for record in records]


def path_of(media: EventMedia) -> Path:
    assert media.uri is not None
    return Path(media.uri.removeprefix("file://"))
