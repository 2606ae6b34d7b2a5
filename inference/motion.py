"""How fast things move in the image, by dense optical flow between two frames.

Dimensions: H x W pixels, K colours, R x S cells.
"""

import cv2
import numpy as np

from networks.measures import CELL_PX
from schemas.arrays import Float32, UInt8

PYRAMID_SCALE, LEVELS, WINDOW_PX, ITERATIONS = 0.5, 3, 11, 2
NEIGHBOURS, SMOOTHNESS = 5, 1.1
"""Farneback's method. At half the resolution it is four times as fast and sees people no longer."""


def newest_speeds(clip_THWK: UInt8) -> Float32:
    """``cell_speeds`` up to the newest frame of a clip; zero where the clip is a single frame."""
    return no_speeds(clip_THWK) if len(clip_THWK) == 1 else cell_speeds(clip_THWK[-2], clip_THWK[-1])


def no_speeds(clip_THWK: UInt8) -> Float32:
    """Zero in each cell, for whom speeds mean nothing."""
    return np.zeros([size // CELL_PX for size in clip_THWK.shape[1:3]], np.float32)


def cell_speeds(before_HWK: UInt8, after_HWK: UInt8) -> Float32:
    """Mean speed in each cell of ``CELL_PX`` pixels, (R, S), in pixels from one frame to the other, >= 0."""
    flow_HW2 = cv2.calcOpticalFlowFarneback(
        grey(before_HWK),
        grey(after_HWK),
        np.empty(0),
        PYRAMID_SCALE,
        LEVELS,
        WINDOW_PX,
        ITERATIONS,
        NEIGHBOURS,
        SMOOTHNESS,
        0,
    )
    # Not cv2.magnitude, whose last digit depends on where in memory its result happens to lie.
    speed_HW = np.sqrt(np.square(flow_HW2[..., 0]) + np.square(flow_HW2[..., 1]))
    rows, columns = speed_HW.shape[0] // CELL_PX, speed_HW.shape[1] // CELL_PX
    whole_HW = speed_HW[: rows * CELL_PX, : columns * CELL_PX]
    cells_RS: Float32 = whole_HW.reshape(rows, CELL_PX, columns, CELL_PX).mean(axis=(1, 3), dtype=np.float32)
    return cells_RS


def grey(image_HWK: UInt8) -> UInt8:
    """Brightness, (H, W), of an image of one or three colours."""
    if image_HWK.shape[2] == 1:
        return image_HWK[..., 0]
    return np.asarray(cv2.cvtColor(image_HWK, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
