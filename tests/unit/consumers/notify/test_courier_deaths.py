"""Couriers that die or are told to stop at any step: nothing is missed, and after a stop nothing comes twice."""

import json
import threading
from collections import Counter
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.group import GroupReader, Received
from consumers.notify import courier
from consumers.notify.courier import Courier, DeadLetters, Orders
from consumers.notify.notification import Notification, NotTakenError
from consumers.sieve import EventSieve
from messaging.inprocess.bus import InProcessBus
from messaging.ports import OutRecord, TopicSpec
from schemas.codec import encode_message
from schemas.messages import AnomalyEvent
from tests.unit.consumers.deaths import Fate, Killed, MortalMembership
from tests.unit.consumers.notify.facts import rule
from tests.unit.consumers.samples import event

TOPIC, LETTERS, GROUP = "events", "letters", "guard"
QUIET_S = 20.0
NEVER = 10**9
PHASES = ("start", "end")


@pytest.fixture(autouse=True, scope="module")
def _at_once() -> Any:
    """Nobody else writes, so there is nothing to wait for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(courier, "POLL_S", 0.0)
        yield


class Stop(threading.Event):
    """Does not wait; the town's clock goes on instead."""

    def __init__(self, town: "Town") -> None:
        super().__init__()
        self._town = town

    def wait(self, timeout: float | None = None) -> bool:
        self._town.now_s += timeout or 0.0
        return self.is_set()


class Phone:
    """A target; ``stops`` is set after so many calls."""

    shows_state = False

    def __init__(self, town: "Town") -> None:
        self._town = town

    def tell(self, notification: Notification) -> None:
        town = self._town
        town.fate.step()
        town.num_calls += 1
        if town.num_calls >= town.stops_at:
            town.stop.set()
        if town.num_fails > 0:
            town.num_fails -= 1
            raise NotTakenError("busy")
        town.told.append(notification)
        town.fate.step()

    def close(self) -> None: ...


class Leaving(GroupReader[AnomalyEvent]):
    """Of a process that is told to stop: at the latest when there is nothing left to receive."""

    def __init__(self, town: "Town", fate: Fate) -> None:
        super().__init__(MortalMembership(fate, town.bus.subscription([TOPIC], GROUP)), EventSieve())
        self._town = town

    def receive(self, timeout_s: float, max_records: int) -> list[Received[AnomalyEvent]]:
        found = super().receive(timeout_s, max_records)
        if not found and self._town.stops_at < NEVER:
            self._town.stop.set()
        return found


class Town:
    """A log of events of three cameras, a target, and a courier after another."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.bus = InProcessBus(clock=lambda: self.now_s)
        self.bus.create_topics([TopicSpec(TOPIC, 2), TopicSpec(LETTERS, 1)])
        self.fate = Fate()
        self.told: list[Notification] = []
        self.sent: list[AnomalyEvent] = []
        self.num_calls, self.stops_at, self.num_fails = 0, NEVER, 0
        self._open: dict[str, tuple[int, int]] = {}
        self._first = 0
        self._rule = rule(phases=PHASES, quiet=timedelta(seconds=QUIET_S))
        self.begin()

    def begin(self) -> None:
        """One more process."""
        self.stop = Stop(self)
        self.reader = Leaving(self, self.fate)
        orders = Orders((self._rule,), ZoneInfo("UTC"))
        letters = DeadLetters(self.bus.publisher(), LETTERS, "test")
        clock = lambda: self.now_s  # noqa: E731
        self.courier = Courier("phone", Phone(self), orders, 3600.0, letters, clock=clock, now=clock)

    def publish(self, camera: int) -> None:
        """The next message of a camera: a start, an update, an end, and again."""
        name = f"cam{camera}"
        if name not in self._open:
            self._first += 10
            self._open[name] = self._first, 0
            self._send(event(self._first, self._first, "start", 0, name))
            return
        first, number = self._open[name]
        self._open[name] = first, number + 1
        self._send(event(first, first + number + 1, "end" if number else "update", number + 1, name))
        if number:
            del self._open[name]

    def turn(self, steps: int | None = None) -> None:
        """One turn; with ``steps`` the process dies after so many, and another follows."""
        self.fate.left = steps
        try:
            self.courier.turn(self.reader, self.stop)
        except Killed:
            self.reader.close()
            self.begin()
        self.fate.left = None

    def restart(self, calls: int) -> None:
        """SIGTERM comes with the call after so many more, or when nothing is left to tell; another process follows."""
        self.stops_at = self.num_calls + calls
        if not calls:
            self.stop.set()
        self.courier.run(self.reader, self.stop)
        self.stops_at = NEVER
        self.begin()

    def finish(self) -> None:
        for _ in range(4):
            self.turn()
            self.now_s += 2 * QUIET_S

    def missed(self) -> list[str]:
        """Of what should have been told, what was not; and where the group is not at the end."""
        bodies = [json.loads(one.body) for one in self.told]
        ids = {body["id"] for body in bodies}
        events = {name for body in bodies for name in body["data"].get("event_ids", ())}
        wanted = [one for one in self.sent if one.data.phase in PHASES]
        left = [one.id for one in wanted if one.id not in ids and one.data.event_id not in events]
        self.restart(0)
        return left + [f"lag {self.reader.lag()}"] * bool(self.reader.lag())

    def twice(self) -> list[str]:
        return [name for name, number in Counter(one.id for one in self.told).items() if number > 1]

    def _send(self, message: AnomalyEvent) -> None:
        self.sent.append(message)
        self.bus.publisher().publish(OutRecord(TOPIC, message.partitionkey, encode_message(message)))


PUBLISH = st.tuples(st.just("publish"), st.lists(st.integers(0, 2), min_size=4, max_size=12))
WAIT = st.tuples(st.just("wait"), st.sampled_from([0.5, 2 * QUIET_S]))
TURN = st.tuples(st.just("turn"), st.none())
DEATH = st.tuples(st.just("turn"), st.integers(0, 9))
FAIL = st.tuples(st.just("fail"), st.integers(1, 4))
RESTART = st.tuples(st.just("restart"), st.integers(0, 4))


def lived(days: list[tuple[str, Any]]) -> Town:
    town = Town()
    for what, number in days:
        if what == "publish":
            for camera in number:
                town.publish(camera)
        elif what == "wait":
            town.now_s += number
        elif what == "fail":
            town.num_fails = number
        elif what == "turn":
            town.turn(number)
        else:
            town.restart(number)
    town.num_fails = 0
    town.finish()
    return town


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(PUBLISH, PUBLISH, WAIT, TURN, DEATH, DEATH, FAIL, RESTART), max_size=20))
def test_nothing_is_missed_over_any_deaths(days: list[tuple[str, Any]]) -> None:
    assert lived(days).missed() == []


@settings(max_examples=70, deadline=None)
@given(st.lists(st.one_of(PUBLISH, PUBLISH, WAIT, TURN, RESTART), max_size=20))
def test_nothing_comes_twice_over_any_restarts(days: list[tuple[str, Any]]) -> None:
    town = lived(days)
    assert town.twice() == []
    assert town.missed() == []


def test_a_stop_in_the_middle_of_a_batch_tells_what_was_withheld_first() -> None:
    """What is withheld holds the position back: what was told behind it would come again with it."""
    town = Town()
    for camera in (0, 0, 0, 0, 1, 2):  # the second event of camera 0 is withheld
        town.publish(camera)
    town.restart(3)
    assert [one.kind for one in town.told] == ["event", "event", "event", "summary"]
    town.finish()
    assert town.twice() == []
    assert town.missed() == []


def test_a_stop_while_summaries_are_told_loses_none_that_would_come_next() -> None:
    town = Town()
    for camera in (0, 0, 0, 0, 1, 1, 1, 1, 2):
        town.publish(camera)
    town.turn()
    town.now_s += 2 * QUIET_S
    town.num_fails, before = 1, len(town.told)
    town.restart(1)
    assert [one.kind for one in town.told[before:]] == ["summary", "summary"]
    town.finish()
    assert town.twice() == []
    assert town.missed() == []
