"""Where on a map of patches it is unusual: connected groups of high patches, and boxes around them.

Dimensions: R x S patches.
"""

import cv2
import numpy as np

from schemas.arrays import Bool, Float32

PLACE_LEVEL = 0.5
"""A place is a connected group of patches with at least this share of the worst patch's irregularity."""


def unusual_places(map_RS: Float32) -> list[Bool]:
    """The groups of patches, each (R, S), the one with the worst patch first; none on a map without irregularity.

    Args:
        map_RS: irregularity, >= 0.
    """
    worst = float(map_RS.max())
    if worst <= 0:
        return []
    count, labels_RS = cv2.connectedComponents((map_RS >= PLACE_LEVEL * worst).astype(np.uint8), connectivity=8)
    places = [labels_RS == label for label in range(1, count)]
    return sorted(places, key=lambda place_RS: -float(map_RS[place_RS].max()))


def box_of(place_RS: Bool) -> tuple[float, float, float, float]:
    """Around a place: x, y, width, height as shares of the image, [0, 1]."""
    rows, columns = place_RS.shape
    down, across = np.flatnonzero(place_RS.any(axis=1)), np.flatnonzero(place_RS.any(axis=0))
    return (
        float(across[0] / columns),
        float(down[0] / rows),
        float((across[-1] + 1 - across[0]) / columns),
        float((down[-1] + 1 - down[0]) / rows),
    )
