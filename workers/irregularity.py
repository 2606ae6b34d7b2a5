"""Where and how much a frame departs from its prediction: the map an operator sees, and the numbers a score is made of.

What the network did not foresee counts the more, the faster it moves compared with what moves on normal video:

    map = mean over a patch of  e * (1 + (v / v0)^2)

with e the squared error and v the speed of a cell, and v0 the root mean square speed of all cells of normal video. An
anomaly that stands still, or a flash, counts by its error alone.

Dimensions: R x S cells or patches, rows top to bottom.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from networks.measures import CELL_PX
from workers.engine import ClipResult
from workers.scoring import FrameMeasures

Float32 = NDArray[np.float32]

PATCH_CELLS = 16 // CELL_PX
"""Patches are 16 pixels wide, at half overlap."""
PATCH_STEP = PATCH_CELLS // 2
MIN_SPEED_SCALE = 0.05
"""Pixels; below, optical flow is noise."""


@dataclass(frozen=True, slots=True, eq=False)
class Irregularity:
    """Of one frame: the numbers for its score, and the map they come from, (R, S), >= 0, high = irregular."""

    measures: FrameMeasures
    map_RS: Float32


def irregularity_of(result: ClipResult, speed_scale: float | None) -> Irregularity:
    """Weigh one frame's errors.

    Args:
        result: what the network measured.
        speed_scale: v0 in pixels, from the calibration; None = speeds do not count.
    """
    map_RS = patch_means(weighed(result.cell_errors_RS, result.cell_speeds_RS, speed_scale))
    distance = float(result.feature_map_RS.mean())
    return Irregularity(FrameMeasures(result.psnr_db, distance, result.regular_score, float(map_RS.max())), map_RS)


def weighed(errors_RS: Float32, speeds_RS: Float32, speed_scale: float | None) -> Float32:
    """Errors times 1 + (v / v0)^2, per cell."""
    if speed_scale is None:
        return errors_RS
    return np.asarray(errors_RS * (1.0 + np.square(speeds_RS / speed_scale)), dtype=np.float32)


def patch_means(cells_RS: Float32) -> Float32:
    """Means of overlapping square patches of ``PATCH_CELLS``; of the whole image where it is smaller than a patch."""
    rows, columns = (min(PATCH_CELLS, size) for size in cells_RS.shape)
    windows = sliding_window_view(cells_RS, (rows, columns))[::PATCH_STEP, ::PATCH_STEP]
    return np.asarray(windows.mean(axis=(2, 3)), dtype=np.float32)


def speed_scale_of(results: Iterable[ClipResult]) -> float:
    """v0: root mean square of all cells' speeds over normal footage, in pixels."""
    squares = [float(np.square(result.cell_speeds_RS).mean()) for result in results]
    return max(float(np.sqrt(np.mean(squares))), MIN_SPEED_SCALE)
