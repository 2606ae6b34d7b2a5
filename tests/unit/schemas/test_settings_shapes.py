"""Boxes and zones, by plain numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from schemas.settings.shapes import Box, Polygon, Shape, area, zones_of

LEFT: Polygon = ((0, 0), (0.5, 0), (0.5, 1), (0, 1))
RIGHT: Polygon = ((0.5, 0), (1, 0), (1, 1), (0.5, 1))
CORNER: Polygon = ((1, 1), (0.9, 1), (1, 0.9))
ANGLE: Polygon = ((0, 0), (1, 0), (1, 0.2), (0.2, 0.2), (0.2, 1), (0, 1))
"""Along the upper and the left side: not convex."""
ZONES = {"left": LEFT, "right": RIGHT, "corner": CORNER}


@pytest.mark.parametrize(
    ("box", "names"),
    [
        ((0.1, 0.1, 0.2, 0.2), ("left",)),
        ((0.375, 0.0, 0.25, 0.25), ("left", "right")),
        ((0.4375, 0.0, 0.25, 0.25), ("right", "left")),
        ((0.46, 0.1, 0.2, 0.2), ("right",)),  # a fifth of it is left of the middle: too little
        ((0.0, 0.0, 1.0, 1.0), ("left", "right", "corner")),  # holds them all
        ((0.95, 0.95, 0.05, 0.05), ("right", "corner")),
        ((0.5, 0.0, 0.0, 0.0), ()),
    ],
)
def test_a_box_lies_in_the_zones_it_shares_enough_with(box: Box, names: tuple[str, ...]) -> None:
    assert zones_of(box, ZONES) == names


def test_a_zone_need_not_be_convex() -> None:
    assert zones_of((0.4, 0.4, 0.4, 0.4), {"angle": ANGLE}) == ()
    assert zones_of((0.05, 0.5, 0.1, 0.3), {"angle": ANGLE}) == ("angle",)
    assert zones_of((0.1, 0.1, 0.2, 0.2), {"angle": ANGLE}) == ("angle",)


def test_without_zones_there_are_none() -> None:
    assert zones_of((0, 0, 1, 1), {}) == ()


SIDE = st.floats(0.01, 0.5)
PLACE = st.floats(0, 0.5)


@given(st.tuples(PLACE, PLACE, SIDE, SIDE), st.tuples(PLACE, PLACE, SIDE, SIDE))
def test_two_boxes_share_what_plain_arithmetic_says(box: Box, other: Box) -> None:
    zone = TypeAdapter(Shape).validate_python(other)
    wide, high = (min(box[n] + box[n + 2], other[n] + other[n + 2]) - max(box[n], other[n]) for n in (0, 1))
    share = max(0.0, wide) * max(0.0, high) / min(box[2] * box[3], other[2] * other[3])
    if abs(share - 0.25) > 1e-6:
        assert zones_of(box, {"zone": zone}) == (("zone",) if share > 0.25 else ())


@pytest.mark.parametrize("turns", range(4))
def test_the_area_does_not_depend_on_where_one_begins_nor_on_the_direction(turns: int) -> None:
    turned = (*LEFT[turns:], *LEFT[:turns])
    assert area(turned) == area(turned[::-1]) == 0.5
