"""A fleet over a real Kafka and a real Redis learns, is rolled back, scores as before, and learns on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engram.build.adapters import open_bus
from engram.cli.app import app
from schemas.codec import decode_message
from schemas.messages import FrameScore
from schemas.settings.connections import KafkaSection
from schemas.topics import TopicNames
from tests.small_bundle import jpeg

ROOT = Path(__file__).parents[3]
DEADLINE_S = 120
NUM_FRAMES = 40
WITHOUT_LIMITS = {
    "ENGRAM_COORDINATOR__ROUND_S": "0",
    "ENGRAM_COORDINATOR__MAX_ANCHOR_DISTANCE": "2",
    "ENGRAM_COORDINATOR__CHANGE_BUDGET_PER_HOUR": "1000",
    "ENGRAM_COORDINATOR__CHANGE_BUDGET_PER_ROUND": "2",
}


class Fleet:
    """Processes of one test, and what they write."""

    def __init__(self, settings: dict[str, str], folder: Path) -> None:
        self.environment = settings | WITHOUT_LIMITS
        self.folder = folder
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.kafka = KafkaSection(bootstrap_servers=settings["ENGRAM_KAFKA__BOOTSTRAP_SERVERS"])
        self.scores_topic = TopicNames.with_prefix(settings["ENGRAM_KAFKA__TOPIC_PREFIX"]).frame_scores

    def call(self, *words: object) -> Any:
        """A command that prints JSON."""
        done = CliRunner(env=self.environment).invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout) if "json" in words else None

    def start(self, name: str, *words: object) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            command = [sys.executable, "-m", "engram", *map(str, words)]
            self.children[name] = subprocess.Popen(
                command, env={**os.environ, **self.environment}, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
            )

    def scored(self, camera: str) -> list[FrameScore]:
        """The same frames, sent as ``camera``; their scores."""
        self.start(camera, "produce", self.folder / "footage", "--camera", camera, "--pace", "backfill")
        assert self.children[camera].wait(DEADLINE_S) == 0, (self.folder / f"{camera}.log").read_text()

        def found() -> list[FrameScore]:
            with open_bus(self.kafka) as bus:
                reader = bus.reader([self.scores_topic], from_beginning=True)
                records = reader.read_to_end(DEADLINE_S)
                reader.close()
            scores = [decode_message(FrameScore, record.value) for record in records]
            return [score for score in scores if score.camera_id == camera]

        self.until(lambda: len(found()) == NUM_FRAMES)
        return sorted((score for score in found() if score.status == "scored"), key=lambda score: score.frame_index)

    def until_read(self, version: int, camera: str) -> None:
        """Wait until the worker has looked at the store again."""
        self.until(lambda: self.scored(f"{camera}-{len(self.children)}")[-1].bank_version == version)

    def until(self, holds: Callable[[], bool]) -> None:
        until = time.monotonic() + DEADLINE_S
        while not holds():
            assert time.monotonic() < until, self.told()
            for name in {"work", "coordinate"} & set(self.children):
                assert self.children[name].poll() is None, self.told()

    def told(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in self.folder.glob("*.log"))

    def bank(self) -> dict[str, Any]:
        found: dict[str, Any] = self.call("bank", "show", "shared", "-o", "json")
        return found


@pytest.fixture
def fleet(settings: dict[str, str], tmp_path: Path) -> Iterator[Fleet]:
    (tmp_path / "footage").mkdir()
    for index in range(NUM_FRAMES):
        (tmp_path / "footage" / f"{index:03}.jpg").write_bytes(jpeg("calm", index))
    made = Fleet(settings, tmp_path)
    yield made
    for child in made.children.values():
        if child.poll() is None:
            child.kill()
        child.wait(30)


def numbers(scores: list[FrameScore]) -> list[float]:
    return [value for score in scores for value in (score.psnr_db or 0.0, score.feature_distance or 0.0)]


@pytest.mark.faults
def test_a_fleet_scores_as_before_after_a_rollback_and_learns_on(fleet: Fleet) -> None:
    fleet.call("topics", "create")
    fleet.call("bank", "create", "shared")
    fleet.start("work", "work", "--worker-id", "w1")
    first = fleet.scored("first")
    trained = fleet.bank()["digest"]
    assert {score.bank_digest for score in first} == {trained}

    fleet.start("coordinate", "coordinate")
    fleet.until(lambda: fleet.bank()["version"] > 0)
    fleet.call("bank", "freeze", "shared", "--reason", "look at this", "-o", "json")
    learned = fleet.bank()
    fleet.until_read(learned["version"], "spoiling")
    spoiled = fleet.scored("spoiled")
    assert {score.bank_digest for score in spoiled} == {learned["digest"]}
    assert numbers(spoiled) != pytest.approx(numbers(first), rel=1e-5, abs=1e-5)

    back = fleet.call("bank", "rollback", "shared", "--to", 0, "-o", "json")
    assert (back["version"], back["digest"]) == (learned["version"] + 1, trained)
    fleet.until_read(back["version"], "between")
    again = fleet.scored("again")
    assert {(score.bank_version, score.bank_digest) for score in again} == {(back["version"], trained)}
    assert numbers(again) == pytest.approx(numbers(first), rel=1e-5, abs=1e-5)

    fleet.call("bank", "thaw", "shared", "--reason", "gone back", "-o", "json")
    # Until the worker has looked at the store again it takes the bank for frozen, and proposes nothing.
    fleet.until(lambda: fleet.scored(f"taught-{len(fleet.children)}")[-1].memory_state == "live")
    fleet.until(lambda: fleet.bank()["version"] > back["version"])
    entries = fleet.call("bank", "log", "shared", "-n", 1000, "-o", "json")
    actions = [entry["action"] for entry in entries if entry["action"] != "update"]
    assert actions == ["create", "freeze", "rollback", "thaw"]
    assert entries[-1]["epoch"] == back["epoch"]
    (found,) = fleet.call("bank", "verify", "shared", "-o", "json")
    assert found["faults"] == []
    for name in ("work", "coordinate"):
        fleet.children[name].send_signal(signal.SIGTERM)
        assert fleet.children[name].wait(DEADLINE_S) == 0, fleet.told()
