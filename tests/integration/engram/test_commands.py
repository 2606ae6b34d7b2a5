"""The commands of a fleet over a real Kafka and a real Redis."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engram.cli.app import app
from schemas.messages import AnomalyEvent
from schemas.topics import TopicNames
from tests.small_bundle import jpeg

ROOT = Path(__file__).parents[3]
DEADLINE_S = 120
NUM_TOPICS = len(TopicNames.with_prefix("").all())
runner = CliRunner()


@pytest.fixture
def call(settings: dict[str, str]) -> Callable[..., Result]:
    return lambda *arguments, **more: runner.invoke(app, [str(part) for part in arguments], env={**settings, **more})


@pytest.fixture
def start(settings: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    children: list[subprocess.Popen[bytes]] = []

    def begin(name: str, *arguments: object) -> "subprocess.Popen[bytes]":
        with (tmp_path / f"{name}.log").open("wb") as log:
            command = [sys.executable, "-m", "engram", *map(str, arguments)]
            children.append(
                subprocess.Popen(
                    command, env={**os.environ, **settings}, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
                )
            )
        return children[-1]

    yield begin
    for child in children:
        if child.poll() is None:
            child.kill()
        child.wait(30)


def test_topics_are_missing_then_made_then_there(call: Callable[..., Result]) -> None:
    before = call("topics", "list", "-o", "json")
    assert before.exit_code == 1
    assert set(json.loads(before.stdout).values()) == {"missing"}
    made = call("topics", "create")
    assert made.exit_code == 0, made.output
    assert made.stdout.count("created") == NUM_TOPICS
    again = call("topics", "create")
    assert again.stdout.count("exists") == NUM_TOPICS
    after = call("topics", "list", "-o", "json")
    assert after.exit_code == 0
    assert set(json.loads(after.stdout).values()) == {"ok"}
    wrong = call("topics", "list", "-o", "json", ENGRAM_KAFKA__FRAMES_PARTITIONS="3")
    assert wrong.exit_code == 1
    assert "has 2 partitions, settings say 3" in wrong.stdout
    refused = call("topics", "create", ENGRAM_KAFKA__FRAMES_PARTITIONS="3")
    assert refused.exit_code == 2
    assert "partitions" in refused.stderr


def test_topics_that_are_kept_otherwise_are_told_and_mended(call: Callable[..., Result]) -> None:
    call("topics", "create")
    shorter = {"ENGRAM_KAFKA__FRAMES_RETENTION_S": "60"}
    different = call("topics", "list", "-o", "json", **shorter)
    assert different.exit_code == 1
    assert any("retention.ms is 3600000" in state for state in json.loads(different.stdout).values())
    assert "`engram topics apply` mends" in call("topics", "create", **shorter).stdout
    shown = call("topics", "apply", "--dry-run", **shorter)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("differs") == 2  # frames and memory-updates
    assert shown.stdout.count("retention.ms: 3600000 -> 60000") == 2
    assert "nothing was changed" in shown.stdout
    mended = call("topics", "apply", **shorter)
    assert mended.exit_code == 0, mended.output
    assert mended.stdout.splitlines() == [line.replace("differs", "mended ") for line in shown.stdout.splitlines()[:-1]]
    assert set(json.loads(call("topics", "list", "-o", "json", **shorter).stdout).values()) == {"ok"}


def test_applying_makes_what_is_missing_and_says_so_before(call: Callable[..., Result]) -> None:
    shown = call("topics", "apply", "--dry-run")
    assert [line.split()[0] for line in shown.stdout.splitlines()[:NUM_TOPICS]] == ["missing"] * NUM_TOPICS
    assert set(json.loads(call("topics", "list", "-o", "json").stdout).values()) == {"missing"}
    assert call("topics", "apply").stdout.count("created") == NUM_TOPICS
    assert call("topics", "apply", "--dry-run").stdout.count("ok ") == NUM_TOPICS
    refused = call("topics", "apply", "--dry-run", ENGRAM_KAFKA__FRAMES_PARTITIONS="3")
    assert refused.exit_code == call("topics", "apply", ENGRAM_KAFKA__FRAMES_PARTITIONS="3").exit_code == 2


def test_topics_that_are_spread_by_camera_grow_together(call: Callable[..., Result]) -> None:
    call("topics", "create")
    grown = call("topics", "grow", "4")
    assert grown.exit_code == 0, grown.output
    lines = [line.split()[:2] for line in grown.stdout.splitlines()[:4]]
    assert [said for said, _ in lines] == ["grown"] * 4
    assert lines[0][1].endswith("camera-states")
    assert "start anew" in grown.stdout
    listed = call("topics", "list", "-o", "json", ENGRAM_KAFKA__FRAMES_PARTITIONS="4")
    assert set(json.loads(listed.stdout).values()) == {"ok"}
    assert call("topics", "grow", "4").stdout.count("ok ") == 4
    assert call("topics", "grow", "3").exit_code == 2


def test_the_doctor_finds_what_is_missing_and_then_nothing(call: Callable[..., Result], tmp_path: Path) -> None:
    source = "synthetic://walkway?seed=1&seconds=1"
    sick = call("doctor", "-o", "json", "--source", tmp_path / "nowhere.mp4")
    assert sick.exit_code == 1
    found = {one["name"]: one for one in json.loads(sick.stdout)}
    assert {name: one["ok"] for name, one in found.items()} == {
        "broker": True,
        "topics": False,
        "store": True,
        "bundle": True,
        "backend": True,
        "source": False,
        "macs": True,
    }
    assert found["topics"]["remedy"] == "engram topics create"
    call("topics", "create")
    well = call("doctor", "--source", source)
    assert well.exit_code == 0, well.output
    assert "FAIL" not in well.stdout
    assert "gives frames of 320 x 240 pixels" in well.stdout


def test_the_doctor_goes_on_where_everything_is_away(call: Callable[..., Result], tmp_path: Path) -> None:
    sick = call(
        "doctor",
        "--bundle",
        tmp_path,
        ENGRAM_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1",
        ENGRAM_STORE__URL="redis://127.0.0.1:1/0",
    )
    assert sick.exit_code == 1
    lines = [line.split()[:2] for line in sick.stdout.splitlines() if not line.startswith(" ")]
    away = {name for verdict, name in lines if verdict == "FAIL"}
    assert away == {"broker", "topics", "store", "bundle", "backend"}
    assert ["ok", "macs"] in lines
    assert sick.stdout.count("->") == 5


def test_cameras_to_events_through_a_fleet(
    call: Callable[..., Result], start: Callable[..., "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    footage = tmp_path / "footage"
    footage.mkdir()
    for index in range(120):
        (footage / f"{index}.jpg").write_bytes(jpeg("calm", index))
    assert call("topics", "create").exit_code == 0
    coordinator, worker = start("coordinate", "coordinate"), start("work", "work", "--worker-id", "w1")
    follower = start("follow", "events", "--follow", "--from-beginning", "-o", "json")
    cameras = start("produce", "produce", footage, footage, "--camera", "a", "--camera", "b", "--pace", "backfill")
    assert cameras.wait(DEADLINE_S) == 0, (tmp_path / "produce.log").read_text()

    until = time.monotonic() + DEADLINE_S
    while ends_of(call("events", "-o", "json")) != ["a", "b"]:
        assert time.monotonic() < until, (tmp_path / "work.log").read_text()
        assert worker.poll() is None, (tmp_path / "work.log").read_text()
    only = call("events", "--camera", "b")
    assert " b end " in only.stdout
    assert " a " not in only.stdout

    while sorted(followed(tmp_path / "follow.log")) != ["a", "b"]:
        assert time.monotonic() < until
        assert follower.poll() is None, (tmp_path / "follow.log").read_text()

    assert call("bank", "show", "shared").exit_code == 0
    for child, name in ((worker, "work"), (coordinator, "coordinate"), (follower, "follow")):
        child.send_signal(signal.SIGTERM)
        assert child.wait(DEADLINE_S) == 0, (tmp_path / f"{name}.log").read_text()


def ends_of(result: Result) -> list[str]:
    """Cameras of the events that have ended."""
    assert result.exit_code == 0, result.stderr
    events = [AnomalyEvent.model_validate_json(line) for line in result.stdout.splitlines()]
    return sorted(event.data.camera_id for event in events if event.data.phase == "end")


def followed(log: Path) -> list[str]:
    """Cameras of the events whose end was printed, each line at once."""
    lines = [line for line in log.read_text().splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]
    events = [AnomalyEvent.model_validate_json(line) for line in lines]
    return [event.data.camera_id for event in events if event.data.phase == "end"]


def test_a_camera_without_end_stops_at_the_signal_with_its_frames_delivered(
    call: Callable[..., Result], start: Callable[..., "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    assert call("topics", "create").exit_code == 0
    camera = start("produce", "produce", "synthetic://walkway?seed=1&seconds=0", "--camera", "gate")
    until = time.monotonic() + DEADLINE_S
    while "is online" not in (tmp_path / "produce.log").read_text():
        assert time.monotonic() < until
        assert camera.poll() is None, (tmp_path / "produce.log").read_text()
    camera.send_signal(signal.SIGINT)
    assert camera.wait(DEADLINE_S) == 0
    log = (tmp_path / "produce.log").read_text()
    assert "0 in flight" in log.splitlines()[-1]


def test_work_without_topics_is_refused_with_what_to_do(
    start: Callable[..., "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    child = start("work", "work")
    assert child.wait(DEADLINE_S) == 2
    assert "engram topics create" in (tmp_path / "work.log").read_text().splitlines()[-1]
