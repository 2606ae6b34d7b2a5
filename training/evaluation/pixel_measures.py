"""How well maps tell where an anomaly is: the ROC curve over the pixels of all scored frames.

A test set has more pixels than fit into memory, so they are counted in bins of the logarithm of their value.

Dimensions: R x S patches, H x W pixels.
"""

from dataclasses import dataclass, field

import numpy as np

from inference.irregularity import PATCH_CELLS, PATCH_STEP
from schemas.arrays import Float32, Float64, Int64, UInt8

NUM_BINS = 4096
BINS_PER_OCTAVE = 64
LOWEST_OCTAVE = -40
"""Values from 2^-40 to 2^24 are told apart if they differ by 1.1 %; lower and higher ones fall into the end bins."""


@dataclass(slots=True)
class PixelCounts:
    """Pixels by value, abnormal and normal ones apart; grows frame by frame."""

    abnormal: Int64 = field(default_factory=lambda: np.zeros(NUM_BINS, np.int64))
    normal: Int64 = field(default_factory=lambda: np.zeros(NUM_BINS, np.int64))

    def add(self, values_HW: Float32, mask_HW: UInt8) -> None:
        """Count the pixels of one frame.

        Args:
            values_HW: >= 0, high = anomalous.
            mask_HW: 1 = abnormal.
        """
        bins_HW = _bins(values_HW)
        everything = np.bincount(bins_HW.ravel(), minlength=NUM_BINS)
        abnormal = np.bincount(bins_HW[mask_HW != 0], minlength=NUM_BINS)
        self.abnormal += abnormal
        self.normal += everything - abnormal

    def auc(self) -> float | None:
        """Area under the ROC curve, in [0, 1]; pixels of one bin are ties. None where one class has no pixel."""
        pairs = int(self.abnormal.sum()) * int(self.normal.sum())
        if pairs == 0:
            return None
        below = np.cumsum(self.normal) - self.normal
        return float((self.abnormal.astype(np.float64) * (below + self.normal / 2)).sum() / pairs)


def enlarged(map_RS: Float32, height: int, width: int) -> Float32:
    """A map at the resolution of the footage, (H, W): bilinear between the centres of patches, constant beyond."""
    rows_HR, columns_WS = _weights(height, map_RS.shape[0]), _weights(width, map_RS.shape[1])
    return np.asarray(rows_HR @ map_RS @ columns_WS.T, dtype=np.float32)


def _weights(size: int, num_patches: int) -> Float64:
    """What each patch of a row contributes to each pixel."""
    num_cells = (num_patches - 1) * PATCH_STEP + PATCH_CELLS
    cells = (np.arange(size) + 0.5) * num_cells / size
    place = np.clip((cells - PATCH_CELLS / 2) / PATCH_STEP, 0, num_patches - 1)
    return np.maximum(0.0, 1.0 - np.abs(place[:, None] - np.arange(num_patches)))


def _bins(values_HW: Float32) -> Int64:
    with np.errstate(divide="ignore"):
        octaves_HW = np.log2(values_HW) - LOWEST_OCTAVE
    return np.asarray(np.clip(octaves_HW * BINS_PER_OCTAVE, 0, NUM_BINS - 1), dtype=np.int64)
