"""Where in the image a frame stood out: a coarse map for people, and boxes for programs.

Both on one scale for all events, ``memory_store.exemplar.shares_of``, of the spreads that a patch lies above the worst
patch of a usual frame (``inference.explaining``). It never saturates, so that of two places the worse is always seen.
"""

import cv2
import numpy as np

from memory_store.exemplar import levels_of, shares_of
from schemas.arrays import Float32, Float64
from schemas.messages import HeatMap, Region

REGION_LEVEL = 0.5
"""A region is a connected group of patches with at least this share of the worst patch's irregularity."""
MAX_REGIONS = 5


def heat_map(spreads_RS: Float64) -> HeatMap:
    """Quantise a map of spreads to 0..255."""
    rows, columns = spreads_RS.shape
    return HeatMap(rows=rows, columns=columns, values=tuple(levels_of(spreads_RS).ravel().tolist()), scale="common")


def regions(map_RS: Float32, spreads_RS: Float64) -> tuple[Region, ...]:
    """Boxes around connected groups of high patches, worst first; box = x, y, width, height in [0, 1].

    Behind the first, only what is worse than usual is a region.

    Args:
        map_RS: irregularity of patches, >= 0.
        spreads_RS: the same in spreads.
    """
    worst = float(map_RS.max())
    if worst <= 0:
        return ()
    rows, columns = map_RS.shape
    high_RS = (map_RS >= REGION_LEVEL * worst).astype(np.uint8)
    count, labels_RS, stats, _ = cv2.connectedComponentsWithStats(high_RS, connectivity=8)
    shares_RS = shares_of(spreads_RS)
    worst_first = sorted(range(1, count), key=lambda label: -float(map_RS[labels_RS == label].max()))
    found = [
        Region(
            box=(
                float(stats[label, cv2.CC_STAT_LEFT] / columns),
                float(stats[label, cv2.CC_STAT_TOP] / rows),
                float(stats[label, cv2.CC_STAT_WIDTH] / columns),
                float(stats[label, cv2.CC_STAT_HEIGHT] / rows),
            ),
            score=float(shares_RS[labels_RS == label].max()),
        )
        for label in worst_first
    ]
    return tuple(region for n, region in enumerate(found[:MAX_REGIONS]) if n == 0 or region.score > 0)
