"""One target's courier: its own place in the topic, its own patience. A target that hangs holds up nobody else.

The log is the queue: a message is settled when the target has it, or, after all patience, a dead letter has. While a
target takes nothing, its group's position stands, and what it misses waits in the topic, not in memory.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_when_event_set
from tenacity.stop import stop_base
from tenacity.wait import wait_base, wait_exponential_jitter

from consumers.group import GroupReader, Place, Received
from consumers.notify.facts import facts_of
from consumers.notify.matching import first_fitting
from consumers.notify.notification import (
    Notification,
    NotTakenError,
    RefusedError,
    Target,
    of_event,
    of_withheld,
)
from consumers.notify.quiet import QuietTimes, Withheld
from consumers.notify.rules import Rule
from messaging.dead_letters import dead_letter
from messaging.ports import Publisher, Record
from schemas.backoff import Backoff
from schemas.errors import BadMessageError, TransientError
from schemas.messages import AnomalyEvent

log = logging.getLogger(__name__)

POLL_S = 0.5
BATCH = 50
FIRST_WAIT_S, LAST_WAIT_S = 1.0, 60.0
FLUSH_S = 10.0
BACKOFF = wait_exponential_jitter(initial=FIRST_WAIT_S, max=LAST_WAIT_S, jitter=1.0)


class StoppedError(Exception):
    """Told to stop before the message was dealt with: it stays open."""


@dataclass(frozen=True, slots=True)
class Orders:
    """The rules that tell one target, in their order, and the time zone of their hours."""

    rules: tuple[Rule, ...]
    zone: ZoneInfo


@dataclass(slots=True)
class CourierCounts:
    """What became of messages: told as they are, withheld for a summary, passed over by the rules, given up as letters.

    Attributes:
        summaries: told of those withheld.
        failed: tries that a target did not take.
    """

    told: int = 0
    withheld: int = 0
    summaries: int = 0
    passed: int = 0
    given_up: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Where goes what a target never took."""

    publisher: Publisher
    topic: str
    author: str

    def put(self, record: Record, error: BadMessageError) -> bool:
        """Write a letter; whether it is durable."""
        answers: list[Exception | None] = []
        try:
            self.publisher.publish(dead_letter(record, error, self.topic, self.author), answers.append)
            self.publisher.flush(FLUSH_S)
        except TransientError as why:
            log.warning("a dead letter waits for the broker: %s", why)
        return answers == [None]


class Courier:
    """Tells one target what its rules say. ``run`` is for one thread; ``orders`` may be set from another.

    Args:
        name: of the target.
        target: who is told; closed by its owner.
        orders: rules for it.
        give_up_after_s: from the time of a record in the log; one attempt is made at least.
        letters: for what the target does not take.
        backoff: waits between tries, where the target asks for none.
        clock: seconds that only grow.
        now: seconds since 1970.

    Attributes:
        turned_at_s: when it came round last, or will be done with waiting, on its clock.
    """

    def __init__(
        self,
        name: str,
        target: Target,
        orders: Orders,
        give_up_after_s: float,
        letters: DeadLetters,
        backoff: wait_base = BACKOFF,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.orders = orders
        self.counts = CourierCounts()
        self.turned_at_s = clock()
        self._failing_since_s: float | None = None
        self._name = name
        self._target = target
        self._give_up_after_s = give_up_after_s
        self._letters = letters
        self._backoff = backoff
        self._clock = clock
        self._now = now
        self._quiet = QuietTimes()
        self._due: deque[tuple[str, Withheld]] = deque()

    def run(self, reader: GroupReader[AnomalyEvent], stop: threading.Event) -> None:
        """Tell until ``stop`` is set; then what a quiet time withholds is told, once, and the group is left.

        What is withheld holds the group's position back, so all that was told behind it would come again with it.

        Raises:
            FatalError: the membership is beyond repair.
        """
        try:
            try:
                while not stop.is_set():
                    self.turn(reader, stop)
            except StoppedError:
                log.debug("%s: stopped while its target took nothing", self._name)
            self._part(reader)
            if reader.num_open:
                log.info("%s: stopped with %d messages not told; they come again", self._name, reader.num_open)
        finally:
            reader.commit()
            reader.close()

    def failing_s(self) -> float:
        """For how long the target has not taken what is tried now; 0 = nothing is tried again. From any thread."""
        since_s = self._failing_since_s
        return 0.0 if since_s is None else self._clock() - since_s

    def turn(self, reader: GroupReader[AnomalyEvent], stop: threading.Event) -> None:
        """One step of ``run``: what quiet times have gathered, then what has come."""
        self.turned_at_s = self._clock()
        self._due.extend(self._quiet.due(self._clock()))
        while self._due:
            rule, withheld = self._due[0]  # one that is not dealt with is there for the end
            self.counts.summaries += self._deliver(of_withheld(rule, withheld), withheld.places, reader, stop)
            self._due.popleft()
        for one in reader.receive(POLL_S, BATCH):
            if stop.is_set():
                break  # it is open, and so are those behind it
            self._handle(one, reader, stop)
        reader.commit()

    def _handle(self, one: Received[AnomalyEvent], reader: GroupReader[AnomalyEvent], stop: threading.Event) -> None:
        facts = facts_of(one.message, one.record)
        orders = self.orders
        rule = first_fitting(orders.rules, facts, orders.zone)
        decision = "pass" if rule is None else self._quiet.decide(rule, facts, one.place, self._clock())
        if decision == "tell":
            self.counts.told += self._deliver(of_event(facts, "event"), [one.place], reader, stop, one.record)
            return
        if rule is not None and self._target.shows_state:
            # A withheld message stays open for its summary, but a state must not wait for it.
            places = [one.place] if decision == "pass" else []
            self._deliver(of_event(facts, "state"), places, reader, stop, one.record)
        if decision == "pass":
            self.counts.passed += 1
            reader.settle([one.place])
        else:
            self.counts.withheld += 1

    def _deliver(
        self,
        notification: Notification,
        places: Sequence[Place],
        reader: GroupReader[AnomalyEvent],
        stop: threading.Event,
        record: Record | None = None,
    ) -> bool:
        """Tell, with patience; what is not taken in the end becomes a dead letter. Then ``places`` are settled.

        Returns:
            whether it was taken.
        """
        taken_at_s = self._now() if record is None else record.timestamp_ms / 1000
        left_s = self._give_up_after_s - (self._now() - taken_at_s)
        deadline_s = self._clock() + max(0.0, min(left_s, self._give_up_after_s))
        is_taken = False
        try:
            self._try(notification, deadline_s, reader, stop)
            is_taken = True
        except (NotTakenError, RefusedError) as error:
            if stop.is_set():
                raise StoppedError from error
            self._give_up(notification, record, error, stop)
        self._failing_since_s = None
        reader.settle(places)
        return is_taken

    def _try(
        self, notification: Notification, deadline_s: float, reader: GroupReader[AnomalyEvent], stop: threading.Event
    ) -> None:
        def sleep(seconds: float) -> None:
            wait_s = max(0.0, min(seconds, deadline_s - self._clock()))
            self.turned_at_s = self._clock() + wait_s
            stop.wait(wait_s)

        def before_sleep(state: RetryCallState) -> None:
            self.counts.failed += 1
            if self._failing_since_s is None:
                self._failing_since_s = self._clock()
            reader.commit()  # what was told before is durable, however long this takes
            tries = state.attempt_number
            if tries & (tries - 1) == 0:  # the 1st, 2nd, 4th, 8th …
                error = state.outcome.exception() if state.outcome else None
                log.warning("%s: tried %d times, trying on: %s", self._name, tries, error)

        retrying = Retrying(
            retry=retry_if_exception_type(NotTakenError),
            stop=stop_when_event_set(stop) | _StopWhenLate(self._clock, deadline_s),
            wait=self._wait_s,
            sleep=sleep,
            before_sleep=before_sleep,
            reraise=True,
        )
        retrying(self._target.tell, notification)

    def _wait_s(self, state: RetryCallState) -> float:
        """Longer with each try, or as long as the target asks."""
        error = state.outcome.exception() if state.outcome else None
        asked_s = error.retry_after_s if isinstance(error, NotTakenError) else 0.0
        return max(asked_s, self._backoff(state))

    def _give_up(
        self,
        notification: Notification,
        record: Record | None,
        error: NotTakenError | RefusedError,
        stop: threading.Event,
    ) -> None:
        """A letter with the record as it came, or with the summary that was made."""
        headers = (("content-type", b"application/cloudevents+json"),)
        camera = notification.facts.camera_id.encode()
        letter = record or Record("notify", 0, 0, camera, notification.body, headers, int(self._now() * 1000))
        reason = error.reason if isinstance(error, RefusedError) else "notify_failed"
        log.error("%s: given up, now a dead letter (%s): %s: %s", self._name, reason, notification.text, error)
        wrong, backoff = BadMessageError(reason, f"target '{self._name}': {error}"), Backoff(0.5, 10.0)
        while not self._letters.put(letter, wrong):  # however long the broker is away
            self.turned_at_s = self._clock()
            if stop.wait(backoff.next_s()):
                raise StoppedError
        self.counts.given_up += 1

    def _part(self, reader: GroupReader[AnomalyEvent]) -> None:
        """At the end each summary is tried once; one that is not taken comes again message by message."""
        for rule, withheld in (*self._due, *self._quiet.all_withheld()):
            try:
                self._target.tell(of_withheld(rule, withheld))
            except (NotTakenError, RefusedError) as error:
                log.warning("%s: what a quiet time withheld comes again: %s", self._name, error)
                return
            self.counts.summaries += 1
            reader.settle(withheld.places)


class _StopWhenLate(stop_base):
    """Ends the tries at ``deadline_s`` of ``clock``."""

    def __init__(self, clock: Callable[[], float], deadline_s: float) -> None:
        self._clock = clock
        self._deadline_s = deadline_s

    def __call__(self, retry_state: RetryCallState) -> bool:  # noqa: ARG002 - given by tenacity
        return self._clock() >= self._deadline_s
