"""From pictures to records on a bus, and back to pictures."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from messaging.inprocess.bus import InProcessBus
from messaging.ports import Record, TopicSpec
from producers.encoding import EncodingOptions
from producers.feed import CameraFeed
from producers.pacing import PacingOptions
from producers.producer import Producer, ProducerOptions
from producers.sources import LiveOptions, SourceOptions, open_source
from producers.synthetic import SyntheticScene
from schemas.codec import HEADER, decode_message
from schemas.messages import FrameHeader
from tests.integration.producers.camera_servers import mjpeg_camera

BACKFILL = PacingOptions(mode="backfill")
OPTIONS = ProducerOptions(topic="frames")


@pytest.fixture
def bus():
    bus = InProcessBus()
    bus.create_topics([TopicSpec("frames", partitions=4)])
    yield bus
    bus.close()


def read_all(bus: InProcessBus) -> list[Record]:
    return list(bus.reader(["frames"], from_beginning=True).read_to_end(5.0))


def headers_of(records: list[Record], camera_id: str) -> list[FrameHeader]:
    own = [record for record in records if record.key == camera_id.encode()]
    assert len({record.partition for record in own}) == 1
    return [decode_message(FrameHeader, record.header(HEADER)) for record in own]


def test_several_scenes_at_once(bus: InProcessBus) -> None:
    feeds = [
        CameraFeed(f"cam{n}", open_source(f"synthetic://walkway?seed={n}&seconds=2"), pacing=BACKFILL) for n in range(3)
    ]
    producer = Producer(feeds, bus.publisher(), OPTIONS)
    producer.run()
    records = read_all(bus)
    for number in range(3):
        headers = headers_of(records, f"cam{number}")
        assert [header.frame_index for header in headers] == list(range(21))
        assert headers[-1].kind == "end_of_session"
        first = next(record for record in records if record.key == f"cam{number}".encode())
        image = cv2.imdecode(np.frombuffer(first.value or b"", np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert cv2.PSNR(image, next(SyntheticScene(number).frames(1))) > 28
        assert producer.snapshot()[f"cam{number}"].counts.sent == 20


def test_a_film_sampled_resized_and_named(bus: InProcessBus, tmp_path: Path) -> None:
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (320, 240))
    for image in SyntheticScene(1).frames(40):
        writer.write(image)
    writer.release()
    feed = CameraFeed(
        "gate",
        open_source(str(path)),
        encoding=EncodingOptions(size=(128, 96)),
        pacing=PacingOptions(fps=5, mode="backfill"),
        session_id="morning",
    )
    Producer([feed], bus.publisher(), OPTIONS).run()
    headers = headers_of(read_all(bus), "gate")
    assert [header.frame_index for header in headers] == list(range(11))
    assert {(header.width, header.height) for header in headers[:-1]} == {(128, 96)}
    assert {(header.session_id, header.fps, header.clock) for header in headers} == {("morning", 5.0, "media")}
    gaps = {(b.captured_at - a.captured_at).total_seconds() for a, b in itertools.pairwise(headers[:-1])}
    assert gaps == {0.2}


def test_a_camera_live(bus: InProcessBus) -> None:
    with mjpeg_camera() as camera:
        source = open_source(
            f"http://127.0.0.1:{camera.server_port}/", SourceOptions(live=LiveOptions(open_timeout_s=5))
        )
        producer = Producer(
            [CameraFeed("gate", source, pacing=PacingOptions(fps=20, num_frames=15))], bus.publisher(), OPTIONS
        )
        producer.run()
    headers = headers_of(read_all(bus), "gate")
    assert [header.frame_index for header in headers] == list(range(16))
    assert {header.clock for header in headers} == {"arrival"}
    times = [header.captured_at for header in headers]
    assert times == sorted(times)
    counts = producer.snapshot()["gate"].counts
    assert counts.sent == 15
    assert counts.captured == counts.sent + counts.sampled_out + counts.num_dropped
    assert set(counts.dropped) <= {"too_slow"}
