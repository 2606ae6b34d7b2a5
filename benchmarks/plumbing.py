"""Frames a second of everything but the network, against decoding the same images bare.

Publish: header, key, hand-over, acknowledgement. Consume: receive, parse, decode in threads, window, clip.
"""

import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np

from benchmarks.timing import Figure, print_rates
from deploy.local.kafka import LocalKafka
from inference.decode import DecodeLimits, decode_frame
from inference.formats import ClipFormat, FrameFormat
from messaging.inprocess.bus import InProcessBus
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from messaging.ports import Bus, OutRecord, TopicSpec
from producers.synthetic import SyntheticScene
from schemas.codec import encode_header
from schemas.messages import FrameHeader
from workers.arrivals import Decoder
from workers.partition import Clip, Partition

FRAMES, CAMERAS, PARTITIONS, ROUNDS = 2000, 4, 4, 3
"""Frames of all cameras together, a multiple of their number."""
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
    jpegs = _jpegs(num_frames)
    taken: dict[str, list[float]] = {}
    for each in range(rounds):
        _round(f"{topic}{each}", jpegs, KafkaBus(KafkaConnection(bootstrap_servers)), taken)
    size_kb = sum(map(len, jpegs)) / len(jpegs) / 1000
    title = (
        f"{num_frames} frames of 320 x 240 ({size_kb:.0f} kB JPEG), {CAMERAS} cameras, "
        f"to {TARGET.width} x {TARGET.height}"
    )
    print_rates(title, [Figure(name, tuple(seconds)) for name, seconds in taken.items()], num_frames)


def _round(topic: str, jpegs: list[bytes], kafka: KafkaBus, taken: dict[str, list[float]]) -> None:
    def note(name: str, call: Callable[[], None]) -> None:
        start = time.perf_counter()
        call()
        taken.setdefault(name, []).append(time.perf_counter() - start)

    note("decode and resize, one thread (baseline)", lambda: _decode(jpegs))
    memory = InProcessBus(max_topic_bytes=1 << 30)
    for name, bus in (("in-process", memory), ("Kafka", kafka)):
        bus.create_topics([TopicSpec(topic, PARTITIONS)])
        note(f"{name}: publish", lambda bus=bus: _publish(bus, topic, jpegs))  # type: ignore[misc]
        note(f"{name}: consume, decode, window", lambda bus=bus: _consume(bus, topic, len(jpegs)))  # type: ignore[misc]
        bus.close()


def _jpegs(num_frames: int) -> list[bytes]:
    """One a frame; scenes of 50 over and over."""
    images = SyntheticScene(seed=1).frames(50)
    made = [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes() for image in images]
    return [made[index % len(made)] for index in range(num_frames)]


def _decode(jpegs: list[bytes]) -> None:
    for jpeg in jpegs:
        decode_frame(jpeg, TARGET, LIMITS)


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


def _publish(bus: Bus, topic: str, jpegs: list[bytes]) -> None:
    publisher = bus.publisher()
    for index, jpeg in enumerate(jpegs):
        publisher.publish(frame_record(topic, index, jpeg))
    assert publisher.flush(DEADLINE_S), "every frame must be acknowledged"
    publisher.close(5)


def _consume(bus: Bus, topic: str, num_frames: int) -> None:
    subscription = bus.subscription([topic], "bench")
    decoder = Decoder(TARGET, LIMITS, num_threads=2)
    partitions: dict[int, Partition] = {}
    clips = received = 0
    while received < num_frames:
        intake = subscription.receive(64, DEADLINE_S)
        for assigned in intake.assigned:
            partitions[assigned.claim.partition] = Partition.from_assignment(assigned, {}, CLIP, 0.0)
        for arrival in decoder.begin(intake.deliveries):
            admitted = partitions[arrival.delivery.record.partition].admit(arrival, None, 0.0)
            clips += isinstance(admitted, Clip) and bool(np.any(admitted.clip_THWC))
            received += 1
    expected = num_frames - CAMERAS * (CLIP.span - 1)
    assert clips == expected, f"windows must give a clip a frame once full, {expected} in all, got {clips}"
    decoder.close()
    subscription.close()
