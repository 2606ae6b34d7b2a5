"""What is not normal here, and when it happens: seeded, one at a time, with calm stretches between."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from producers.synthetic.body import RUN, person_figure, random_person
from producers.synthetic.drawing import Figure, Stance
from producers.synthetic.traffic import HALF_LENGTH_M, Walker, random_walker
from producers.synthetic.vehicles import bag_figure, cart_figure, cyclist_figure
from producers.synthetic.view import ACROSS, ALONG, on_path
from schemas.arrays import Float64
from schemas.errors import SettingsError

KINDS = ("cyclist", "cart", "runner_against", "runner_across", "bag")

_MEAN_LENGTH_S = 6.0


@dataclass(frozen=True, slots=True)
class AnomalyOptions:
    """How often anomalies happen, and which.

    Attributes:
        per_minute: mean number a minute; longer calm stretches win over it.
        min_gap_s: shortest calm stretch between two anomalies.
        first_after_s: nothing happens before this.
        kinds: a subset of ``KINDS``; each comes as often as the others.
    """

    per_minute: float = 4.0
    min_gap_s: float = 6.0
    first_after_s: float = 8.0
    kinds: tuple[str, ...] = KINDS

    def __post_init__(self) -> None:
        if not self.kinds or set(self.kinds) - set(KINDS):
            raise SettingsError(f"kinds of anomalies must be among {KINDS}, got {self.kinds}")
        if not 0 < self.per_minute < math.inf or self.min_gap_s < 0 or self.first_after_s < 0:
            raise SettingsError(f"per_minute must be > 0, min_gap_s and first_after_s >= 0, got {self}")


@dataclass(frozen=True, slots=True)
class Episode:
    """One anomaly from out of sight to out of sight.

    Attributes:
        abnormal: the thing itself at a time, None when it is not there.
        companions: people who take part, but would be normal on their own.
    """

    kind: str
    starts_at_s: float
    ends_at_s: float
    abnormal: Callable[[float], Figure | None]
    companions: Callable[[float], list[Figure]]


class Schedule:
    """Draws one episode after the other as time goes by."""

    def __init__(self, rng: np.random.Generator, options: AnomalyOptions) -> None:
        self._rng = rng
        self._options = options
        self._deck: list[str] = []
        self._current = self._draw(options.first_after_s)

    def at(self, time_s: float) -> Episode | None:
        """The episode going on at ``time_s``, which must not go back."""
        while time_s >= self._current.ends_at_s:
            self._current = self._draw(self._current.ends_at_s + self._options.min_gap_s)
        return self._current if time_s >= self._current.starts_at_s else None

    def _draw(self, earliest_s: float) -> Episode:
        options = self._options
        spare_s = 60.0 / options.per_minute - _MEAN_LENGTH_S - options.min_gap_s
        starts_at_s = earliest_s + float(self._rng.uniform(0.0, max(2 * spare_s, 1.0)))
        if not self._deck:
            self._deck = [str(kind) for kind in self._rng.permutation(options.kinds)]
        return _MAKERS[self._deck.pop()](self._rng, starts_at_s)


@dataclass(frozen=True, slots=True)
class _Ride:
    """Straight movement at a steady speed."""

    starts_at_s: float
    origin: Float64
    heading: Float64
    speed_m_s: float

    def stance(self, time_s: float) -> Stance:
        distance = (time_s - self.starts_at_s) * self.speed_m_s
        return Stance(self.origin + self.heading * distance, self.heading, distance)


def _nobody(_time_s: float) -> list[Figure]:
    return []


def _along(rng: np.random.Generator, starts_at_s: float, speed_m_s: float, lane_m: float) -> _Ride:
    """Ride from one end to the other; the sign of ``lane_m`` is relative to the right-hand side of the direction."""
    direction = int(rng.choice((-1, 1)))
    origin = on_path(-direction * HALF_LENGTH_M, -direction * lane_m)
    return _Ride(starts_at_s, origin, direction * ALONG, speed_m_s)


def _episode(kind: str, ride: _Ride, length_m: float, draw: Callable[[Stance], Figure]) -> Episode:
    ends_at_s = ride.starts_at_s + length_m / ride.speed_m_s
    return Episode(kind, ride.starts_at_s, ends_at_s, lambda time_s: draw(ride.stance(time_s)), _nobody)


def _cyclist(rng: np.random.Generator, starts_at_s: float) -> Episode:
    rider = random_person(rng)
    ride = _along(rng, starts_at_s, float(rng.uniform(4.2, 5.6)), float(rng.uniform(0.2, 1.8)))
    return _episode("cyclist", ride, 2 * HALF_LENGTH_M, lambda stance: cyclist_figure(rider, stance))


def _cart(rng: np.random.Generator, starts_at_s: float) -> Episode:
    driver = random_person(rng)
    ride = _along(rng, starts_at_s, float(rng.uniform(2.3, 3.2)), float(rng.uniform(0.3, 1.3)))
    return _episode("cart", ride, 2 * HALF_LENGTH_M, lambda stance: cart_figure(driver, stance))


def _runner_against(rng: np.random.Generator, starts_at_s: float) -> Episode:
    runner = replace(random_person(rng), has_bag=False)
    ride = _along(rng, starts_at_s, float(rng.uniform(5.0, 6.4)), -float(rng.uniform(0.6, 2.2)))
    return _episode("runner_against", ride, 2 * HALF_LENGTH_M, lambda stance: person_figure(runner, stance, RUN))


def _runner_across(rng: np.random.Generator, starts_at_s: float) -> Episode:
    """Out of the distance over the grass, across the path, and out of the picture towards the camera."""
    runner = replace(random_person(rng), has_bag=False)
    side = int(rng.choice((-1, 1)))
    origin, goal = (
        on_path(side * float(rng.uniform(6.0, 11.0)), 9.0),
        on_path(-side * float(rng.uniform(0.0, 4.0)), -9.5),
    )
    way = goal - origin
    length = float(np.hypot(*way))
    ride = _Ride(starts_at_s, origin, way / length, float(rng.uniform(4.8, 6.0)))
    return _episode("runner_across", ride, length, lambda stance: person_figure(runner, stance, RUN))


def _bag(rng: np.random.Generator, starts_at_s: float) -> Episode:
    """Somebody walks in with a bag and leaves it; some time later somebody else takes it away."""
    carrier = replace(random_walker(rng, starts_at_s), lane_m=0.0)
    carrier = replace(carrier, lane_m=-carrier.direction * float(rng.uniform(0.8, 2.2)))
    spot_m = float(rng.uniform(-3.5, 3.5))
    dropped_at_s = _passes(carrier, spot_m)
    collector = replace(random_walker(rng, 0.0, carrier.direction), lane_m=carrier.lane_m, sway=carrier.sway)
    reach_s = _passes(collector, spot_m)
    taken_at_s = dropped_at_s + float(rng.uniform(7.0, 11.0))
    collector = replace(collector, starts_at_s=taken_at_s - reach_s)
    place = _beside(carrier.stance(dropped_at_s))

    def abnormal(time_s: float) -> Figure | None:
        return bag_figure(place) if dropped_at_s <= time_s < taken_at_s else None

    def companions(time_s: float) -> list[Figure]:
        figures = [w.figure(time_s) for w in (carrier, collector) if w.starts_at_s <= time_s < w.ends_at_s]
        if carrier.starts_at_s <= time_s < dropped_at_s:
            figures.append(bag_figure(_beside(carrier.stance(time_s)), 0.25))
        if taken_at_s <= time_s < collector.ends_at_s:
            figures.append(bag_figure(_beside(collector.stance(time_s)), 0.25))
        return figures

    return Episode("bag", starts_at_s, max(carrier.ends_at_s, collector.ends_at_s), abnormal, companions)


def _passes(walker: Walker, along_m: float) -> float:
    """When ``walker`` is at this place along the path."""
    return walker.starts_at_s + (HALF_LENGTH_M + walker.direction * along_m) / walker.speed_m_s


def _beside(stance: Stance) -> Stance:
    """Next to a walker, on the camera's side."""
    return Stance(stance.ground - 0.45 * ACROSS, stance.heading, stance.distance_m)


_MAKERS: dict[str, Callable[[np.random.Generator, float], Episode]] = {
    "cyclist": _cyclist,
    "cart": _cart,
    "runner_against": _runner_against,
    "runner_across": _runner_across,
    "bag": _bag,
}
