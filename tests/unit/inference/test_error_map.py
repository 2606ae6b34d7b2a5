"""What is unforeseen counts the more, the faster it moves for its place in the image."""

# mypy: disable-error-code="arg-type, list-item"
# `Result` has what is read of a `ClipResult`, no more.

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles.calibration import SpeedScale
from inference.error_map import (
    MIN_SHARE_OF_MEAN,
    MIN_SPEED_PX,
    PATCH_CELLS,
    patch_means,
    speed_scale_of,
    weigh_errors,
    weighed,
)

ROWS, COLUMNS = 12, 16
LEVEL = SpeedScale(top_px=2.0, bottom_px=2.0)
PERSPECTIVE = SpeedScale(top_px=1.0, bottom_px=3.0)


def cells(value: float) -> np.ndarray:
    return np.full((ROWS, COLUMNS), value, np.float32)


@dataclass
class Result:
    """What a network measured, as far as an irregularity needs it."""

    cell_errors_RS: np.ndarray
    cell_speeds_RS: np.ndarray
    feature_distance: float = 2.0
    psnr_db: float = 31.0
    regular_score: float = 0.02


def moving(speed_of_row: np.ndarray, columns: slice = slice(0, 4)) -> Result:
    """A still scene in which some columns move, each row at its own speed."""
    speeds = cells(0.0)
    speeds[:, columns] = speed_of_row[:, None]
    return Result(cells(0.0), speeds)


def test_without_a_scale_errors_count_as_they_are() -> None:
    errors = np.random.default_rng(0).uniform(0, 1, (ROWS, COLUMNS)).astype(np.float32)
    found = weigh_errors(Result(errors, cells(9.0)), None)
    assert np.array_equal(found.map_RS, patch_means(errors))
    measures = found.measures
    assert (measures.psnr_db, measures.feature_distance, measures.regular_score) == (31.0, 2.0, 0.02)
    assert measures.patch_error == found.map_RS.max()


@pytest.mark.parametrize(("speed", "factor"), [(0.0, 1.0), (2.0, 2.0), (6.0, 10.0)])
def test_at_the_scale_an_error_counts_twice(speed: float, factor: float) -> None:
    assert weighed(cells(0.25), cells(speed), LEVEL) == pytest.approx(cells(0.5 * factor))


def test_far_things_count_more_than_near_ones_of_the_same_error() -> None:
    still = weighed(cells(0.25), cells(0.0), PERSPECTIVE)
    assert still[0, 0] == pytest.approx(0.5 * 2.0 / 1.0)
    assert still[-1, 0] == pytest.approx(0.5 * 2.0 / 3.0)
    at_walking_pace = weighed(cells(0.25), np.linspace(1, 3, ROWS, dtype=np.float32)[:, None] * cells(1.0), PERSPECTIVE)
    assert at_walking_pace == pytest.approx(2 * still)


def test_of_two_equal_errors_the_faster_is_the_peak() -> None:
    errors, speeds = cells(0.0), cells(0.0)
    errors[1:4, 1:4] = errors[7:11, 11:15] = 0.1
    speeds[7:11, 11:15] = 3.0
    found = weigh_errors(Result(errors, speeds), LEVEL)
    row, column = np.unravel_index(found.map_RS.argmax(), found.map_RS.shape)
    assert row >= 3
    assert column >= 5


def test_speed_alone_is_no_irregularity() -> None:
    assert weigh_errors(Result(cells(0.0), cells(50.0)), PERSPECTIVE).measures.patch_error == 0.0


def test_patches_are_means_at_half_overlap() -> None:
    errors = np.arange(ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS)
    found = patch_means(errors)
    assert found.shape == (5, 7)
    assert found[0, 0] == pytest.approx(errors[:PATCH_CELLS, :PATCH_CELLS].mean())
    assert found[4, 6] == pytest.approx(errors[-PATCH_CELLS:, -PATCH_CELLS:].mean())


def test_an_image_smaller_than_a_patch_is_one_patch() -> None:
    assert patch_means(np.arange(6, dtype=np.float32).reshape(2, 3)) == pytest.approx(np.array([[2.5]]))


def test_scale_follows_perspective_wherever_people_walk() -> None:
    """Only rows 4 to 8 see traffic, and of unequal amount; the line is theirs, still cells do not slow it."""
    line = np.linspace(1.0, 3.0, ROWS)
    speed_of_row = np.where((np.arange(ROWS) >= 4) & (np.arange(ROWS) < 9), line, 0.0)
    busy = moving(speed_of_row)
    busy.cell_speeds_RS[4:6, 4:12] = line[4:6, None]
    found = speed_scale_of([busy, busy])
    assert found is not None
    assert found.top_px == pytest.approx(1.0, abs=1e-3)
    assert found.bottom_px == pytest.approx(3.0, abs=1e-3)


def test_scale_is_the_root_mean_square_of_what_moves() -> None:
    found = speed_scale_of([moving(np.full(ROWS, 3.0)), moving(np.full(ROWS, 4.0))])
    assert found is not None
    assert found.top_px == pytest.approx(np.sqrt(12.5))
    assert found.bottom_px == pytest.approx(np.sqrt(12.5))


def test_scale_stays_positive_where_the_line_would_not() -> None:
    found = speed_scale_of([moving(np.where(np.arange(ROWS) > 6, np.arange(ROWS) - 6.0, 0.0))])
    assert found is not None
    assert 0 < found.top_px < found.bottom_px
    faster_than_average = np.arange(2, 6)  # the root mean square of all cells, still ones included, is 1.07
    assert found.top_px == pytest.approx(MIN_SHARE_OF_MEAN * np.sqrt(np.mean(faster_than_average**2)))


def test_scale_of_one_moving_row_is_level() -> None:
    found = speed_scale_of([moving(np.where(np.arange(ROWS) == 5, 2.0, 0.0))])
    assert found is not None
    assert [found.top_px, found.bottom_px] == pytest.approx([2.0, 2.0])


def test_rows_weigh_by_how_much_moves_in_them() -> None:
    """Three rows whose speeds lie on no line: the fit is least squares over cells, not over rows."""
    speeds = cells(0.0)
    speeds[0, :12], speeds[5, :1], speeds[11, :3] = 2.0, 5.0, 3.0
    found = speed_scale_of([Result(cells(0.0), speeds)])
    assert found is not None
    rows, values = np.repeat([0, 5, 11], [12, 1, 3]), np.repeat([2.0, 5.0, 3.0], [12, 1, 3])
    slope, intercept = np.polyfit(rows, values, 1)
    assert (found.top_px, found.bottom_px) == pytest.approx((intercept, intercept + 11 * slope))


def test_slow_cells_beside_fast_ones_do_not_count_as_moving() -> None:
    """A cell must be faster than the root mean square of all: leaves that tremble are not the traffic."""
    speeds = cells(0.0)
    speeds[:, 0], speeds[:, 1:4] = 4.0, 0.1
    found = speed_scale_of([Result(cells(0.0), speeds)])
    assert found is not None
    assert (found.top_px, found.bottom_px) == pytest.approx((4.0, 4.0))


def test_at_the_speed_of_noise_nothing_moves() -> None:
    limit = np.full(ROWS, MIN_SPEED_PX)
    assert speed_scale_of([moving(0.99 * limit, slice(0, 1))]) is None
    assert speed_scale_of([moving(1.01 * limit, slice(0, 1))]) is not None


def test_still_footage_has_no_scale() -> None:
    assert speed_scale_of([moving(np.zeros(ROWS)), moving(np.full(ROWS, 0.001))]) is None


@given(st.floats(0.0, 20.0), st.floats(0.0, 20.0))
def test_faster_is_never_less_irregular(one: float, other: float) -> None:
    slow, fast = sorted((one, other))
    errors = cells(0.1)
    assert (weighed(errors, cells(fast), PERSPECTIVE) >= weighed(errors, cells(slow), PERSPECTIVE)).all()
