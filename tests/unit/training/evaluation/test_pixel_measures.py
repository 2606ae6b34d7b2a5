"""ROC over pixels, counted in bins, and maps at the size of the footage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from inference.error_map import patch_means
from training.evaluation.measures import BINS_PER_OCTAVE, PixelCounts, enlarged


def counted(values: np.ndarray, masks: np.ndarray) -> PixelCounts:
    counts = PixelCounts()
    for value, mask in zip(values, masks, strict=True):
        counts.add(value, mask)
    return counts


def test_auc_is_sklearns_within_the_width_of_a_bin() -> None:
    random = np.random.default_rng(0)
    masks = (random.random((5, 20, 30)) < 0.1).astype(np.uint8)
    values = np.exp(random.normal(size=masks.shape) - 9 + 0.8 * masks).astype(np.float32)
    wanted = roc_auc_score(masks.ravel(), values.ravel())
    assert counted(values, masks).auc() == pytest.approx(wanted, abs=1e-3)


def test_auc_is_exact_for_values_in_bins_of_their_own() -> None:
    random = np.random.default_rng(1)
    values = np.exp2(random.integers(-300, 300, (4, 12, 12)) / BINS_PER_OCTAVE + 0.5 / BINS_PER_OCTAVE)
    masks = (random.random(values.shape) < 0.3).astype(np.uint8)
    wanted = roc_auc_score(masks.ravel(), values.ravel())
    assert counted(values.astype(np.float32), masks).auc() == pytest.approx(wanted, rel=1e-12)


def test_zeros_and_huge_values_are_counted() -> None:
    values = np.array([[0.0, 0.0, 1e-30, 1e30]], np.float32)
    assert counted(values[None], np.array([[[0, 0, 0, 1]]])).auc() == 1.0
    assert counted(values[None], np.array([[[1, 0, 0, 0]]])).auc() == pytest.approx((1 + 1) / 2 / 3)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_auc(label: int) -> None:
    assert counted(np.ones((1, 2, 2), np.float32), np.full((1, 2, 2), label)).auc() is None


def test_a_map_is_highest_where_the_error_was() -> None:
    """A single bright cell of 4 px, through patches and back to twice the size of the model's image."""
    cells = np.zeros((16, 24), np.float32)
    cells[10, 5] = 1.0
    large = enlarged(patch_means(cells), 128, 192)
    assert large.shape == (128, 192)
    y, x = np.argwhere(large > 0.99 * large.max()).mean(axis=0)  # the two patches that hold it, and what lies between
    assert (y, x) == pytest.approx((10.5 * 8, 5.5 * 8), abs=5)


def test_a_ramp_stays_where_it_is() -> None:
    """Patch means of a straight line lie on it, so enlarging gives it back, but for the margin of half a patch."""
    cells = np.repeat(np.arange(24, dtype=np.float32)[None], 16, axis=0)
    large = enlarged(patch_means(cells), 64, 96)
    inner = np.arange(8, 88)
    assert large[30, inner] == pytest.approx((inner + 0.5) / 4 - 0.5, abs=1e-4)
    assert large[30, 0] == large[30, 7]


def test_a_single_patch_is_spread_over_all() -> None:
    assert (enlarged(np.full((1, 1), 3.0, np.float32), 5, 7) == 3.0).all()


def test_masks_of_255_mean_what_masks_of_1_mean() -> None:
    values = np.linspace(1e-4, 1e-1, 12, dtype=np.float32).reshape(1, 3, 4)
    masks = (np.arange(12).reshape(1, 3, 4) % 3 == 0).astype(np.uint8)
    assert counted(values, 255 * masks).auc() == counted(values, masks).auc()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_enlarging_keeps_levels_and_goes_by_rows_and_columns(
    rows: int, columns: int, height: int, width: int, seed: int
) -> None:
    """Each pixel is a mean of patches: no value beyond theirs, and rows are treated as columns are."""
    patches = np.random.default_rng(seed).uniform(0.5, 2.0, (rows, columns)).astype(np.float32)
    large = enlarged(patches, height, width)
    assert large.shape == (height, width)
    assert patches.min() - 1e-5 <= large.min() <= large.max() <= patches.max() + 1e-5
    assert np.allclose(enlarged(np.full_like(patches, 3.0), height, width), 3.0, atol=1e-5)
    assert np.allclose(enlarged(patches.T, width, height), large.T, atol=1e-5)


def test_between_two_patches_lies_their_mean() -> None:
    """Patches of four cells at half overlap: six cells; the centres are at a third and two thirds of the width."""
    large = enlarged(np.array([[1.0, 5.0]], np.float32), 1, 60)[0]
    assert large[:20] == pytest.approx(1.0, abs=1e-5)
    assert (large[29] + large[30]) / 2 == pytest.approx(3.0)
    assert large[40:] == pytest.approx(5.0, abs=1e-5)
    assert (np.diff(large[20:40]) > 0).all()
