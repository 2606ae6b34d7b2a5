"""People in motion: a jointed figure whose pose follows from the distance it has covered."""

import math
from dataclasses import dataclass

import numpy as np

from producers.synthetic.drawing import Figure, Point, Shape, Stance, Stroke, Tone


@dataclass(frozen=True, slots=True)
class Person:
    """Build and clothes."""

    height_m: float
    girth: float
    coat: Tone
    trousers: Tone
    skin: Tone
    hair: Tone
    has_bag: bool = False


@dataclass(frozen=True, slots=True)
class Gait:
    """How a person moves. Angles in radians, ``stride_m`` = two steps."""

    stride_m: float
    leg_swing: float
    knee_lift: float
    arm_swing: float
    elbow: float
    lean: float


WALK = Gait(stride_m=1.45, leg_swing=0.42, knee_lift=0.55, arm_swing=0.4, elbow=0.25, lean=0.04)
RUN = Gait(stride_m=2.7, leg_swing=0.85, knee_lift=1.5, arm_swing=0.8, elbow=1.5, lean=0.3)


def random_person(rng: np.random.Generator) -> Person:
    """Somebody: 1.55 to 1.92 m, muted clothes."""
    skin = int(rng.integers(95, 190))
    return Person(
        height_m=float(rng.uniform(1.55, 1.92)),
        girth=float(rng.uniform(0.88, 1.15)),
        coat=_muted(rng, 35, 215),
        trousers=_muted(rng, 30, 110),
        skin=(skin - 25, skin - 8, min(skin + 15, 255)),
        hair=_muted(rng, 22, 90),
        has_bag=bool(rng.random() < 0.3),
    )


def _muted(rng: np.random.Generator, low: int, high: int) -> Tone:
    base, tint = rng.integers(low, high), rng.integers(-14, 15, 3)
    blue, green, red = (int(value) for value in np.clip(base + tint, 12, 245))
    return (blue, green, red)


def person_figure(person: Person, stance: Stance, gait: Gait) -> Figure:
    """The person as seen at ``stance``, the lower foot on the ground."""
    pose = _Pose(person, stance.distance_m, gait)
    return Figure([*pose.legs(), *pose.arms(), *pose.trunk()], stance)


class _Pose:
    """Joints as (forward, up) pairs from the hip, and the shapes around them."""

    def __init__(self, person: Person, distance_m: float, gait: Gait) -> None:
        self._person, self._gait = person, gait
        self._phase = 2 * math.pi * distance_m / gait.stride_m
        self._hip_m = self._hip_height()

    def legs(self) -> list[Shape]:
        h, person = self._person.height_m, self._person
        shapes: list[Shape] = []
        for side, phase in ((-1, self._phase), (1, self._phase + math.pi)):
            knee, ankle = self._leg(phase)
            toe = (ankle[0] + 0.09 * h, ankle[1] - 0.012 * h)
            joints = [(0.0, 0.0), knee, ankle]
            leg = self._points(joints, side * 0.055 * h)
            shapes.append(Stroke(leg, 0.046 * h * person.girth, person.trousers))
            shapes.append(Stroke(self._points([ankle, toe], side * 0.055 * h), 0.026 * h, (26, 26, 28)))
        return shapes

    def arms(self) -> list[Shape]:
        h, person, gait = self._person.height_m, self._person, self._gait
        shapes: list[Shape] = []
        for side, phase in ((1, self._phase), (-1, self._phase + math.pi)):
            swing = gait.arm_swing * math.sin(phase)
            shoulder = self._tilted(0.29 * h)
            elbow = _turned(shoulder, 0.17 * h, swing - 0.15)
            hand = _turned(elbow, 0.15 * h, swing + gait.elbow)
            offset = side * 0.125 * h * person.girth
            sleeve: Tone = (person.coat[0] * 4 // 5, person.coat[1] * 4 // 5, person.coat[2] * 4 // 5)
            shapes.append(Stroke(self._points([shoulder, elbow, hand], offset), 0.03 * h, sleeve))
            shapes.append(Stroke(self._points([hand], offset), 0.03 * h, person.skin))
        return shapes

    def trunk(self) -> list[Shape]:
        h, person = self._person.height_m, self._person
        along, up = self._tilted(0.415 * h)
        shapes: list[Shape] = [
            Stroke(
                self._points([self._tilted(0.02 * h), self._tilted(0.28 * h)], 0.0),
                0.088 * h * person.girth,
                person.coat,
            ),
            Stroke(self._points([self._tilted(0.26 * h)], 0.055 * h), 0.075 * h, person.coat),
            Stroke(self._points([self._tilted(0.26 * h)], -0.055 * h), 0.075 * h, person.coat),
            Stroke(self._points([(along, up)], 0.0), 0.062 * h, person.skin),
            Stroke(self._points([(along - 0.012 * h, up + 0.022 * h)], 0.0), 0.056 * h, person.hair),
        ]
        if person.has_bag:
            back = [(x - 0.12 * h, z) for x, z in (self._tilted(0.14 * h), self._tilted(0.25 * h))]
            shapes.append(Stroke(self._points(back, 0.0), 0.07 * h, (38, 40, 46)))
        return shapes

    def _leg(self, phase: float) -> tuple[tuple[float, float], tuple[float, float]]:
        """Knee and ankle, (forward, up) from the hip."""
        h = self._person.height_m
        swing = self._gait.leg_swing * math.sin(phase)
        bend = 0.1 + self._gait.knee_lift * max(0.0, math.cos(phase))
        knee = _turned((0.0, 0.0), 0.25 * h, swing + bend / 3)
        return knee, _turned(knee, 0.25 * h, swing - bend * 2 / 3)

    def _hip_height(self) -> float:
        lowest = min(self._leg(phase)[1][1] for phase in (self._phase, self._phase + math.pi))
        return 0.03 * self._person.height_m - lowest

    def _tilted(self, up_m: float) -> tuple[float, float]:
        return (up_m * math.sin(self._gait.lean), up_m * math.cos(self._gait.lean))

    def _points(self, joints: list[tuple[float, float]], offset_m: float) -> list[Point]:
        return [(along, offset_m, rise + self._hip_m) for along, rise in joints]


def _turned(joint: tuple[float, float], length: float, angle: float) -> tuple[float, float]:
    """End of a limb that hangs from ``joint``, ``angle`` forward of straight down."""
    return (joint[0] + length * math.sin(angle), joint[1] - length * math.cos(angle))
