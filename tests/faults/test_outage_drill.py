"""The outage drill: four cameras at 10 frames a second, a broker that hangs, dies and comes back, a producer killed.

The broker is away for ``ENGRAM_TEST_OUTAGE_S`` seconds (60 by default): for two thirds of them it hangs (SIGSTOP), then
it is gone (SIGKILL), and is started again at the end. The producer is killed at a third and started again at once.
Each test prints its figures (``pytest -s``).
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.kafka import LocalKafka
from deploy.local.wait import wait_until
from engram.build.topics import topic_specs
from engram.demo.fleet import Fleet
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from producers.lanes import WINDOW_FRAMES
from schemas.messages import FrameHeader
from schemas.settings.connections import KafkaSection
from schemas.settings.layers import as_environment
from tests.outage import Arrival, arrivals, gaps, in_order, missing, most_within_ms, named_by, num_repeats, on_disk
from tests.services import READY_TIMEOUT_S, running_kafka

OUTAGE_S = float(os.environ.get("ENGRAM_TEST_OUTAGE_S", "60"))
pytestmark = [pytest.mark.faults, pytest.mark.timeout(900 + 4 * OUTAGE_S)]

DEADLINE_S = 300.0 + 2 * OUTAGE_S
CAMERAS = ("gate", "west", "north", "south")
FPS = 10.0
CATCH_UP_FPS = 30.0
PICTURE = {"width": 96, "height": 72, "fps": FPS, "catch_up_fps": CATCH_UP_FPS}
SMALL_CAP = 1024 * 1024
"""The least that a spool or a buffer may have."""
Capture = pytest.CaptureFixture[str]
BURST = 4
"""Frames beyond the rate, over all of it."""
STALL_S = 1.0
"""A frame has its turn, then its stamp, which is put on by another thread: what that thread leaves lying while the
machine is busy, it stamps at once (seen: half a second at a load of ten on two cores)."""


@pytest.fixture
def kafka(kafka_requirements: Path, tmp_path: Path) -> Iterator[LocalKafka]:
    """A broker of this test alone: what it is asked for is all that its topics hold."""
    for server in running_kafka(tmp_path / "kafka", kafka_requirements):
        yield server
        server.resume()


@dataclass(frozen=True, slots=True)
class Drill:
    """A broker, a producer of all cameras, and what reached the topics."""

    kafka: LocalKafka
    bus: KafkaBus
    fleet: Fleet
    spool: Path

    def produce(self, name: str) -> None:
        """Start a producer of all cameras."""
        sources = [f"synthetic://walkway?seed={seed}&seconds=0&fps={FPS:g}" for seed in range(1, len(CAMERAS) + 1)]
        named = [word for camera in CAMERAS for word in ("--camera", camera)]
        self.fleet.start(name, ["produce", *sources, *named])

    def told(self, name: str) -> str:
        """All that a producer has said so far."""
        return self.fleet.log_path(name).read_text("utf-8", errors="replace")

    def wait(self, condition: Callable[[], bool], name: str) -> None:
        """Until it holds, while the producer ``name`` lives."""

        def holds() -> bool:
            self.fleet.require_running([name])
            return condition()

        assert wait_until(holds, DEADLINE_S), self.fleet.told(name)

    def wait_flowing(self, name: str) -> None:
        """Until every camera's frames come."""
        self.wait(lambda: all(len(found) > 2 * FPS for found in self.arrivals().values()), name)

    def arrivals(self) -> dict[str, list[Arrival]]:
        return arrivals(self.bus, CAMERAS)

    def end(self, name: str) -> None:
        """In good order."""
        assert self.fleet.end([name]) == {name: 0}, self.fleet.told(name)

    def broker_back(self) -> int:
        """Start it; the time at which it was, in milliseconds since 1970."""
        self.kafka.start()
        at = int(time.time() * 1000)
        self.kafka.wait_ready(READY_TIMEOUT_S)
        return at


Begin = Callable[..., Drill]


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def begin(kafka: LocalKafka, tmp_path: Path, spool: Path) -> Iterator[Begin]:
    """``begin(spool_bytes=…)``: a drill with these settings of its producers."""
    bus = KafkaBus(KafkaConnection(kafka.bootstrap_servers))
    bus.create_topics(topic_specs(KafkaSection(frames_partitions=len(CAMERAS)), 256 * 1024))
    with ExitStack() as opened:
        opened.callback(bus.close)

        def drill(**settings: object) -> Drill:
            named = {f"producer.{key}": value for key, value in {**PICTURE, **settings}.items()}
            named["kafka.bootstrap_servers"] = kafka.bootstrap_servers
            environment = {as_environment(path): str(value) for path, value in named.items()}
            fleet = opened.enter_context(Fleet(tmp_path / "logs", environment))
            opened.callback(kafka.resume)  # before the producers are told to end
            return Drill(kafka, bus, fleet, spool)

        yield drill


def lasts(share: float) -> None:
    """A part of the outage goes by; nothing is waited for."""
    until_s = time.monotonic() + share * OUTAGE_S
    wait_until(lambda: time.monotonic() >= until_s, share * OUTAGE_S)


@dataclass(frozen=True, slots=True)
class Outage:
    """What was seen of one.

    Attributes:
        back_ms: when the broker was started again.
        on_disk_at_kill: of each camera, when the first producer was killed.
    """

    back_ms: int
    on_disk_at_kill: dict[str, list[tuple[str, int]]]


def go_through(drill: Drill) -> Outage:
    """All of it, until the second producer has caught up and has ended."""
    drill.produce("first")
    drill.wait_flowing("first")
    drill.kafka.pause()
    lasts(1 / 3)
    drill.fleet.kill("first")
    kept = on_disk(drill.spool, CAMERAS)
    drill.produce("second")
    lasts(1 / 3)
    drill.kafka.kill()
    lasts(1 / 3)
    back_ms = drill.broker_back()
    drill.wait(lambda: all(num_late(drill.told("second"), camera) for camera in CAMERAS), "second")
    drill.end("second")
    assert sum(map(len, on_disk(drill.spool, CAMERAS).values())) == 0
    return Outage(back_ms, kept)


def num_late(told: str, camera: str) -> int:
    """Frames that were sent late by the time the camera had caught up; 0 before."""
    found = re.search(rf"camera {camera}: has caught up, (\d+) frames", told)
    return int(found[1]) if found else 0


def dropped(told: str) -> set[str]:
    """Causes of loss in the last account."""
    account = [line for line in told.splitlines() if "captured," in line][-1]
    return set(re.findall(r"[(,] ?([a-z_]+) \d+(?=[,)])", " ".join(re.findall(r"dropped (\([^)]*\))", account))))


def require_order(headers: list[FrameHeader]) -> None:
    """One session after the other, each forwards, its end last."""
    sessions = [one.session_id for one in headers]
    assert sessions == sorted(sessions, key=list(dict.fromkeys(sessions)).index), "one session after the other"
    for session in set(sessions):
        own = [one for one in headers if one.session_id == session]
        indices = [one.frame_index for one in own]
        assert indices == sorted(set(indices))
        assert "end_of_session" not in [one.kind for one in own[:-1]]
        assert [one.captured_at for one in own] == sorted(one.captured_at for one in own)


def require_pace(found: list[Arrival], outage: Outage, camera: str, num: int) -> float:
    """What was sent late, ``num`` frames without the repeats, came under the cap; the rate in the busiest five seconds.

    They are the first that were on disk when the first producer was killed, and those behind them. What came after is
    live again, and as bursty as the machine makes it.
    """
    frames, kept = [one for one in found if one.is_frame], set(outage.on_disk_at_kill[camera])
    last_session = frames[-1].header.session_id
    first = next(n for n, one in enumerate(frames) if one.frame in kept or one.header.session_id == last_session)
    sent_ms = [one.sent_ms for one in frames[first : first + num] if one.sent_ms >= outage.back_ms]
    assert len(sent_ms) <= CATCH_UP_FPS * (max(sent_ms) - min(sent_ms)) / 1000 + BURST
    most = most_within_ms(sent_ms, 5000)
    assert most <= CATCH_UP_FPS * (5 + STALL_S)
    return most / 5


def tell(capsys: Capture, text: str) -> None:
    """A figure, for whoever asks for it."""
    with capsys.disabled():
        print(f"\n  outage of {OUTAGE_S:g} s: {text}", end="")


def test_with_a_spool_nothing_is_lost(begin: Begin, spool: Path, capsys: Capture) -> None:
    drill = begin(spool_dir=spool)
    outage = go_through(drill)
    second = drill.told("second")
    assert second.count("the log takes no frames any more") == 1
    assert second.count("the log takes frames again after") == 1
    assert dropped(second) <= {"stopped"}, "what was on its way from the source when it was told to stop"
    assert gaps(drill.bus) == {}
    for camera, found in drill.arrivals().items():
        once = in_order(found)
        require_order([one.header for one in once])
        assert [one.header.kind for one in once].count("end_of_session") == 2
        assert len({one.header.session_id for one in once}) == 2
        assert missing(found) == set()
        assert set(outage.on_disk_at_kill[camera]) <= {one.frame for one in once if one.is_frame}
        # What had no answer when the broker hung, and when the producer was killed, may come again; nothing else may.
        repeats = num_repeats(found)
        assert repeats <= 2 * WINDOW_FRAMES
        late = num_late(second, camera)
        assert late >= 0.5 * FPS * OUTAGE_S, "else nothing was kept, and this test shows nothing"
        pace = require_pace(once, outage, camera, late - repeats)
        tell(
            capsys, f"{camera}: {len(once)} records, 0 missing, {repeats} repeated, {late} late, <= {pace:.1f} a second"
        )


def test_what_the_caps_took_is_named(begin: Begin, spool: Path, capsys: Capture) -> None:
    drill = begin(spool_dir=spool, spool_bytes=SMALL_CAP)
    outage = go_through(drill)
    second = drill.told("second")
    assert dropped(second) <= {"stopped", "spool_full"}
    told, num_lost = gaps(drill.bus), 0
    assert {gap.cause for named in told.values() for gap in named} == {"spool_full"}
    for camera, found in drill.arrivals().items():
        once = in_order(found)
        require_order([one.header for one in once])
        lost, named = missing(found, outage.on_disk_at_kill[camera]), named_by(told.get(camera, ()))
        num_lost += len(lost)
        assert lost <= named
        # The broker may have had what it could not say that it had.
        assert len(named - lost) <= WINDOW_FRAMES
        # A gap may reach over a few frames that were on their way, and counts those that are lost.
        assert len(lost) <= sum(gap.num_frames for gap in told.get(camera, ())) <= len(named)
        late = num_late(second, camera)
        pace = require_pace(once, outage, camera, late - num_repeats(found))
        text = (
            f"{camera}: {len(lost)} of {len(lost) + len(once)} lost, {len(named)} named in {len(told.get(camera, ()))}"
        )
        tell(capsys, f"{text} gaps, {late} late, <= {pace:.1f} a second")
    assert num_lost > 0, "else the cap took nothing, and this test shows nothing"


def test_without_a_spool_the_buffer_keeps_what_it_can_hold(begin: Begin, capsys: Capture) -> None:
    """The same outage, but that nobody is killed who has frames in memory alone."""
    drill = begin(buffer_bytes=SMALL_CAP)
    drill.produce("only")
    drill.wait_flowing("only")
    drill.kafka.pause()
    hung_ms = int(time.time() * 1000)
    lasts(2 / 3)
    drill.kafka.kill()
    lasts(1 / 3)
    drill.broker_back()
    drill.wait(lambda: "the log takes frames again after" in drill.told("only"), "only")
    drill.end("only")
    told, arrived = gaps(drill.bus), drill.arrivals()
    assert dropped(drill.told("only")) <= {"stopped", "buffer_full"}
    kept_bytes = largest = 0
    for camera, found in arrived.items():
        once = in_order(found)
        require_order([one.header for one in once])
        lost, named = missing(found), named_by(told.get(camera, ()))
        assert lost
        assert lost <= named
        assert sum(gap.num_frames for gap in told.get(camera, ())) == len(lost)
        assert num_repeats(found) <= WINDOW_FRAMES
        first_lost = min(index for _, index in lost)
        held = [one for one in once if one.is_frame and one.header.frame_index < first_lost and one.sent_ms >= hung_ms]
        kept_bytes += sum(one.num_bytes for one in held)
        largest = max(largest, *(one.num_bytes for one in once))
        tell(capsys, f"{camera}: {len(lost)} lost in {len(told[camera])} gaps, {len(held)} kept from the outage")
    tell(capsys, f"{kept_bytes} of {SMALL_CAP} bytes kept\n")
    assert kept_bytes > SMALL_CAP - 2 * len(CAMERAS) * largest
