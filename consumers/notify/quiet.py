"""Few alarms, each ending: what is told at once, what waits for the end of a quiet time, what is passed over. Pure.

An event that was told is told on, in the phases of its rule, whatever else happens. Another event of the camera within
the rule's quiet time is counted; when the time is over, all that were counted are told as one, and it begins anew.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

from consumers.group import Place
from consumers.notify.facts import EventFacts
from consumers.notify.rules import Rule

Decision = Literal["tell", "withhold", "pass"]

MAX_TOLD = 10_000
MAX_WITHHELD = 1000
"""Messages of one quiet time; with so many it is over."""
MAX_NAMED = 20
"""Events that a summary names."""


@dataclass(slots=True)
class Withheld:
    """What was counted in one quiet time.

    Attributes:
        events: phase reached by id of each event.
        newest: the newest message.
        places: where the messages stand in the log.
    """

    events: dict[str, str] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    first: EventFacts | None = None
    newest: EventFacts | None = None
    peak: float = 0.0

    def add(self, facts: EventFacts, place: Place) -> None:
        """Count one message."""
        self.events[facts.event_id] = facts.phase
        self.places.append(place)
        self.first = self.first or facts
        self.newest = facts
        self.peak = max(self.peak, facts.peak)


@dataclass(slots=True)
class _QuietTime:
    until_s: float
    length_s: float
    withheld: Withheld = field(default_factory=Withheld)


class QuietTimes:
    """Of one target; remembers which events it was told of. Times are seconds of one clock that only grows."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, None] = OrderedDict()
        self._running: dict[tuple[str, str], _QuietTime] = {}

    def decide(self, rule: Rule, facts: EventFacts, place: Place, now_s: float) -> Decision:
        """What becomes of a message that ``rule`` fits."""
        if facts.event_id in self._told:
            if facts.phase == "end":
                del self._told[facts.event_id]
            return "tell" if facts.phase in rule.phases else "pass"
        # An event that grows to fit a rule, or whose start was before our time, is told as soon as it can be.
        if facts.phase not in rule.phases and not (facts.phase == "update" and "start" in rule.phases):
            return "pass"
        running = self._running.get((rule.name, facts.camera_id))
        if running is not None and (now_s < running.until_s or running.withheld.places):
            running.withheld.add(facts, place)
            return "withhold"
        self._remember(facts.event_id, facts.phase)
        if rule.quiet is not None:
            length_s = rule.quiet.total_seconds()
            self._running[rule.name, facts.camera_id] = _QuietTime(now_s + length_s, length_s)
        return "tell"

    def due(self, now_s: float) -> list[tuple[str, Withheld]]:
        """What is to be told together now, with the rule's name; handed out once. Quiet times without are forgotten."""
        found = []
        for (rule, camera_id), running in list(self._running.items()):
            is_over = now_s >= running.until_s
            if running.withheld.places and (is_over or len(running.withheld.places) >= MAX_WITHHELD):
                found.append((rule, self._ended(running, now_s)))
            elif is_over:
                del self._running[rule, camera_id]
        return found

    def all_withheld(self) -> list[tuple[str, Withheld]]:
        """As ``due``, for the end of the process: everything."""
        return [
            (rule, self._ended(running, running.until_s))
            for (rule, _), running in self._running.items()
            if running.withheld.places
        ]

    def _ended(self, running: _QuietTime, now_s: float) -> Withheld:
        withheld, running.withheld = running.withheld, Withheld()
        running.until_s = now_s + running.length_s
        for event_id, phase in withheld.events.items():
            self._remember(event_id, phase)
        return withheld

    def _remember(self, event_id: str, phase: str) -> None:
        if phase == "end":
            return
        self._told[event_id] = None
        if len(self._told) > MAX_TOLD:
            self._told.popitem(last=False)
