"""Areas of an image, in fractions of it: polygons and boxes as people write them, and the zones a box lies in."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, WithJsonSchema

from schemas.settings.section import from_json_text

Fraction = Annotated[float, Field(ge=0, le=1)]
Corner = tuple[Fraction, Fraction]
Polygon = tuple[Corner, ...]
"""Corners (x, y), (0, 0) = upper left, at least three."""
Box = tuple[float, float, float, float]
"""x, y, width, height."""

LEAST_SHARE = 0.25
"""A box lies in a zone from this share on of the smaller of the two."""


def _as_corners(value: Any) -> Any:
    """A polygon as it is, and a box, four numbers, as its corners."""
    if _are_numbers(value, 4):
        x, y, width, height = value
        if not (0 <= x <= 1 and 0 <= y <= 1 and 0 < width <= 1 - x + 1e-9 and 0 < height <= 1 - y + 1e-9):
            text = "a box must be x, y, width, height in fractions and lie within the image"
            raise ValueError(f"{text}, not be {list(value)}")
        right, bottom = min(1.0, x + width), min(1.0, y + height)
        return ((x, y), (right, y), (right, bottom), (x, bottom))
    if not isinstance(value, list | tuple) or len(value) < 3 or not all(_are_numbers(corner, 2) for corner in value):
        text = "a shape must be a polygon [[x, y], …] with 3 corners or more, or a box [x, y, width, height]"
        raise ValueError(f"{text}, not {value!r:.60}")
    return value


def _are_numbers(value: Any, number: int) -> bool:
    is_list = isinstance(value, list | tuple) and len(value) == number
    return is_list and all(type(item) in (int, float) for item in value)


def _with_area(polygon: Polygon) -> Polygon:
    if area(polygon) == 0:
        raise ValueError(f"a shape must enclose something, not be a line: {[list(corner) for corner in polygon]}")
    return polygon


_Corners = Annotated[Polygon, Field(min_length=3)]
_SCHEMA = TypeAdapter(_Corners | tuple[Fraction, Fraction, Fraction, Fraction]).json_schema()

Shape = Annotated[_Corners, BeforeValidator(_as_corners), AfterValidator(_with_area), WithJsonSchema(_SCHEMA)]
"""A polygon, or a box x, y, width, height, which becomes one."""
Shapes = Annotated[tuple[Shape, ...], BeforeValidator(from_json_text)]
"""Several; text (environment, flag) is read as JSON, for example ``[[[0,0],[0.5,0],[0,0.5]], [0.8,0,0.2,0.1]]``."""


def area(polygon: Polygon) -> float:
    """Enclosed, as a share of the image; of a figure of eight the difference of its loops."""
    closed = (*polygon, *polygon[:1])
    return abs(sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in pairwise(closed))) / 2


def zones_of(box: Box, zones: Mapping[str, Polygon]) -> tuple[str, ...]:
    """Names of the zones that a box lies in, the one with the most of it first.

    It lies in a zone if the two share at least ``LEAST_SHARE`` of the smaller one's area.

    >>> zones_of((0.1, 0.1, 0.2, 0.2), {"door": ((0, 0), (0.5, 0), (0.5, 1)), "shelf": ((0.9, 0), (1, 0), (1, 1))})
    ('door',)
    """
    shared = {name: area(_clipped(zone, box)) for name, zone in zones.items()}
    found = [name for name in zones if shared[name] >= LEAST_SHARE * _smaller(box, zones[name]) > 0]
    return tuple(sorted(found, key=lambda name: -shared[name]))


def _smaller(box: Box, zone: Polygon) -> float:
    return min(box[2] * box[3], area(zone))


def _clipped(polygon: Polygon, box: Box) -> Polygon:
    """What of ``polygon`` lies in ``box``, one side of the box after the other (Sutherland and Hodgman)."""
    x, y, width, height = box
    for axis, bound, sign in ((0, x, 1), (0, x + width, -1), (1, y, 1), (1, y + height, -1)):
        polygon = _beyond(polygon, axis, bound, sign)
    return polygon


def _beyond(polygon: Polygon, axis: int, bound: float, sign: int) -> Polygon:
    """What lies on the side of ``bound`` to which ``sign`` points."""
    kept: list[Corner] = []
    for before, corner in pairwise((*polygon[-1:], *polygon)):
        was_in, is_in = ((point[axis] - bound) * sign >= 0 for point in (before, corner))
        if was_in != is_in:
            share = (bound - before[axis]) / (corner[axis] - before[axis])
            x, y = (first + (second - first) * share for first, second in zip(before, corner, strict=True))
            kept.append((x, y))
        if is_in:
            kept.append(corner)
    return tuple(kept)
