"""``engram replay``: the same inputs give the same files; another threshold, bank, way in."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engram.build.adapters import open_store
from engram.cli.app import app
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from messaging.ports import OutRecord, TopicSpec
from schemas.codec import encode_header
from schemas.messages import FrameHeader
from schemas.settings.connections import StoreSection
from tests.integration.engram.bank_store import teach
from tests.small_bundle import jpeg
from tests.unit.consumers.samples import at

Call = Callable[..., Result]
NUM_FRAMES = 100
"""Calm, but for frames 70 to 89."""


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    for index in range(NUM_FRAMES):
        (folder / f"{index}.jpg").write_bytes(jpeg("calm", index))
    return folder


@pytest.fixture
def call(bundle: Path, tmp_path: Path) -> Call:
    environment = {
        "ENGRAM_WORKER__BUNDLE": str(bundle),
        "ENGRAM_WORKER__THREADS": "1",
        "ENGRAM_STORE__URL": f"sqlite:///{tmp_path / 'banks.db'}",
        "COLUMNS": "250",
        "TERM": "dumb",
        "NO_COLOR": "1",
    }

    def run(*words: object, **more: str) -> Result:
        return CliRunner(env=environment | more).invoke(app, [str(word) for word in words])

    return run


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_inputs_give_the_same_files_and_another_threshold_other_events(
    call: Call, footage: Path, tmp_path: Path
) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    for out in (a, b):
        done = call("replay", footage, "--camera", "calm", "--out", out)
        assert done.exit_code == 0, done.output
        assert "1 events" in done.stdout
    assert content(a) == content(b)
    scores = [json.loads(line) for line in (a / "scores-calm.jsonl").read_text().splitlines()]
    assert [one["frame_index"] for one in scores] == list(range(NUM_FRAMES))
    assert {one["memory_state"] for one in scores} == {"initial"}
    events = [json.loads(line) for line in (a / "events.jsonl").read_text().splitlines()]
    phases = [one["data"]["phase"] for one in events]
    assert (phases[0], phases[-1]) == ("start", "end")
    assert events[0]["data"]["started_at"].startswith("1970-01-01T00:00:0")

    other = call("replay", footage, "--camera", "calm", "--out", c, "--enter", "1", "--against", a, "-o", "json")
    assert other.exit_code == 0, other.output
    found = json.loads(other.stdout)
    assert (len(found["vanished"]), found["appeared"], found["num_same"]) == (1, [], 0)
    assert (c / "scores-calm.jsonl").read_bytes() == (a / "scores-calm.jsonl").read_bytes()
    refused = call("replay", footage, "--out", a)
    assert refused.exit_code == 2
    assert "must be a new or an empty folder" in refused.stderr


def test_another_version_of_the_bank_gives_its_scores(call: Call, footage: Path, tmp_path: Path, bundle: Path) -> None:
    section = StoreSection(url=f"sqlite:///{tmp_path / 'banks.db'}")
    assert call("bank", "create", "lobby").exit_code == 0
    with open_store(section) as store:
        teach(store, "lobby", (1, 2, 3))
    assert call("bank", "export", "lobby", tmp_path / "lobby-2.bank", "--version", "2").exit_code == 0

    def scores(name: str, *words: object) -> list[dict[str, object]]:
        done = call("replay", footage, "--camera", "calm", "--out", tmp_path / name, *words)
        assert done.exit_code == 0, done.output
        return [json.loads(line) for line in (tmp_path / name / "scores-calm.jsonl").read_text().splitlines()]

    of_store = scores("store", "--bank", "lobby", "--bank-version", "2")
    assert {(one["bank_id"], one["bank_version"], one["memory_state"]) for one in of_store} == {("lobby", 2, "frozen")}
    assert scores("file", "--bank-file", tmp_path / "lobby-2.bank") == of_store
    assert {one["bank_version"] for one in scores("newest", "--bank", "lobby")} == {3}
    own = scores("own")
    assert [one["feature_distance"] for one in own[10:]] != [one["feature_distance"] for one in of_store[10:]]
    missing = call("replay", footage, "--out", tmp_path / "none", "--bank", "lobby", "--bank-version", "9")
    assert missing.exit_code == 2
    assert "there is of v9 none, it keeps [0, 1, 2, 3]" in missing.stderr


@pytest.fixture
def frames(kafka_bootstrap: str, fresh_name: Callable[[str], str]) -> Iterator[tuple[str, KafkaBus]]:
    """A prefix under which there are frames of two cameras, and whatever else lies on a topic."""
    prefix = f"{fresh_name('p')}."
    bus = KafkaBus(KafkaConnection(kafka_bootstrap))
    bus.create_topics([TopicSpec(f"{prefix}frames", 2)])
    publisher = bus.publisher()
    for index in range(NUM_FRAMES):
        for camera in ("calm", "a"):
            header = FrameHeader(
                camera_id=camera,
                session_id="live",
                frame_index=index,
                captured_at=at(index),
                clock="camera",
                width=64,
                height=48,
                fps=10.0,
            )
            publisher.publish(OutRecord(f"{prefix}frames", camera, jpeg(camera, index), encode_header(header)))
    publisher.publish(OutRecord(f"{prefix}frames", "stray", b"no frame"))
    publisher.close(60)
    yield prefix, bus
    bus.close()


def test_frames_of_a_topic_are_replayed_from_where_one_wants(
    call: Call, footage: Path, frames: tuple[str, KafkaBus], kafka_bootstrap: str, tmp_path: Path
) -> None:
    prefix, bus = frames
    kafka = {"ENGRAM_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap, "ENGRAM_KAFKA__TOPIC_PREFIX": prefix}

    def scores(name: str, *words: object) -> dict[str, list[dict[str, object]]]:
        done = call("replay", "--frames", "--out", tmp_path / name, *words, **kafka)
        assert done.exit_code == 0, done.output
        found = (tmp_path / name).glob("scores-*.jsonl")
        return {path.stem: [json.loads(line) for line in path.read_text().splitlines()] for path in found}

    whole = scores("whole")
    assert {name: len(rows) for name, rows in whole.items()} == {"scores-calm": NUM_FRAMES, "scores-a": NUM_FRAMES}
    again = scores("again")
    assert again == whole
    assert (tmp_path / "again" / "events.jsonl").read_bytes() == (tmp_path / "whole" / "events.jsonl").read_bytes()

    alone = scores("alone", "--camera", "calm", "--since", "1h")
    assert alone == {"scores-calm": whole["scores-calm"]}
    reader = bus.reader([f"{prefix}frames"], from_beginning=True)
    mine = [record for record in reader.read_to_end(60) if record.key == b"calm"]
    reader.close()
    late = scores("late", "--camera", "calm", "--from-offset", f"{mine[60].partition}:{mine[60].offset}")
    assert [row["frame_index"] for row in late["scores-calm"]] == list(range(60, NUM_FRAMES))
    assert scores("nothing", "--until", "1h") == {}


def test_a_replay_goes_into_topics_of_its_own_with_the_same_ids_and_scores(
    call: Call, footage: Path, kafka_bootstrap: str, fresh_name: Callable[[str], str], tmp_path: Path
) -> None:
    kafka = {"ENGRAM_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap, "ENGRAM_KAFKA__FRAMES_PARTITIONS": "2"}
    trial, other = (f"{fresh_name(name)}." for name in ("trial", "other"))
    done = call("replay", footage, "--camera", "calm", "--out", tmp_path / "a", "--into", trial, **kafka)
    assert done.exit_code == 0, done.output
    assert call("replay", footage, "--camera", "calm", "--into", other, "--enter", "1", **kafka).exit_code == 0

    def told(prefix: str, name: str) -> list[str]:
        reader = bus.reader([f"{prefix}{name}"], from_beginning=True)
        values = [(record.value or b"").decode() for record in reader.read_to_end(60)]
        reader.close()
        return values

    bus = KafkaBus(KafkaConnection(kafka_bootstrap))
    assert told(trial, "frame-scores") == (tmp_path / "a" / "scores-calm.jsonl").read_text().splitlines()
    assert told(trial, "anomaly-events") == (tmp_path / "a" / "events.jsonl").read_text().splitlines()
    assert len(told(other, "frame-scores")) == NUM_FRAMES
    assert told(other, "anomaly-events") == []
    bus.close()

    again = call("replay", footage, "--camera", "calm", "--into", trial, **kafka)
    assert again.exit_code == 2
    assert "must be new or empty for a replay, it holds something" in again.stderr
    listed = call("events", "--topic-prefix", trial, "-o", "json", **kafka)
    (tmp_path / "live.jsonl").write_text(listed.stdout)
    words = ("--camera", "calm", "--out", tmp_path / "b", "--against", tmp_path / "live.jsonl", "-o", "json")
    beside = json.loads(call("replay", footage, *words).stdout)
    assert (beside["appeared"], beside["vanished"], beside["changed"], beside["num_same"]) == ([], [], [], 1)


def test_a_replay_that_goes_nowhere_is_told(call: Call) -> None:
    done = call("replay", "x.mp4")
    assert done.exit_code == 2
    assert "--out DIR, --into PREFIX or both must say where it goes" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--frames", "x.mp4"), "either recordings or --frames must be named"),
        ((), "either recordings or --frames must be named"),
        (("x.mp4", "--since", "1h"), "go with --frames"),
        (("--frames", "--from-offset", "12"), "--from-offset must be PARTITION:OFFSET"),
        (("--frames", "--since", "then"), "--since must be a length of time before now"),
        (("x.mp4", "--bank", "a", "--bank-file", "b"), "only one of --bank and --bank-file"),
        (("x.mp4", "--bank-version", "3"), "name it with --bank"),
        (("x.mp4", "--against", "/nowhere"), "is none that can be read"),
        (("nowhere.mp4",), "nowhere.mp4"),
        (("x.mp4", "--into", "a b"), "--into must be a prefix of its own"),
        (("x.mp4", "--into", ""), "--into must be a prefix of its own"),
        (("rtsp://127.0.0.1:1/x",), "a replay needs a recording"),
    ],
)
def test_what_cannot_be_replayed_is_told_in_a_line(
    call: Call, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    done = call("replay", *words, "--out", tmp_path / "out")
    assert done.exit_code == 2, done.output
    assert message in done.stderr.splitlines()[-1]
