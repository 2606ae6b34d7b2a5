"""Where in the image a frame stood out: a coarse map for people, and boxes for programs."""

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.messages import HeatMap, Region

Float32 = NDArray[np.float32]

REGION_LEVEL = 0.5
"""A region is a connected group of patches with at least this share of the worst patch's error."""
MAX_REGIONS = 5


def heat_map(patch_errors_RK: Float32) -> HeatMap:
    """Quantise a grid of patch errors (rows, columns), >= 0, to 0..255; 255 = the worst patch of this frame."""
    rows, columns = patch_errors_RK.shape
    levels = np.rint(255 * _relative(patch_errors_RK)).astype(int)
    return HeatMap(rows=rows, columns=columns, values=tuple(levels.ravel().tolist()))


def regions(patch_errors_RK: Float32) -> tuple[Region, ...]:
    """Boxes around connected groups of high patches, worst first; box = x, y, width, height in [0, 1]."""
    relative_RK = _relative(patch_errors_RK)
    rows, columns = relative_RK.shape
    high_RK = (relative_RK >= REGION_LEVEL).astype(np.uint8)
    count, labels_RK, stats, _ = cv2.connectedComponentsWithStats(high_RK, connectivity=8)
    found = [
        Region(
            box=(
                float(stats[label, cv2.CC_STAT_LEFT] / columns),
                float(stats[label, cv2.CC_STAT_TOP] / rows),
                float(stats[label, cv2.CC_STAT_WIDTH] / columns),
                float(stats[label, cv2.CC_STAT_HEIGHT] / rows),
            ),
            score=float(relative_RK[labels_RK == label].max()),
        )
        for label in range(1, count)
    ]
    return tuple(sorted(found, key=lambda region: -region.score)[:MAX_REGIONS])


def _relative(patch_errors_RK: Float32) -> Float32:
    worst = float(patch_errors_RK.max())
    return patch_errors_RK / worst if worst > 0 else np.zeros_like(patch_errors_RK)
