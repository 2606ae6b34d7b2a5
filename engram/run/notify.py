"""What ``engram notify`` does: a courier in a thread for each target of the rules file, which can be read again."""

import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from zoneinfo import ZoneInfo

from consumers.group import GroupReader
from consumers.notify.courier import Courier, DeadLetters, Orders
from consumers.notify.notification import Target
from consumers.notify.rules import MqttTarget, NotifyRules, WebhookTarget, read_rules
from consumers.notify.webhook import Webhook
from consumers.sieve import EventSieve
from engram.observe.consumer import Follower, SeenConsumer, member
from engram.observe.desk import Desk
from engram.run.process import connected
from messaging.ports import Bus
from schemas.errors import SettingsError
from schemas.messages import AnomalyEvent
from schemas.settings.detection import host_and_pid

log = logging.getLogger(__name__)

LOOK_S = 0.5
END_S = 12.0
"""A courier that waits for an answer has so long to end by itself."""


@dataclass(frozen=True, slots=True)
class NotifyRequest:
    """Who is told of what.

    Attributes:
        rules: the file.
        events: topic, with prefix.
        letters: topic of dead letters, with prefix.
        group: beginning of the consumer groups' names; each target has a group of its own.
    """

    rules: Path
    events: str
    letters: str
    group: str


class _Running(threading.Thread):
    """One courier at work; ``error`` is what ended it too early."""

    def __init__(
        self,
        name: str,
        settings: WebhookTarget | MqttTarget,
        courier: Courier,
        target: Target,
        reader: GroupReader[AnomalyEvent],
    ) -> None:
        super().__init__(name=f"notify-{name}", daemon=True)
        self.settings = settings
        self.courier = courier
        self.target = target
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self._reader = reader

    def look(self, group: str) -> Follower:
        """How it fares; from any thread."""
        return follower(group, self.courier, self._reader)

    def run(self) -> None:
        """The thread's body."""
        try:
            self.courier.run(self._reader, self.stop)
        except BaseException as error:
            log.debug("%s has failed", self.name, exc_info=True)
            self.error = error


def follower(group: str, courier: Courier, reader: GroupReader[AnomalyEvent]) -> Follower:
    """How a courier fares; from any thread."""
    outcomes = asdict(courier.counts)
    failed = outcomes.pop("failed")
    seen = member(group, reader, outcomes, courier.turned_at_s)
    return replace(seen, failed=failed, waiting_s=courier.failing_s())


def run_notify(bus: Bus, request: NotifyRequest, stop: threading.Event, desk: Desk) -> None:
    """Tell until ``stop`` is set. SIGHUP reads the rules again; broken ones are said, and the old ones stay.

    Args:
        bus: where events are.
        request: who is told of what.
        stop: asks for the end.
        desk: shows how it fares.

    Raises:
        SettingsError: the rules are broken at the start.
        FatalError: a membership or a target's settings are beyond repair.
    """
    rules = read_rules(request.rules)
    with _hangups() as hangup:
        desk.wait_for("the log must answer")
        if connected(bus.existing_topics, stop) is None:
            return
        letters = DeadLetters(bus.publisher(), request.letters, f"notify-{host_and_pid()}"[:64])
        couriers = Couriers(bus, request, letters)
        desk.show(SeenConsumer("notify", couriers.look))
        try:
            couriers.follow(rules, stop)
            while not stop.wait(LOOK_S):
                couriers.require_all()
                if hangup.is_set():
                    hangup.clear()
                    _read_again(couriers, request.rules, stop)
        finally:
            couriers.end()


def _read_again(couriers: "Couriers", path: Path, stop: threading.Event) -> None:
    try:
        rules = read_rules(path)
    except SettingsError as error:
        log.error("the rules stay as they were, the file is broken: %s", error)  # noqa: TRY400 - it says where
        return
    couriers.follow(rules, stop)
    log.info("the rules were read again: %d rules, targets %s", len(rules.rules), ", ".join(sorted(rules.targets)))


class Couriers:
    """The couriers of all targets. For one thread."""

    def __init__(self, bus: Bus, request: NotifyRequest, letters: DeadLetters) -> None:
        self._bus = bus
        self._request = request
        self._letters = letters
        self._running: dict[str, _Running] = {}

    def follow(self, rules: NotifyRules, stop: threading.Event) -> None:
        """Do as ``rules`` say from now on. A target that stays as it was keeps its courier, and what that one knows."""
        zone = ZoneInfo(rules.timezone)
        targets = rules.targets
        gone = [name for name, one in self._running.items() if targets.get(name) != one.settings]
        self._end([self._running.pop(name) for name in gone])
        for name, settings in targets.items():
            orders = Orders(rules.rules_for(name), zone)
            if name in self._running:
                self._running[name].courier.orders = orders
            elif not orders.rules:
                log.warning("no rule tells target '%s'", name)
            else:
                self._begin(name, settings, orders, stop)

    def require_all(self) -> None:
        """Raise what has ended a courier, if one has ended."""
        for one in self._running.values():
            if one.error is not None:
                raise one.error

    def look(self) -> Sequence[Follower]:
        """How each fares; from any thread."""
        return [one.look(self._group(name)) for name, one in list(self._running.items())]

    def end(self) -> None:
        """End all, and say what they did."""
        self._end(list(self._running.values()))
        for name, one in self._running.items():
            log.info("%s: %s", name, one.courier.counts)
        self._running.clear()

    def _begin(self, name: str, settings: WebhookTarget | MqttTarget, orders: Orders, stop: threading.Event) -> None:
        group = self._group(name)
        subscription = connected(lambda: self._bus.subscription([self._request.events], group, begin="newest"), stop)
        if subscription is None:
            return
        reader = GroupReader(subscription, EventSieve())
        target = _target(name, settings)
        courier = Courier(name, target, orders, settings.give_up_after.total_seconds(), self._letters)
        self._running[name] = _Running(name, settings, courier, target, reader)
        self._running[name].start()
        log.info("telling '%s' as group %s", name, group)

    def _group(self, name: str) -> str:
        return f"{self._request.group}-{name}"

    def _end(self, leaving: list[_Running]) -> None:
        for one in leaving:
            one.stop.set()
        for one in leaving:
            one.join(END_S)
            one.target.close()  # cuts a call that still waits
            one.join(END_S)


def _target(name: str, settings: WebhookTarget | MqttTarget) -> Target:
    if isinstance(settings, WebhookTarget):
        return Webhook(settings)
    from consumers.notify.mqtt import Mqtt  # noqa: PLC0415 - needs an extra

    return Mqtt(name, settings)


@contextmanager
def _hangups() -> Iterator[threading.Event]:
    """An event that SIGHUP sets. Must be entered in the main thread."""
    hangup = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - given by the system
        hangup.set()

    before = signal.signal(signal.SIGHUP, on_signal)
    try:
        yield hangup
    finally:
        signal.signal(signal.SIGHUP, before)
