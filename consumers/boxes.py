"""Boxes around what is unusual, drawn on a picture."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.messages import Region

RED = (60, 60, 220)


def with_boxes(image: NDArray[np.uint8], regions: Sequence[Region]) -> NDArray[np.uint8]:
    """A copy of a picture, uint8 (H, W, 3) BGR, with the regions' boxes; the first, the worst, lies over the others."""
    drawn = np.array(image)
    height, width = drawn.shape[:2]
    thickness = max(2, round(min(width, height) / 240))
    for region in reversed(regions):
        x, y, w, h = region.box
        begin, end = (round(x * width), round(y * height)), (round((x + w) * width) - 1, round((y + h) * height) - 1)
        cv2.rectangle(drawn, begin, end, RED, thickness)
    return drawn
