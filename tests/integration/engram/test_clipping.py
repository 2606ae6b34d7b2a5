"""``engram clips`` as a process on a real Kafka, killed on the way: each event has its picture and its clip."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.local.wait import wait_until
from engram.cli.app import app
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from messaging.ports import OutRecord, TopicSpec
from schemas.codec import EVENT_HEADERS, decode_message, encode_header, encode_message
from schemas.media import EventMedia, EventMediaEvent
from tests.unit.consumers.media.moving import header, jpeg
from tests.unit.consumers.samples import event

ROOT = Path(__file__).parents[3]
DEADLINE_S = 120
CAMERAS = ("cam0", "cam1", "cam2")


@pytest.fixture
def bus(kafka_bootstrap: str) -> Iterator[KafkaBus]:
    made = KafkaBus(KafkaConnection(kafka_bootstrap))
    yield made
    made.close()


def test_each_event_has_its_media_whatever_kills_it(bus: KafkaBus, settings: dict[str, str], tmp_path: Path) -> None:
    prefix, store = settings["ENGRAM_KAFKA__TOPIC_PREFIX"], tmp_path / "media"
    frames, events, media = (f"{prefix}{name}" for name in ("frames", "anomaly-events", "event-media"))
    bus.create_topics([TopicSpec(frames, 2), TopicSpec(events, 2), TopicSpec(media, 1)])
    publisher, reader = bus.publisher(), bus.reader([media], from_beginning=True)
    told: list[EventMedia] = []

    def has_told(number: int) -> bool:
        told.extend(decode_message(EventMediaEvent, record.value).data for record in reader.read(100, 0.2))
        return len({(one.event_id, one.kind) for one in told}) >= number

    for index in range(60):
        for camera in CAMERAS:
            publisher.publish(OutRecord(frames, camera, jpeg(index), encode_header(header(index, camera))))
    assert publisher.flush(DEADLINE_S)
    command = [sys.executable, "-m", "engram", "clips", str(store), "--after", "1", "--before", "1", "--from-beginning"]
    for first in (20, 30):
        for camera in CAMERAS:
            message = event(first, first + 5, "end", 1, camera)
            publisher.publish(OutRecord(events, camera, encode_message(message), EVENT_HEADERS))
        child = subprocess.Popen(command, env={**os.environ, **settings}, cwd=ROOT, stderr=subprocess.PIPE)
        try:
            wanted = 3 if first == 20 else 2 * 2 * len(CAMERAS)
            assert wait_until(lambda number=wanted: has_told(number), DEADLINE_S)  # type: ignore[misc]
        finally:
            child.kill()
            child.communicate(timeout=30)
    clips = {one.event_id: one for one in told if one.kind == "clip"}
    assert set(clips) == {f"{camera}:s1:{first}" for camera in CAMERAS for first in (20, 30)}
    for one in told:
        assert one.frames is not None
        assert one.frames.missing == 0
        assert one.uri is not None
        assert Path(one.uri.removeprefix("file://")).stat().st_size == one.num_bytes
    assert {clip.frames.shown for clip in clips.values() if clip.frames} == {26}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ftp://me:secret@h/x"], "media go into a folder or to s3://bucket/prefix"),
        (["s3://"], "a bucket must be given as s3://bucket"),
        (["/dev/null/media"], "must be written: Not a directory; give this user a folder"),
        (["media", "--keep", "soon"], "--keep must be a length of time such as 30s"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_at_once(
    words: list[str], told: str, settings: dict[str, str], fresh_name: Callable[[str], str]
) -> None:
    done = CliRunner(env={**settings, "COLUMNS": "250"}).invoke(app, ["clips", *words])
    assert done.exit_code == 2
    assert told in done.stderr
    assert "secret" not in done.stderr
