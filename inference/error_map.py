"""Where and how much a frame departs from its prediction: the map an operator sees, and the numbers a score is made of.

What the network did not foresee counts the more, the faster it moves compared with what moves on normal video at that
height of the image, and the less, the nearer to the camera it is, where things are larger and faster:

    map = mean over a patch of  sqrt(e) * (1 + (v / v0)^2) * mean(v0) / v0,      v0 = v0(row), a straight line

with e the squared error and v the speed of a cell. v0 is the root mean square speed of moving cells on normal video; a
line, because perspective is one, and because a free value per row would follow where people happen to walk. An anomaly
that stands still, or a flash, counts by its error alone.

Dimensions: R x S cells or patches, rows top to bottom.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bundles.calibration import SpeedScale
from inference.engine import ClipResult
from inference.scoring import FrameMeasures
from networks.measures import CELL_PX
from schemas.arrays import Float32, Float64

PATCH_CELLS = 16 // CELL_PX
"""Patches are 16 pixels wide, at half overlap."""
PATCH_STEP = PATCH_CELLS // 2
MIN_SPEED_PX = 0.05
"""Below, optical flow is noise."""
MIN_SHARE_OF_MEAN = 0.3
"""Least value of the line, as a share of its mean: extrapolated to rows where nothing moves, it must stay positive."""


@dataclass(frozen=True, slots=True, eq=False)
class Irregularity:
    """Of one frame: the numbers for its score, and the map they come from, (R, S), >= 0, high = irregular.

    Attributes:
        teaches: whether it may be remembered as normal, as far as operators have spoken.
    """

    measures: FrameMeasures
    map_RS: Float32
    teaches: bool = True


def weigh_errors(result: ClipResult, scale: SpeedScale | None) -> Irregularity:
    """Weigh one frame's errors.

    Args:
        result: what was measured.
        scale: v0, from the calibration; None = squared errors as they are.
    """
    map_RS = patch_means(weighed(result.cell_errors_RS, result.cell_speeds_RS, scale))
    worst = float(map_RS.max())
    return Irregularity(FrameMeasures(result.psnr_db, result.feature_distance, result.regular_score, worst), map_RS)


def weighed(errors_RS: Float32, speeds_RS: Float32, scale: SpeedScale | None) -> Float32:
    """The formula above, per cell, of one frame or of many."""
    if scale is None:
        return errors_RS
    line_R1 = np.linspace(scale.top_px, scale.bottom_px, errors_RS.shape[-2])[:, None]
    weights_RS = (1.0 + np.square(speeds_RS / line_R1)) * (line_R1.mean() / line_R1)
    return np.asarray(np.sqrt(errors_RS) * weights_RS, dtype=np.float32)


def patch_means(cells_RS: Float32) -> Float32:
    """Means of overlapping square patches of ``PATCH_CELLS``; of the whole image where it is smaller than a patch."""
    rows, columns = (min(PATCH_CELLS, size) for size in cells_RS.shape)
    windows = sliding_window_view(cells_RS, (rows, columns))[::PATCH_STEP, ::PATCH_STEP]
    return np.asarray(windows.mean(axis=(2, 3)), dtype=np.float32)


def speed_scale_of(results: Sequence[ClipResult]) -> SpeedScale | None:
    """v0 of normal footage: a line through the rows' root mean square speeds, each weighed by how much moves there.

    A cell moves if it is faster than the root mean square of all cells. None where nothing does.
    """
    return line_of(np.stack([result.cell_speeds_RS for result in results]))


def line_of(speeds_FRS: Float32) -> SpeedScale | None:
    """The same of the speeds alone, (F, R, S)."""
    speeds_FRS = speeds_FRS.astype(np.float64)
    moving_FRS = speeds_FRS > max(float(np.sqrt(np.square(speeds_FRS).mean())), MIN_SPEED_PX)
    counts_R = moving_FRS.sum(axis=(0, 2))
    if not counts_R.any():
        return None
    squares_R = np.square(speeds_FRS, where=moving_FRS, out=np.zeros_like(speeds_FRS)).sum(axis=(0, 2))
    line_R = _line(np.sqrt(squares_R / np.maximum(counts_R, 1)), counts_R)
    least = MIN_SHARE_OF_MEAN * np.sqrt(squares_R.sum() / counts_R.sum())
    return SpeedScale(top_px=max(line_R[0], least), bottom_px=max(line_R[-1], least))


def _line(values_R: Float64, counts_R: NDArray[np.int64]) -> Float64:
    """Weighted least squares; level where only one row has a count."""
    rows_R = np.arange(len(values_R))
    degree = min(1, np.count_nonzero(counts_R) - 1)
    return np.asarray(np.polyval(np.polyfit(rows_R, values_R, degree, w=np.sqrt(counts_R)), rows_R))
