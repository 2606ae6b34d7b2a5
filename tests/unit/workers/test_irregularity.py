"""What is unforeseen counts the more, the faster it moves."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.irregularity import (
    MIN_SPEED_SCALE,
    PATCH_CELLS,
    irregularity_of,
    patch_means,
    speed_scale_of,
    weighed,
)


def cells(value: float, rows: int = 12, columns: int = 16) -> np.ndarray:
    return np.full((rows, columns), value, np.float32)


@dataclass
class Result:
    """What a network measured, as far as an irregularity needs it."""

    cell_errors_RS: np.ndarray
    cell_speeds_RS: np.ndarray
    feature_map_RS: np.ndarray = field(default_factory=lambda: np.array([[1.0, 3.0]], np.float32))
    psnr_db: float = 31.0
    regular_score: float = 0.02


def test_without_a_scale_errors_count_as_they_are() -> None:
    errors = np.random.default_rng(0).uniform(0, 1, (12, 16)).astype(np.float32)
    found = irregularity_of(Result(errors, cells(9.0)), None)
    assert np.array_equal(found.map_RS, patch_means(errors))
    measures = found.measures
    assert (measures.psnr_db, measures.feature_distance, measures.regular_score) == (31.0, 2.0, 0.02)
    assert measures.patch_error == found.map_RS.max()


def test_at_the_scale_an_error_counts_twice() -> None:
    assert weighed(cells(0.5), cells(2.0), 2.0) == pytest.approx(cells(1.0))
    assert weighed(cells(0.5), cells(6.0), 2.0) == pytest.approx(cells(5.0))
    assert weighed(cells(0.5), cells(0.0), 2.0) == pytest.approx(cells(0.5))


def test_of_two_equal_errors_the_faster_is_the_peak() -> None:
    errors, speeds = cells(0.0), cells(0.0)
    errors[1:4, 1:4] = errors[7:11, 11:15] = 0.1
    speeds[7:11, 11:15] = 3.0
    found = irregularity_of(Result(errors, speeds), 1.0)
    row, column = np.unravel_index(found.map_RS.argmax(), found.map_RS.shape)
    assert row >= 3
    assert column >= 5


def test_speed_alone_is_no_irregularity() -> None:
    assert irregularity_of(Result(cells(0.0), cells(50.0)), 1.0).measures.patch_error == 0.0


def test_patches_are_means_at_half_overlap() -> None:
    errors = np.arange(12 * 16, dtype=np.float32).reshape(12, 16)
    found = patch_means(errors)
    assert found.shape == (5, 7)
    assert found[0, 0] == pytest.approx(errors[:PATCH_CELLS, :PATCH_CELLS].mean())
    assert found[4, 6] == pytest.approx(errors[-PATCH_CELLS:, -PATCH_CELLS:].mean())


def test_an_image_smaller_than_a_patch_is_one_patch() -> None:
    errors = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert patch_means(errors) == pytest.approx(np.array([[2.5]]))


def test_scale_is_the_root_mean_square_speed() -> None:
    results = [Result(cells(0.0), cells(3.0)), Result(cells(0.0), cells(4.0))]
    assert speed_scale_of(results) == pytest.approx(np.sqrt(12.5))
    assert speed_scale_of([Result(cells(0.0), cells(0.0))]) == MIN_SPEED_SCALE


@given(st.floats(0.01, 5.0), st.floats(0.0, 20.0), st.floats(0.0, 20.0))
def test_faster_is_never_less_irregular(scale: float, slow: float, fast: float) -> None:
    slow, fast = sorted((slow, fast))
    errors = cells(0.1)
    assert (weighed(errors, cells(fast), scale) >= weighed(errors, cells(slow), scale)).all()
