"""Where in the image a frame stood out: a coarse map for people, and boxes for programs."""

import cv2
import numpy as np

from schemas.arrays import Float32
from schemas.messages import HeatMap, Region

REGION_LEVEL = 0.5
"""A region is a connected group of patches with at least this share of the worst patch's error."""
MAX_REGIONS = 5


def heat_map(map_RS: Float32) -> HeatMap:
    """Quantise a map of irregularity, >= 0, to 0..255; 255 = the worst patch of this frame."""
    rows, columns = map_RS.shape
    levels = np.rint(255 * _relative(map_RS)).astype(int)
    return HeatMap(rows=rows, columns=columns, values=tuple(levels.ravel().tolist()))


def regions(map_RS: Float32) -> tuple[Region, ...]:
    """Boxes around connected groups of high patches, worst first; box = x, y, width, height in [0, 1]."""
    relative_RS = _relative(map_RS)
    rows, columns = relative_RS.shape
    high_RS = (relative_RS >= REGION_LEVEL).astype(np.uint8)
    count, labels_RS, stats, _ = cv2.connectedComponentsWithStats(high_RS, connectivity=8)
    found = [
        Region(
            box=(
                float(stats[label, cv2.CC_STAT_LEFT] / columns),
                float(stats[label, cv2.CC_STAT_TOP] / rows),
                float(stats[label, cv2.CC_STAT_WIDTH] / columns),
                float(stats[label, cv2.CC_STAT_HEIGHT] / rows),
            ),
            score=float(relative_RS[labels_RS == label].max()),
        )
        for label in range(1, count)
    ]
    return tuple(sorted(found, key=lambda region: -region.score)[:MAX_REGIONS])


def _relative(map_RS: Float32) -> Float32:
    worst = float(map_RS.max())
    return map_RS / worst if worst > 0 else np.zeros_like(map_RS)
