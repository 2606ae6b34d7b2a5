"""The map shows where; the boxes cover it."""

import numpy as np
from hypothesis import given
from hypothesis.extra.numpy import arrays

from workers.heatmap import MAX_REGIONS, heat_map, regions


def grid(*cells: tuple[int, int, float], shape: tuple[int, int] = (6, 10)) -> np.ndarray:
    errors = np.full(shape, 0.001, np.float32)
    for row, column, value in cells:
        errors[row, column] = value
    return errors


def test_the_worst_patch_is_255_and_rows_go_top_to_bottom() -> None:
    found = heat_map(grid((1, 2, 0.2)))
    assert (found.rows, found.columns) == (6, 10)
    assert found.values.index(255) == 1 * 10 + 2


def test_a_group_of_high_patches_is_one_box() -> None:
    (region,) = regions(grid((1, 2, 0.2), (1, 3, 0.15), (2, 3, 0.12)))
    assert np.allclose(region.box, (0.2, 1 / 6, 0.2, 2 / 6))
    assert region.score == 1.0


def test_separate_groups_are_separate_boxes_worst_first() -> None:
    found = regions(grid((0, 0, 0.15), (5, 9, 0.2)))
    assert [round(region.score, 2) for region in found] == [1.0, 0.75]


def test_nothing_wrong_is_no_region() -> None:
    assert regions(np.zeros((6, 10), np.float32)) == ()
    assert set(heat_map(np.zeros((6, 10), np.float32)).values) == {0}


@given(arrays(np.float32, (5, 7), elements={"min_value": 0, "max_value": 1}))
def test_boxes_lie_in_the_image_and_the_list_is_bounded(errors: np.ndarray) -> None:
    found = regions(errors)
    assert len(found) <= MAX_REGIONS
    for region in found:
        x, y, width, height = region.box
        assert x + width <= 1 + 1e-6
        assert y + height <= 1 + 1e-6
        assert min(width, height) > 0


def test_half_of_the_worst_is_still_a_region_and_less_is_not() -> None:
    assert len(regions(grid((0, 0, 0.5), (5, 9, 0.25)))) == 2
    assert len(regions(grid((0, 0, 0.5), (5, 9, 0.249)))) == 1


def test_patches_that_touch_at_a_corner_are_one_region() -> None:
    (region,) = regions(grid((1, 1, 0.2), (2, 2, 0.2), (3, 1, 0.2)))
    assert np.allclose(region.box, (0.1, 1 / 6, 0.2, 3 / 6))


def test_of_many_regions_the_worst_are_named_in_their_order() -> None:
    values = [0.14, 0.2, 0.12, 0.18, 0.16, 0.13]
    found = regions(grid(*((2 * (n % 3), 4 * (n // 3), value) for n, value in enumerate(values))))
    assert [round(region.score, 2) for region in found] == [1.0, 0.9, 0.8, 0.7, 0.65]


def test_a_map_has_256_levels_of_its_own_worst() -> None:
    found = heat_map(np.array([[0.0, 4.0], [2.0, 1.0]], np.float32))
    assert found.values == (0, 255, 128, 64)
