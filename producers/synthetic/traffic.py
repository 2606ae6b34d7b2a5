"""The normal: people who walk along the path in both directions, each keeping to the right."""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from producers.synthetic.body import WALK, Person, person_figure, random_person
from producers.synthetic.drawing import Figure, Stance
from producers.synthetic.view import ALONG, on_path

HALF_LENGTH_M = 9.5
"""Walkers appear and vanish this far from the middle of the path, outside the picture."""

_ARRIVALS_PER_S = 0.42
_PAIR_CHANCE = 0.18
_SLOWEST_M_S = 1.0
_LONGEST_WALK_S = 2 * HALF_LENGTH_M / _SLOWEST_M_S


@dataclass(frozen=True, slots=True)
class Walker:
    """One crossing of the scene, from end to end at a steady pace.

    Attributes:
        direction: 1 = to the right, on the near half; -1 = to the left, on the far half.
        lane_m: distance from the path's middle line, positive = away from the camera.
        sway: phase of the slight wander about the lane, radians.
    """

    person: Person
    starts_at_s: float
    direction: int
    speed_m_s: float
    lane_m: float
    sway: float

    @property
    def ends_at_s(self) -> float:
        """When the walker has left the picture on the other side."""
        return self.starts_at_s + 2 * HALF_LENGTH_M / self.speed_m_s

    def stance(self, time_s: float) -> Stance:
        """Place, heading and distance covered at ``time_s``."""
        distance = (time_s - self.starts_at_s) * self.speed_m_s
        across = self.lane_m + 0.15 * math.sin(0.5 * distance + self.sway)
        ground = on_path(self.direction * (distance - HALF_LENGTH_M), across)
        return Stance(ground, self.direction * ALONG, distance + self.sway)

    def figure(self, time_s: float) -> Figure:
        """The walker as seen at ``time_s``."""
        return person_figure(self.person, self.stance(time_s), WALK)


class Traffic:
    """Random arrivals, drawn as time goes by, so that a longer film begins like a shorter one of the same seed."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        # Starting before the first frame fills the path with people who are on their way already.
        self._next_at_s = -_LONGEST_WALK_S
        self._walkers: deque[Walker] = deque()

    def figures(self, time_s: float) -> list[Figure]:
        """Everybody in the scene at ``time_s``, which must not go back."""
        while self._next_at_s <= time_s:
            self._arrive()
        self._walkers = deque(walker for walker in self._walkers if walker.ends_at_s > time_s)
        return [walker.figure(time_s) for walker in self._walkers if walker.starts_at_s <= time_s]

    def _arrive(self) -> None:
        rng = self._rng
        first = random_walker(rng, self._next_at_s)
        self._walkers.append(first)
        if rng.random() < _PAIR_CHANCE:
            lane = first.lane_m + (0.75 if abs(first.lane_m) < 1.9 else -0.75) * first.direction * -1
            fields = (random_person(rng), first.starts_at_s + 0.1, first.direction, first.speed_m_s, lane)
            self._walkers.append(Walker(*fields, sway=first.sway))
        self._next_at_s += float(rng.exponential(1 / _ARRIVALS_PER_S))


def random_walker(rng: np.random.Generator, starts_at_s: float, direction: int | None = None) -> Walker:
    """A walker with everyday build, clothes, pace and lane."""
    heading = direction or int(rng.choice((-1, 1)))
    return Walker(
        person=random_person(rng),
        starts_at_s=starts_at_s,
        direction=heading,
        speed_m_s=float(np.clip(rng.normal(1.3, 0.13), _SLOWEST_M_S, 1.65)),
        lane_m=-heading * float(rng.uniform(0.4, 2.9)),
        sway=float(rng.uniform(0, 2 * math.pi)),
    )
