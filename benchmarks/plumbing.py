"""Frames a second of everything but the network, against decoding the same images bare.

Publish: header, key, hand-over, acknowledgement. Consume: receive, parse, decode in threads, window, clip, with one
batch begun ahead, as a worker does. Plain loops of the client library over the same bytes say what of the rates over
Kafka is ours: their clients have the settings of ours (sizes of fetches and batches, no metrics), so that what differs
is code of ours. Clocks run from the first record or the assignment on: who connects and joins does so once.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition

from benchmarks.timing import Figure, print_rates
from deploy.local.kafka import LocalKafka
from inference.decode import DecodeLimits, decode_frame
from inference.formats import ClipFormat, FrameFormat
from messaging.inprocess.bus import InProcessBus
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import MIB, KafkaConnection
from messaging.ports import Bus, OutRecord, TopicSpec
from producers.synthetic import SyntheticScene
from schemas.codec import encode_header
from schemas.messages import FrameHeader
from workers.arrivals import Arrival, Decoder, settle
from workers.partition import Clip, Partition

FRAMES, CAMERAS, PARTITIONS, ROUNDS = 2000, 4, 4, 5
"""Frames of all cameras together, a multiple of their number; fewer bytes than a publisher may have in flight."""
TARGET = FrameFormat(192, 128, 1)
LIMITS = DecodeLimits()
CLIP = ClipFormat(5)
START = datetime(2026, 1, 5, tzinfo=timezone.utc)
DEADLINE_S = 120.0


def run() -> None:
    """Start a broker, then time publishing and consuming on both buses and bare decoding, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        server = LocalKafka(Path(folder))
        server.start()
        try:
            server.wait_ready(60)
            compare(server.bootstrap_servers, "bench", FRAMES, ROUNDS)
        finally:
            server.stop()


def compare(bootstrap_servers: str, topic: str, num_frames: int, rounds: int) -> None:
    """Print the table; each round has a topic of its own, whose name begins with ``topic``."""
    jpegs, connection = _jpegs(num_frames), KafkaConnection(bootstrap_servers)
    taken: dict[str, list[float]] = {}
    for each in range(rounds):
        with closing(InProcessBus(max_topic_bytes=1 << 30)) as memory, closing(KafkaBus(connection)) as kafka:
            for name, measure in _contenders(memory, kafka, bootstrap_servers, f"{topic}{each}", jpegs).items():
                taken.setdefault(name, []).append(measure())
    size_kb = sum(map(len, jpegs)) / len(jpegs) / 1000
    title = (
        f"{num_frames} frames of 320 x 240 ({size_kb:.0f} kB JPEG), {CAMERAS} cameras, "
        f"to {TARGET.width} x {TARGET.height}"
    )
    print_rates(title, [Figure(name, tuple(seconds)) for name, seconds in taken.items()], num_frames)


def _contenders(
    memory: Bus, kafka: Bus, servers: str, topic: str, jpegs: Sequence[bytes]
) -> dict[str, Callable[[], float]]:
    """What to do in turn; each says its seconds. Who consumes finds what was published before."""
    memory.create_topics([TopicSpec(topic, PARTITIONS)])
    kafka.create_topics([TopicSpec(name, PARTITIONS) for name in (topic, f"{topic}.plain")])
    return {
        "decode and resize, one thread (baseline)": lambda: _decode(jpegs),
        "in-process: publish": lambda: _publish(memory, topic, jpegs),
        "in-process: consume, decode, window": lambda: _consume(memory, topic, len(jpegs)),
        "Kafka: publish": lambda: _publish(kafka, topic, jpegs),
        "Kafka, plain client: send": lambda: _send(servers, f"{topic}.plain", jpegs),
        "Kafka: consume, decode, window": lambda: _consume(kafka, topic, len(jpegs)),
        "Kafka, plain client: poll, decode, one thread": lambda: _poll(servers, topic, len(jpegs)),
    }


def _jpegs(num_frames: int) -> list[bytes]:
    """One a frame; scenes of 50 over and over."""
    images = SyntheticScene(seed=1).frames(50)
    made = [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes() for image in images]
    return [made[index % len(made)] for index in range(num_frames)]


def _decode(jpegs: Sequence[bytes]) -> float:
    start = time.perf_counter()
    for jpeg in jpegs:
        decode_frame(jpeg, TARGET, LIMITS)
    return time.perf_counter() - start


def frame_record(topic: str, index: int, jpeg: bytes, fps: float = 10.0) -> OutRecord:
    """The ``index``-th frame over all cameras, which take turns and send ``fps`` frames a second each."""
    header = FrameHeader(
        camera_id=f"cam{index % CAMERAS}",
        session_id="bench",
        frame_index=index // CAMERAS,
        captured_at=START + timedelta(seconds=index // CAMERAS / fps),
        clock="media",
        width=320,
        height=240,
        fps=fps,
    )
    return OutRecord(topic, header.camera_id, jpeg, encode_header(header))


def _publish(bus: Bus, topic: str, jpegs: Sequence[bytes]) -> float:
    publisher = bus.publisher()
    publisher.publish(frame_record(topic, 0, jpegs[0]))
    assert publisher.flush(DEADLINE_S), "the first frame must be acknowledged"
    start = time.perf_counter()
    for index, jpeg in enumerate(jpegs[1:], 1):
        publisher.publish(frame_record(topic, index, jpeg))
    assert publisher.flush(DEADLINE_S), "every frame must be acknowledged"
    seconds = time.perf_counter() - start
    publisher.close(5)
    return seconds


def _consume(bus: Bus, topic: str, num_frames: int) -> float:
    subscription = bus.subscription([topic], "bench")
    decoder = Decoder(TARGET, LIMITS, num_threads=2)
    partitions: dict[int, Partition] = {}
    ahead: list[Arrival] = []
    clips = received = 0
    start = 0.0
    while received < num_frames:
        intake = subscription.receive(64, 0.0 if ahead else DEADLINE_S)
        start = start or time.perf_counter()
        for assigned in intake.assigned:
            partitions[assigned.claim.partition] = Partition.from_assignment(assigned, {}, CLIP, 0.0)
        arrivals = decoder.begin(intake.deliveries)
        settle(ahead)
        for arrival in ahead:
            admitted = partitions[arrival.delivery.record.partition].admit(arrival, None, 0.0)
            clips += isinstance(admitted, Clip) and bool(admitted.clip_THWC[-1].any())
            received += 1
        ahead = arrivals
    seconds = time.perf_counter() - start
    expected = num_frames - CAMERAS * (CLIP.span - 1)
    assert clips == expected, f"windows must give a clip a frame once full, {expected} in all, got {clips}"
    decoder.close()
    subscription.close()
    return seconds


def _send(servers: str, topic: str, jpegs: Sequence[bytes]) -> float:
    """What ``_publish`` does with Kafka, but for our headers, bounds and answers."""
    records = [frame_record(topic, index, jpeg) for index, jpeg in enumerate(jpegs)]
    producer = KafkaProducer(
        bootstrap_servers=servers,
        enable_idempotence=False,
        max_in_flight_requests_per_connection=1,
        acks="all",
        linger_ms=5,
        batch_size=262_144,
        max_request_size=4 * MIB,
        metrics_enabled=False,
    )
    producer.partitions_for(topic)
    start = time.perf_counter()
    for record in records:
        producer.send(topic, key=record.key.encode(), value=record.value, headers=list(record.headers))
    producer.flush(DEADLINE_S)
    seconds = time.perf_counter() - start
    producer.close(5)
    return seconds


class _Joined(ConsumerRebalanceListener):  # type: ignore[misc]
    """When the member was given its partitions."""

    at_s = 0.0

    def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:  # noqa: ARG002
        self.at_s = time.perf_counter()

    def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        pass


def _poll(servers: str, topic: str, num_frames: int) -> float:
    """What ``_consume`` does with Kafka, but for our checks, hand-over, windows, and threads."""
    consumer = KafkaConsumer(
        bootstrap_servers=servers,
        group_id="plain",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_poll_records=500,
        fetch_max_bytes=16 * MIB,
        max_partition_fetch_bytes=2 * MIB,
        metrics_enabled=False,
    )
    joined, received = _Joined(), 0
    consumer.subscribe([topic], listener=joined)
    while received < num_frames:
        for records in consumer.poll(1000).values():
            for record in records:
                decode_frame(record.value, TARGET, LIMITS)
            received += len(records)
    seconds = time.perf_counter() - joined.at_s
    consumer.close()
    return seconds
