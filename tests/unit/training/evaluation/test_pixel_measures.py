"""ROC over pixels, counted in bins, and maps at the size of the footage."""

import numpy as np
import pytest
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
