"""Cameras that come and go while others run: by the settings and by their hours."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from engram.build.cameras import CameraPlan
from engram.run.roster import Roster
from producers.feed import CameraFeed
from producers.producer import Producer, ProducerOptions
from schemas.messages import FrameHeader
from schemas.settings.detection import ProducerSection
from tests.unit.producers.memory_publisher import MemoryPublisher

ENDLESS = "synthetic://walkway?seed=1&seconds=0"
SHORT = "synthetic://walkway?seed=2&seconds=1"
NOON = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)
SMALL = ProducerSection(pace="backfill", width=32, height=24, fps=10, timezone="UTC")


def plan(name: str, source: str = SHORT, **more: object) -> CameraPlan:
    return CameraPlan(name, source, SMALL.model_copy(update=more))


class WatchedProducer(Producer):
    """Sees to it that its roster is never complete while a camera is about to begin or to end for a while.

    Else the producer would take the end of the others for the end of all.
    """

    def __init__(self, roster: Roster, log: MemoryPublisher, now: Callable[[], datetime]) -> None:
        super().__init__(roster.first_feeds(), log, ProducerOptions("t"), now, is_complete=lambda: roster.is_complete)
        self.roster = roster
        self.seen: list[bool] = []

    def add(self, feed: CameraFeed) -> None:
        self.seen.append(self.roster.is_complete)
        super().add(feed)

    def remove(self, camera_id: str) -> None:
        self.seen.append(self.roster.is_complete)
        super().remove(camera_id)


class Yard:
    """A roster with its producer on a log in memory, whose clock is ours."""

    def __init__(self, *plans: CameraPlan) -> None:
        self.now = NOON
        self.log = MemoryPublisher()
        self.roster = Roster(plans, lambda: self.now)
        self.producer = WatchedProducer(self.roster, self.log, lambda: self.now)
        self.end = threading.Thread(target=self.producer.finish, daemon=True)

    def start(self) -> None:
        self.producer.start()
        self.end.start()

    def headers(self, name: str) -> list[FrameHeader]:
        return [header for header in list(self.log.headers) if header.camera_id == name]

    def until(self, condition: Callable[[], bool]) -> None:
        """Keep the roster until something holds."""
        pause = threading.Event()
        for _ in range(3000):
            self.roster.keep(self.producer)
            if condition():
                return
            pause.wait(0.01)
        raise AssertionError("it must hold by now")

    def has_ended(self, name: str) -> bool:
        return any(header.kind == "end_of_session" for header in self.headers(name))


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> None:
    """Synthetic scenes count as cameras, so that they have hours."""
    monkeypatch.setattr("engram.build.cameras.RECORDED", ())


def test_the_end_of_all_recordings_is_the_end() -> None:
    yard = Yard(plan("a"), plan("b"))
    yard.start()
    yard.end.join(60)
    assert not yard.end.is_alive()
    assert len(yard.headers("a")) == len(yard.headers("b")) == 11


def test_a_camera_that_comes_is_sent_and_one_that_goes_ends_its_session() -> None:
    yard = Yard(plan("a", ENDLESS))
    yard.start()
    yard.until(lambda: len(yard.headers("a")) > 2)
    yard.roster.change([plan("b", ENDLESS)])
    yard.until(lambda: yard.has_ended("a") and len(yard.headers("b")) > 2)
    assert yard.end.is_alive()
    yard.roster.change([plan("c")])
    yard.until(lambda: yard.has_ended("b") and yard.has_ended("c"))
    assert yard.producer.seen == [False] * 4
    yard.end.join(60)
    assert not yard.end.is_alive(), "all that is in the settings has come to its end"


@pytest.mark.usefixtures("live")
def test_outside_its_hours_a_camera_is_not_opened_and_afterwards_it_has_a_session_of_its_own() -> None:
    hours = ("08:00-18:00",)
    yard = Yard(plan("day", ENDLESS, hours=hours, session="fixed"), plan("night", ENDLESS, hours=("18:00-08:00",)))
    yard.start()
    yard.until(lambda: len(yard.headers("day")) > 2)
    assert yard.headers("night") == []
    yard.now = NOON + timedelta(hours=8)
    yard.until(lambda: yard.has_ended("day") and len(yard.headers("night")) > 2)
    first = {header.session_id for header in yard.headers("day")}
    assert yard.producer.seen == [False] * 2
    yard.now = NOON + timedelta(hours=22)
    yard.until(lambda: len({header.session_id for header in yard.headers("day")}) == 2)
    assert first == {"fixed"}
    yard.producer.request_stop()
    yard.end.join(60)
    assert yard.has_ended("night")
    assert yard.producer.num_sessions == 3


@pytest.mark.usefixtures("live")
def test_a_camera_that_is_paused_ends_its_session_and_begins_anew_when_the_pause_is_over() -> None:
    yard = Yard(plan("a", ENDLESS), plan("b", ENDLESS))
    yard.start()
    yard.until(lambda: len(yard.headers("a")) > 2)
    yard.roster.change([plan("a", ENDLESS, paused_until=NOON + timedelta(hours=2)), plan("b", ENDLESS)])
    yard.until(lambda: yard.has_ended("a"))
    assert not yard.has_ended("b")
    yard.now = NOON + timedelta(hours=2)
    yard.until(lambda: len({header.session_id for header in yard.headers("a")}) == 2)
    yard.producer.request_stop()
    yard.end.join(60)


@pytest.mark.usefixtures("live")
def test_a_camera_whose_hours_are_still_to_come_is_waited_for_until_a_stop() -> None:
    yard = Yard(plan("night", ENDLESS, hours=("22:00-23:00",)))
    assert not yard.roster.is_complete
    yard.start()
    yard.roster.keep(yard.producer)
    assert yard.end.is_alive()
    yard.producer.request_stop()
    yard.end.join(60)
    assert not yard.end.is_alive()
    assert yard.log.headers == []


def test_a_mask_changes_while_frames_pass() -> None:
    roster = Roster([plan("a", ENDLESS)])
    (feed,) = roster.first_feeds()
    assert feed.encoding.mask is not None
    image = np.full((40, 40, 3), 200, np.uint8)
    assert feed.encoding.mask.hide(image).min() == 200
    roster.change([plan("a", ENDLESS, mask=(((0, 0), (0.5, 0), (0.5, 1), (0, 1)),))])
    hidden = feed.encoding.mask.hide(image)
    assert (hidden[:, :18].max(), hidden[:, 22:].min()) == (0, 200)
    roster.change([plan("a", ENDLESS)])
    assert feed.encoding.mask.hide(image).min() == 200


def test_one_that_cannot_begin_is_told_once_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    yard = Yard(plan("a", ENDLESS))
    yard.start()
    yard.roster.change([plan("a", ENDLESS), plan("b", str(tmp_path / "nowhere.mp4"))])
    for _ in range(3):
        yard.roster.keep(yard.producer)
    told = [record.getMessage() for record in caplog.records if "cannot begin" in record.getMessage()]
    assert len(told) == 1
    assert "camera b cannot begin" in told[0]
    assert yard.producer.is_running("a")
    yard.producer.request_stop()
    yard.end.join(60)
