"""Events under fire: eight cameras, workers killed five times, the broker restarted, a consumer killed in the middle.

``ENGRAM_TEST_CHAOS_S`` is how many seconds of video each camera has (20 by default). The bank is frozen, so that a calm
run in one thread over the same frames has the very same one.
"""

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from deploy.local.kafka import LocalKafka
from deploy.local.wait import wait_until
from engram.build.shipped import WALKWAY, shipped_bundle
from engram.demo.fleet import Fleet
from engram.demo.progress import Progress
from engram.demo.stack_run import FleetRun, StackDemoRequest, run_fleet
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from schemas.messages import AnomalyEvent
from schemas.settings.layers import as_environment
from tests.faults.conftest import addresses

SECONDS = float(os.environ.get("ENGRAM_TEST_CHAOS_S", "20"))
pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800 + 60 * SECONDS)]

DEADLINE_S = 300.0 + 20 * SECONDS
FPS = 5.0
"""As the bundle wants it."""
CAMERAS = {f"cam{number}": 300 + number for number in range(1, 9)}
NUM_FRAMES = len(CAMERAS) * round(SECONDS * FPS)
VICTIMS = ("worker-1", "worker-2", "worker-1", "worker-2", "worker-1")
GROUP = "engram-consumer-chaos"

Key = tuple[str, str, str]
"""Source, id and sequence."""


def key_of(event: AnomalyEvent) -> Key:
    return event.source, event.id, event.sequence


def printed(logs: Iterable[Path]) -> list[Key]:
    """What a consumer has printed, in all its lives; a line that it was killed in is none."""
    found = []
    for log in logs:
        for line in log.read_text("utf-8", errors="replace").splitlines():
            if line.startswith("{") and line.endswith("}"):
                told = json.loads(line)
                found.append((told["source"], told["id"], told["sequence"]))
    return found


class Chaos:
    """What happens to a fleet whose first half is scored."""

    def __init__(self, kafka: LocalKafka, prefix: str) -> None:
        self._kafka = kafka
        self._prefix = prefix
        self._consumers: list[Path] = []

    @property
    def consumers(self) -> list[Path]:
        """The logs of all lives of the consumer."""
        return self._consumers

    def consume(self, fleet: Fleet) -> str:
        """Start the consumer, again; its name."""
        name = f"consumer-{len(self._consumers) + 1}"
        fleet.start(name, ["events", "--group", GROUP, "--from-beginning", "-o", "json"])
        self._consumers.append(fleet.log_path(name))
        return name

    def __call__(self, fleet: Fleet) -> None:
        bus = KafkaBus(KafkaConnection(self._kafka.bootstrap_servers))
        progress = Progress(bus, f"{self._prefix}frame-scores", DEADLINE_S, threading.Event())
        consumer = self.consume(fleet)
        for number, victim in enumerate(VICTIMS):
            share = 0.5 + 0.4 * number / len(VICTIMS)
            progress.wait_scored(round(share * NUM_FRAMES), lambda: fleet.require_running(["worker-1", "worker-2"]))
            fleet.kill(victim)
            fleet.start(victim, ["work", "--worker-id", victim])
            if number == 1:
                self._kafka.restart(DEADLINE_S)
            if number == 2:
                assert wait_until(lambda: printed(self._consumers) != [], DEADLINE_S), fleet.told(consumer)
                fleet.kill(consumer)
                self.consume(fleet)
        bus.close()


@pytest.fixture
def chaos(own_kafka: LocalKafka, fresh_name: Callable[[str], str]) -> tuple[Chaos, dict[str, object]]:
    """What happens, and the settings under which it does."""
    prefix = f"{fresh_name('chaos')}."
    settings: dict[str, object] = {
        "kafka.bootstrap_servers": own_kafka.bootstrap_servers,
        "kafka.topic_prefix": prefix,
        "kafka.group": f"{prefix}workers",
        "memory.updates": False,
        "producer.fps": FPS,
    }
    return Chaos(own_kafka, prefix), settings


def test_every_start_has_one_end_and_a_group_sees_each_message(
    chaos: tuple[Chaos, dict[str, object]],
    own_kafka: LocalKafka,
    redis_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    happens, settings = chaos
    request = StackDemoRequest(
        shipped_bundle(WALKWAY), tmp_path / "fleet", SECONDS, DEADLINE_S, print, None, settings, happens, CAMERAS
    )
    found = run_fleet(addresses(own_kafka.bootstrap_servers, redis_url), request, threading.Event())
    assert all(check.ok for check in found.checks()), found.checks()  # one end each, ids and scores of a calm run
    assert {score.bank_version for score in found.scores} == {0}
    assert {camera for camera, _, _ in frames_of(found)} == set(CAMERAS)
    phases = Counter(event.data.phase for event in found.events)
    assert phases["start"] == phases["end"] == len({event.data.event_id for event in found.events}) > 0

    wanted = {key_of(event) for event in found.events}
    environment = {as_environment(path): str(value) for path, value in settings.items()}
    with Fleet(tmp_path / "late", environment) as late:  # the group goes on where it was
        name = happens.consume(late)
        assert wait_until(lambda: set(printed(happens.consumers)) >= wanted, DEADLINE_S), late.told(name)
        assert late.end([name])[name] in (0, -signal.SIGTERM), "or ended before it began, where nothing was left for it"
    seen = printed(happens.consumers)
    assert set(seen) == wanted
    with capsys.disabled():
        text = f"{len(found.frames)} frames scored once, {phases['start']} events, {len(wanted)} messages,"
        print(f"\n  chaos over {SECONDS:g} s of {len(CAMERAS)} cameras: {text} {len(seen) - len(wanted)} printed again")


def frames_of(found: FleetRun) -> set[tuple[str, str, int]]:
    return {(one.camera_id, one.session_id, one.frame_index) for one in found.frames}
