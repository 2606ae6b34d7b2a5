"""A day of frames against the workers that the shipped ScaledObject asks for: do they follow, do they flap.

Simulated time, so the same seed gives the same day. Workers are as ``Habits`` says; partitions are dealt to them by
ranges, and every change of who is in the group stops all of them for a moment (``docs/decisions.md``). A camera's
frames lie in one partition, drawn by the seed, so some partitions have more of them than others.
"""

import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from rich.console import Console
from rich.table import Table

from benchmarks.autoscaler import SYNC_S, Autoscaler, Rule, Seen, read_rule

STEP_S = 5.0
HOUR_S = 3600.0
FLAP_S = 1800.0
"""A change the other way within this time is flapping."""
SEEDS = (1, 2, 3)
RATE_WINDOW_S, RATE_DELAY_S = 120.0, 15.0
"""Of Prometheus: the window of the rate, and the age of its newest sample."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How workers are.

    Attributes:
        frames_per_s: that one handles when it has enough to do.
        start_s: from asked for until it joins the group: scheduling, the image, the network.
        rebalance_s: nobody handles anything after somebody came or went.
        unheard_s: a dead worker keeps its partitions for so long (``kafka.session_timeout_s``).
        in_flight_s: from a frame's arrival until its commit when nothing waits.
    """

    frames_per_s: float = 60.0
    start_s: float = 60.0
    rebalance_s: float = 3.0
    unheard_s: float = 10.0
    in_flight_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Camera:
    """One that sends ``fps`` frames a second while it is on; ``on_s`` and ``off_s`` count from midnight."""

    partition: int
    on_s: float
    off_s: float
    fps: float = 5.0


@dataclass(frozen=True, slots=True)
class Death:
    """Somebody's end: the worker of this ordinal is gone for a while, unless there is none."""

    at_s: float
    ordinal: int
    away_s: float


@dataclass(frozen=True, slots=True)
class Day:
    """What happens.

    Attributes:
        length_s: of the simulation.
        cameras: all that ever send.
        bursts: (from, until, factor): edges that were cut off send what they kept.
        deaths: of workers.
    """

    length_s: float
    cameras: tuple[Camera, ...]
    bursts: tuple[tuple[float, float, float], ...] = ()
    deaths: tuple[Death, ...] = ()

    def arriving(self, now_s: float, partitions: int) -> list[float]:
        """Frames a second for each partition."""
        factor = max([1.0, *(factor for start_s, end_s, factor in self.bursts if start_s <= now_s < end_s)])
        rates = [0.0] * partitions
        for camera in self.cameras:
            if camera.on_s <= now_s < camera.off_s:
                rates[camera.partition] += camera.fps * factor
        return rates


def usual_day(seed: int, partitions: int, per_worker: int = 12) -> Day:
    """A quiet night, a ramp, a burst, a fleet that is doubled, a worker that dies and one that stays away, an evening.

    Args:
        seed: says which camera lies in which partition, and when in the ramps it begins.
        partitions: of frames.
        per_worker: cameras that keep one worker busy; the day has as many, three times as many, and six times.
    """
    drawn = random.Random(seed)

    def cameras(number: int, begins: tuple[float, float], ends: tuple[float, float]) -> list[Camera]:
        """``number`` that come and go one by one between these hours."""
        return [
            Camera(drawn.randrange(partitions), drawn.uniform(*begins) * HOUR_S, drawn.uniform(*ends) * HOUR_S)
            for _ in range(number)
        ]

    by_night = cameras(per_worker, (0, 0), (24, 24))
    by_day = cameras(2 * per_worker, (6, 9), (20, 22))
    doubled = cameras(3 * per_worker, (13, 13.2), (18, 20))
    return Day(
        24 * HOUR_S,
        (*by_night, *by_day, *doubled),
        bursts=((10 * HOUR_S, 10 * HOUR_S + 600, 2.5),),
        deaths=(Death(15 * HOUR_S, 1, 60.0), Death(16 * HOUR_S, 0, 600.0)),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a rule.

    Attributes:
        latest_s: the oldest that a frame became before it was handled.
        late_share: of the time, in which some frame was older than 30 s.
        changes: of the number of workers that was asked for.
        flaps: changes that went back on the one before within half an hour.
        rebalances: in all.
        most_rebalances: within one hour.
        worker_h: hours of workers that were asked for.
        ideal_h: hours of just as many as the frames of each moment take.
        replicas: (second, workers) whenever they changed.
    """

    latest_s: float
    late_share: float
    changes: int
    flaps: int
    rebalances: int
    most_rebalances: int
    worker_h: float
    ideal_h: float
    replicas: tuple[tuple[float, int], ...] = field(repr=False)


def run() -> None:
    """The shipped rule, the same by lag alone, and as many workers as there are partitions, all day long."""
    rule = read_rule()
    by_lag, always = replace(rule, received_per_s=None), replace(rule, least=rule.most)
    rules = {"as shipped": rule, "by lag alone": by_lag, f"always {rule.most}": always}
    compare(rules, [usual_day(seed, rule.most) for seed in SEEDS], Habits(), rule.most)


def compare(rules: dict[str, Rule], days: Sequence[Day], habits: Habits, partitions: int) -> None:
    """Print what came of each rule: of all days the worst, hours as their mean."""
    columns = ("latest", "late > 30 s", "changes", "flaps", "rebalances/h", "worker hours", "to ideal")
    table = Table("rule", *columns, title=f"{len(days)} days, {partitions} partitions; at worst, hours as a mean")
    for name, rule in rules.items():
        came = [simulate(rule, day, habits, partitions) for day in days]
        hours, ideal = (
            sum(values) / len(days) for values in zip(*((d.worker_h, d.ideal_h) for d in came), strict=True)
        )
        table.add_row(
            name,
            f"{max(day.latest_s for day in came):.0f} s",
            f"{max(day.late_share for day in came):.1%}",
            f"{max(day.changes for day in came)}",
            f"{max(day.flaps for day in came)}",
            f"{max(day.most_rebalances for day in came)}",
            f"{hours:.0f}",
            f"{hours / ideal:.2f}",
        )
    Console().print(table)


def simulate(rule: Rule, day: Day, habits: Habits, partitions: int) -> Outcome:
    """Live through a day."""
    scaler, fleet = Autoscaler(rule), Fleet(habits, partitions)
    fleet.resize(scaler.replicas, -habits.start_s)
    deaths = deque(sorted(day.deaths, key=lambda death: death.at_s))
    replicas, latest_s, late_steps, worker_s, ideal_s, now_s = [(0.0, scaler.replicas)], 0.0, 0, 0.0, 0.0, 0.0
    while now_s < day.length_s:
        while deaths and deaths[0].at_s <= now_s:
            death = deaths.popleft()
            fleet.kill(death.ordinal, now_s, death.away_s)
        if now_s % SYNC_S == 0:
            arriving = day.arriving(now_s, partitions)
        fleet.step(now_s, arriving)
        now_s += STEP_S
        latest_s = max(latest_s, fleet.oldest_s(now_s))
        late_steps += fleet.oldest_s(now_s) > 30
        worker_s += scaler.replicas * STEP_S
        ideal_s += max(1.0, math.ceil(sum(arriving) / habits.frames_per_s)) * STEP_S
        if now_s % SYNC_S == 0 and scaler.look(now_s, fleet.seen(now_s)) != replicas[-1][1]:
            replicas.append((now_s, scaler.replicas))
            fleet.resize(scaler.replicas, now_s)
    return Outcome(
        latest_s,
        late_steps * STEP_S / day.length_s,
        len(replicas) - 1,
        _flaps(replicas),
        len(fleet.rebalances),
        max((sum(at <= each < at + HOUR_S for each in fleet.rebalances) for at in fleet.rebalances), default=0),
        worker_s / HOUR_S,
        ideal_s / HOUR_S,
        tuple(replicas),
    )


def _flaps(replicas: Sequence[tuple[float, int]]) -> int:
    steps = [(at_s, after - before) for (_, before), (at_s, after) in pairwise(replicas)]
    return sum(by * by_before < 0 and at_s - before_s < FLAP_S for (before_s, by_before), (at_s, by) in pairwise(steps))


@dataclass(slots=True)
class _Pod:
    """One worker: works from ``ready_s`` on; one that died counts as a member until ``unheard_s``."""

    ready_s: float
    unheard_s: float = float("-inf")


class Fleet:
    """Workers in one group, and what waits for them.

    Attributes:
        rebalances: when the members changed.
    """

    def __init__(self, habits: Habits, partitions: int) -> None:
        self._habits = habits
        self._waiting: list[deque[tuple[float, float]]] = [deque() for _ in range(partitions)]
        self._arriving = 0.0
        self._pods: dict[int, _Pod] = {}
        self._owned: dict[int, slice] = {}
        self._pause_ends_s = float("-inf")
        self._handled: deque[tuple[float, float]] = deque()
        self.rebalances: list[float] = []

    def resize(self, replicas: int, now_s: float) -> None:
        """As a stateful set does it: the highest go, new ones are ready after a while."""
        for ordinal in range(replicas):
            self._pods.setdefault(ordinal, _Pod(now_s + self._habits.start_s))
        for ordinal in [each for each in self._pods if each >= replicas]:
            del self._pods[ordinal]

    def kill(self, ordinal: int, now_s: float, away_s: float) -> None:
        """Without a word to the group."""
        if ordinal in self._owned:
            self._pods[ordinal] = _Pod(now_s + away_s, now_s + self._habits.unheard_s)

    def step(self, now_s: float, arriving: Sequence[float]) -> None:
        """One step: frames a second that arrive in each partition, and what the workers do meanwhile."""
        self._regroup(now_s)
        self._arriving = sum(arriving)
        if self._keeps_up(now_s, arriving):
            handled = self._arriving * STEP_S
        else:
            for waiting, rate in zip(self._waiting, arriving, strict=True):
                if rate > 0:
                    waiting.append((now_s, rate * STEP_S))
            handled = self._handle(now_s)
        self._handled.append((now_s + STEP_S, handled))
        if self._handled[0][0] < now_s - RATE_WINDOW_S - 2 * RATE_DELAY_S:
            self._handled.popleft()

    def oldest_s(self, now_s: float) -> float:
        """Age of the oldest frame that waits."""
        return max((now_s - waiting[0][0] for waiting in self._waiting if waiting), default=0.0)

    def seen(self, now_s: float) -> Seen:
        """What the triggers are told."""
        lag = sum(number for waiting in self._waiting for _, number in waiting)
        until_s = now_s - RATE_DELAY_S
        handled = sum(number for at_s, number in self._handled if until_s - RATE_WINDOW_S < at_s <= until_s)
        return Seen(lag + self._arriving * self._habits.in_flight_s, handled / RATE_WINDOW_S)

    def _regroup(self, now_s: float) -> None:
        """Ranges: the first members have one partition more."""
        members = sorted(each for each, pod in self._pods.items() if now_s >= pod.ready_s or now_s < pod.unheard_s)
        if members == list(self._owned):
            return
        self._pause_ends_s = now_s + self._habits.rebalance_s
        self.rebalances.append(now_s)
        each, more = divmod(len(self._waiting), max(1, len(members)))
        begins = [place * each + min(place, more) for place in range(len(members) + 1)]
        self._owned = {member: slice(*begins[place : place + 2]) for place, member in enumerate(members)}

    def _keeps_up(self, now_s: float, arriving: Sequence[float]) -> bool:
        """Nothing waits, everybody works and has less to do than it can: the usual case, and quick to compute."""
        return (
            now_s >= self._pause_ends_s
            and not any(self._waiting)
            and all(self._pods[member].ready_s <= now_s for member in self._owned)
            and all(sum(arriving[owned]) <= self._habits.frames_per_s for owned in self._owned.values())
            and bool(self._owned)
        )

    def _handle(self, now_s: float) -> float:
        """What the workers take in one step, in frames."""
        working_s = min(STEP_S, max(0.0, now_s + STEP_S - self._pause_ends_s))
        capacity = self._habits.frames_per_s * working_s
        working = [owned for member, owned in self._owned.items() if self._pods[member].ready_s <= now_s]
        return sum(_take_share(self._waiting[owned], capacity) for owned in working)


def _take_share(owned: Sequence[deque[tuple[float, float]]], capacity: float) -> float:
    """Take the oldest of each partition, of all the same share; returns how many frames were taken."""
    waits = [sum(number for _, number in waiting) for waiting in owned]
    taken = min(capacity, sum(waits))
    for waiting, number in zip(owned, waits, strict=True):
        if taken == capacity:
            _take(waiting, number * capacity / sum(waits))
        else:
            waiting.clear()
    return taken


def _take(waiting: deque[tuple[float, float]], wanted: float) -> None:
    while waiting and waiting[0][1] <= wanted:
        wanted -= waiting.popleft()[1]
    if waiting:
        at_s, number = waiting[0]
        waiting[0] = (at_s, number - wanted)
