"""Two producers of one camera: who stands back, and what is said."""

import os
import subprocess
import sys
from datetime import timedelta

import pytest

from producers.counters import FrameCounts
from producers.feed import CameraFeed, FeedRun
from producers.gaps import GapBook
from producers.outlet import Outlet
from producers.reports import CameraReport, ReportOptions, Reports
from producers.rivals import OwnSession, Rivals, is_gone, process_name
from schemas.cameras import CameraStatus, FrameTally
from schemas.codec import decode_message
from schemas.errors import FatalError, TransientError
from tests.unit.producers.memory_publisher import MemoryPublisher
from tests.unit.producers.scripted_source import START, ScriptedSource, plain
from tests.unit.producers.spools import header

TALLY = FrameTally(
    captured=0, sent=0, late=0, in_flight=0, spooled=0, recovered=0, sampled_out=0, dropped=(), sent_bytes=0
)
OWN = process_name("here")


def status_of(session: str, began_s: float, state: str = "online", **fields: object) -> CameraStatus:
    told = {
        "camera_id": "gate",
        "session_id": session,
        "state": state,
        "since": START,
        "why": "",
        "view": "clear",
        "view_since": START,
        "fps": 10.0,
        "wanted_fps": 10.0,
        "frames": TALLY,
        "started_at": START + timedelta(seconds=began_s),
        "rival": None,
        "producer": "there/77",
        "software": "0",
        "reported_at": START,
        "heartbeat_s": 10.0,
    }
    return CameraStatus.model_validate(told | fields)


class Scene:
    """Ours began 100 s after START."""

    def __init__(self) -> None:
        self.now_s = 0.0
        own = {"gate": OwnSession("ours", START + timedelta(seconds=100))}
        self.rivals = Rivals(own, OWN, lambda: START + timedelta(seconds=self.now_s), lambda: self.now_s)


def test_the_newer_one_stands_back_and_both_sessions_are_named(caplog) -> None:
    scene = Scene()
    older = status_of("older", 50)
    for _ in range(5):
        scene.rivals.see(older)
    assert scene.rivals.in_front("gate") == older
    (line,) = caplog.messages
    assert f"session ours (ours, {OWN}) and session older (there/77), which began first" in line
    assert "--camera" in line


def test_the_older_one_goes_on_and_says_so(caplog) -> None:
    scene = Scene()
    scene.rivals.see(status_of("newer", 150))
    assert scene.rivals.in_front("gate") is None
    scene.rivals.see(status_of("third", 160, "waiting"))
    assert [line.rpartition(", which ")[2].split(";")[0] for line in caplog.messages] == [
        "is to wait",
        "waits until this one is gone",
    ]


def test_it_goes_on_when_the_other_has_ended_or_is_silent(caplog) -> None:
    scene = Scene()
    scene.rivals.see(status_of("older", 50))
    scene.rivals.see(status_of("older", 50, "offline"))
    assert scene.rivals.in_front("gate") is None
    assert "the other session, older (there/77), has ended" in caplog.text
    scene.rivals.see(status_of("again", 60))
    scene.now_s = 25.1
    assert scene.rivals.in_front("gate") is None
    assert "was silent for too long" in caplog.text


def test_an_old_word_and_a_process_of_this_machine_that_has_ended_are_nobody() -> None:
    scene = Scene()
    scene.now_s = 26.0
    scene.rivals.see(status_of("older", 50))
    scene.rivals.see(status_of("dead", 50, producer=OWN, reported_at=START + timedelta(seconds=25)))
    scene.rivals.see(status_of("ours", 100, reported_at=START + timedelta(seconds=26)))
    scene.rivals.see(status_of("other", 1, camera_id="yard", reported_at=START + timedelta(seconds=26)))
    assert scene.rivals.in_front("gate") is None


def test_who_is_gone() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_gone(f"here/{ended.pid}", OWN)
    assert is_gone(OWN, OWN)
    assert not is_gone(f"here/{os.getppid()}", OWN)
    assert not is_gone(f"there/{ended.pid}", OWN)
    assert not is_gone("nonsense", OWN)


def test_frames_of_one_that_stands_back_are_counted_and_do_not_blind_the_other() -> None:
    publisher = MemoryPublisher()
    outlet = Outlet(publisher, "frames", lambda: START)
    outlet.in_front = lambda _: status_of("older", 50)
    run = FeedRun(CameraFeed("gate", ScriptedSource([plain()] * 5, is_live=True)), outlet)
    run.run()
    assert publisher.records == []
    assert run.counts().dropped == {"twin": 5}
    assert not run.sent_nothing()
    assert outlet.gaps.take(is_last=True) == [], "another sends them"
    assert (run.report().state, run.report().rival) == ("waiting", "older")
    assert run.report().why == "session older of there/77 sends this camera"


def report_of(**fields: object) -> CameraReport:
    told = {
        "camera_id": "gate",
        "session_id": "s1",
        "started_at": START,
        "state": "online",
        "why": "frames come in",
        "view": "clear",
        "view_since": START,
        "rival": None,
        "num_taken": 0,
        "wanted_fps": 10.0,
        "counts": FrameCounts(7, 4, 1, 0, {"too_large": 2}, 400),
    }
    return CameraReport(**(told | fields))  # type: ignore[arg-type]


class Office:
    """Reports, their clock, and what they published."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.publisher = MemoryPublisher()
        self.outlet = Outlet(self.publisher, "frames", lambda: START + timedelta(seconds=self.now_s))
        self.gaps = GapBook(monotonic=lambda: self.now_s)
        options = ReportOptions("camera-status", "camera-events", "here/1", heartbeat_s=10.0)
        self.reports = Reports(self.outlet, self.gaps, options, lambda: self.now_s)

    @property
    def statuses(self) -> list[CameraStatus]:
        told = [record.value for record in self.publisher.records if record.topic == "camera-status"]
        return [decode_message(CameraStatus, value) for value in told]

    def run(self, seconds: int, **fields: object) -> None:
        for _ in range(seconds):
            self.reports.tick([report_of(num_taken=int(self.now_s * 5), **fields)])
            self.now_s += 1


def test_a_status_is_told_at_each_change_and_at_a_slow_heartbeat() -> None:
    office = Office()
    office.run(25)
    assert len(office.statuses) == 3
    office.run(3, state="offline", why="the stream broke off")
    office.run(3)
    told = [(one.state, (one.since - START).total_seconds()) for one in office.statuses[2:]]
    assert told == [("online", 100.0), ("offline", 125.0), ("online", 128.0)]
    assert office.statuses[1].fps == 5.0
    assert office.statuses[-1].frames.sent == 4
    assert [(loss.cause, loss.num_frames) for loss in office.statuses[-1].frames.dropped] == [("too_large", 2)]
    assert {record.key for record in office.publisher.records} == {"gate"}


def test_what_cannot_be_told_now_is_told_later_and_once() -> None:
    office = Office()
    office.run(1)
    office.gaps.add(header(1), "too_large")
    office.now_s += 5
    office.publisher.away = TransientError("away")
    office.run(20)
    office.publisher.away = None
    office.run(3)
    events = [record for record in office.publisher.records if record.topic == "camera-events"]
    assert len(events) == 1
    assert b'"num_frames":1' in (events[0].value or b"")
    assert office.statuses[-1].reported_at > office.statuses[0].reported_at


def test_a_topic_that_is_missing_is_told_once_and_costs_no_frame(caplog) -> None:
    office = Office()
    office.publisher.away = FatalError("topic 'camera-status' must exist")
    office.run(100)
    assert caplog.text.count("how the cameras fare cannot be told, they are sent all the same: topic 'camera-st") == 1
    assert "`engram topics create`" in caplog.text


@pytest.mark.parametrize("state", ["online", "stale", "offline"])
def test_a_run_reports_the_state_of_its_source(state: str) -> None:
    source = ScriptedSource([plain()])
    source.status = type(source.status)(state, "because")  # type: ignore[arg-type]
    run = FeedRun(CameraFeed("gate", source), Outlet(MemoryPublisher(), "frames", lambda: START))
    assert (run.report().state, run.report().why, run.report().rival) == (state, "because", None)
