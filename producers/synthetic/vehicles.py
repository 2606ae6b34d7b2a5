"""What does not belong on the walkway: a bicycle, a cart, and a bag that stands alone."""

import math

from producers.synthetic.body import Person
from producers.synthetic.drawing import Face, Figure, Point, Shape, Stance, Stroke, Tone

_RUBBER: Tone = (24, 24, 26)
_STEEL: Tone = (70, 60, 150)
_WHEEL_M = 0.35
_SADDLE: Point = (-0.25, 0.0, 0.95)
_BAR: Point = (0.42, 0.0, 1.0)
_SHOULDER: Point = (0.18, 0.0, 1.42)
_PEDAL_TURN_M = 2.6
"""Metres a bicycle covers in one turn of the pedals."""


def _ring(along_m: float, across_m: float, radius_m: float) -> list[Point]:
    turns = [2 * math.pi * step / 16 for step in range(17)]
    return [(along_m + radius_m * math.cos(t), across_m, radius_m + radius_m * math.sin(t)) for t in turns]


def cyclist_figure(person: Person, stance: Stance) -> Figure:
    """A rider bent over a bicycle, legs turning."""
    rear, front, axle = (-0.55, 0.0, _WHEEL_M), (0.55, 0.0, _WHEEL_M), (-0.05, 0.0, 0.3)
    shapes: list[Shape] = [
        Stroke(_ring(-0.55, 0.0, _WHEEL_M), 0.035, _RUBBER),
        Stroke(_ring(0.55, 0.0, _WHEEL_M), 0.035, _RUBBER),
        Stroke([rear, axle, _SADDLE, _BAR, front], 0.035, _STEEL),
        Stroke([axle, _BAR], 0.035, _STEEL),
        Stroke([(_SADDLE[0], 0.0, _SADDLE[2] + 0.08), _SHOULDER], 0.15, person.coat),
        Stroke([(0.3, 0.0, 1.64)], 0.12, person.skin),
        Stroke([(0.28, 0.0, 1.69)], 0.115, person.hair),
    ]
    turn = 2 * math.pi * stance.distance_m / _PEDAL_TURN_M
    return Figure([*shapes, *_limbs(person, -0.12, turn), *_limbs(person, 0.12, turn + math.pi)], stance)


def _limbs(person: Person, side_m: float, turn: float) -> list[Shape]:
    """The rider's leg and arm of one side."""
    pedal = (-0.05 + 0.17 * math.cos(turn), side_m, 0.3 - 0.17 * math.sin(turn))
    knee = ((_SADDLE[0] + pedal[0]) / 2 + 0.26, side_m, (_SADDLE[2] + pedal[2]) / 2 + 0.12)
    hip = (_SADDLE[0], side_m, _SADDLE[2])
    arm = [(_SHOULDER[0], side_m, _SHOULDER[2]), (_BAR[0], side_m, _BAR[2])]
    return [Stroke([hip, knee, pedal], 0.075, person.trousers), Stroke(arm, 0.05, person.coat)]


def cart_figure(driver: Person, stance: Stance) -> Figure:
    """An open electric cart, 2.6 m long and 1.3 m wide, with a roof and a driver."""
    white, roof, dark = (226, 228, 228), (206, 208, 204), (62, 64, 70)
    shapes: list[Shape] = [*_box((-1.3, 1.3), 0.65, (0.3, 0.85), white)]
    shapes += _box((-1.1, 1.0), 0.68, (1.82, 1.92), roof)
    for along in (-0.85, 0.85):
        for across in (-0.66, 0.66):
            shapes.append(Face(_ring(along, across, 0.3), _RUBBER))
            shapes.append(Stroke([(along, across, 0.85), (along, across, 1.85)], 0.035, dark))
    shapes.append(Stroke([(-0.1, 0.0, 0.8), (-0.05, 0.0, 1.3)], 0.2, driver.coat))
    shapes.append(Stroke([(0.0, 0.0, 1.58)], 0.13, driver.skin))
    shapes.append(Stroke([(-0.02, 0.0, 1.64)], 0.12, driver.hair))
    return Figure(shapes, stance)


def bag_figure(stance: Stance, height_m: float = 0.0) -> Figure:
    """A big dark holdall, ``height_m`` above the ground (0 = left behind)."""
    top = height_m + 0.46
    handle = [(-0.2, 0.0, top), (-0.1, 0.0, top + 0.16), (0.1, 0.0, top + 0.16), (0.2, 0.0, top)]
    sides = _box((-0.45, 0.45), 0.24, (height_m, top), (44, 36, 56))
    return Figure([*sides, Stroke(handle, 0.03, (150, 160, 176))], stance)


def _box(length_m: tuple[float, float], half_width_m: float, rise_m: tuple[float, float], tone: Tone) -> list[Shape]:
    """The sides, shaded by where they point, then the lid."""
    (rear, front), (low, high) = length_m, rise_m
    corners = [(rear, -half_width_m), (front, -half_width_m), (front, half_width_m), (rear, half_width_m)]
    faces: list[Shape] = []
    for index, shade in enumerate((0.8, 0.66, 0.8, 0.66)):
        (a, b), (c, d) = corners[index], corners[(index + 1) % 4]
        side = [(a, b, low), (c, d, low), (c, d, high), (a, b, high)]
        faces.append(Face(side, (int(tone[0] * shade), int(tone[1] * shade), int(tone[2] * shade))))
    faces.append(Face([(a, b, high) for a, b in corners], tone))
    return faces
