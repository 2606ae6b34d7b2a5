"""The map shows where on a scale that is the same for all events; the boxes cover it."""

import numpy as np
from hypothesis import given
from hypothesis.extra.numpy import arrays

from memory_store.exemplar import HALF_AT
from schemas.messages import Region
from workers.heatmap import MAX_REGIONS, heat_map, regions


def grid(*cells: tuple[int, int, float], shape: tuple[int, int] = (6, 10)) -> np.ndarray:
    errors = np.full(shape, 0.001, np.float32)
    for row, column, value in cells:
        errors[row, column] = value
    return errors


def spreads(errors: np.ndarray) -> np.ndarray:
    """As if the worst patch of a usual frame were 0.1, and ten times as much ten spreads more."""
    return 10 * np.log10(np.maximum(errors, 1e-10) / 0.1)


def boxes(errors: np.ndarray) -> tuple[Region, ...]:
    return regions(errors, spreads(errors))


def test_a_map_is_read_from_top_to_bottom_and_the_worst_place_is_the_highest() -> None:
    found = heat_map(spreads(grid((1, 2, 0.2))))
    assert (found.rows, found.columns, found.scale) == (6, 10, "common")
    assert found.values.index(max(found.values)) == 1 * 10 + 2


def test_the_scale_is_the_same_whatever_else_is_in_the_frame() -> None:
    values = heat_map(np.array([[-3.0, 0.0, HALF_AT], [3 * HALF_AT, 1e12, 1.0]])).values
    assert values == (0, 0, 128, 191, 255, 51)
    assert [heat_map(np.array([[each]])).values[0] for each in (HALF_AT, 1.0)] == [128, 51]


def test_spreads_can_be_read_back_from_the_map() -> None:
    for known in (0.5, 2.0, 5.0, 20.0):
        (level,) = heat_map(np.array([[known]])).values
        assert np.isclose(HALF_AT * level / (255 - level), known, rtol=0.05)


def test_a_group_of_high_patches_is_one_box() -> None:
    (region,) = boxes(grid((1, 2, 0.2), (1, 3, 0.15), (2, 3, 0.12)))
    assert np.allclose(region.box, (0.2, 1 / 6, 0.2, 2 / 6))
    z = 10 * np.log10(2)
    assert np.isclose(region.score, z / (z + HALF_AT))


def test_separate_groups_are_separate_boxes_worst_first() -> None:
    found = boxes(grid((0, 0, 0.15), (5, 9, 0.2)))
    assert [round(region.box[0], 1) for region in found] == [0.9, 0.0]
    assert found[0].score > found[1].score > 0


def test_behind_the_first_only_what_is_worse_than_usual_is_a_region() -> None:
    assert [region.box[0] for region in boxes(grid((0, 0, 0.09), (5, 9, 0.15)))] == [0.9]
    (first,) = boxes(grid((0, 0, 0.08), (5, 9, 0.09)))
    assert (first.box[0], first.score) == (0.9, 0.0), "somewhere the event was seen"


def test_nothing_wrong_is_no_region() -> None:
    assert boxes(np.zeros((6, 10), np.float32)) == ()
    assert set(heat_map(spreads(np.zeros((6, 10), np.float32))).values) == {0}


@given(arrays(np.float32, (5, 7), elements={"min_value": 0, "max_value": 1}))
def test_boxes_lie_in_the_image_and_the_list_is_bounded(errors: np.ndarray) -> None:
    found = boxes(errors)
    assert len(found) <= MAX_REGIONS
    assert [region.score for region in found] == sorted((region.score for region in found), reverse=True)
    for region in found:
        x, y, width, height = region.box
        assert x + width <= 1 + 1e-6
        assert y + height <= 1 + 1e-6
        assert min(width, height) > 0


def test_half_of_the_worst_is_still_a_region_and_less_is_not() -> None:
    assert len(boxes(grid((0, 0, 0.5), (5, 9, 0.25)))) == 2
    assert len(boxes(grid((0, 0, 0.5), (5, 9, 0.249)))) == 1


def test_patches_that_touch_at_a_corner_are_one_region() -> None:
    (region,) = boxes(grid((1, 1, 0.2), (2, 2, 0.2), (3, 1, 0.2)))
    assert np.allclose(region.box, (0.1, 1 / 6, 0.2, 3 / 6))


def test_of_many_regions_the_worst_are_named_in_their_order() -> None:
    values = [0.14, 0.2, 0.12, 0.18, 0.16, 0.13]
    found = boxes(grid(*((2 * (n % 3), 4 * (n // 3), value) for n, value in enumerate(values))))
    scores = [10 * np.log10(value / 0.1) for value in (0.2, 0.18, 0.16, 0.14, 0.13)]
    assert np.allclose([region.score for region in found], [z / (z + HALF_AT) for z in scores], atol=1e-6)
