"""A fixed camera above a straight path: from metres on the ground to pixels and back.

World: x to the right, y away from the camera, z up, metres; the camera is at (0, 0, CAMERA_HEIGHT_M).
Path: ``along`` runs with the path (to the right and slightly away), ``across`` from its near to its far edge.
"""

import math
from dataclasses import dataclass

import numpy as np

from schemas.arrays import Float64

CAMERA_HEIGHT_M = 7.0
PITCH = math.radians(30.0)
PATH_CENTRE_M = np.array([0.0, 13.5])
PATH_ANGLE = math.radians(12.0)
PATH_HALF_WIDTH_M = 3.5
ALONG = np.array([math.cos(PATH_ANGLE), math.sin(PATH_ANGLE)])
ACROSS = np.array([-math.sin(PATH_ANGLE), math.cos(PATH_ANGLE)])
_FOCAL_PER_WIDTH = 1.34


def on_path(along_m: float, across_m: float) -> Float64:
    """Ground point (x, y) of path coordinates."""
    point: Float64 = PATH_CENTRE_M + along_m * ALONG + across_m * ACROSS
    return point


@dataclass(frozen=True, slots=True)
class View:
    """Projection onto an image of ``width`` x ``height`` pixels."""

    width: int
    height: int

    @property
    def focal_px(self) -> float:
        """Focal length in pixels: the wider side is never cropped."""
        return _FOCAL_PER_WIDTH * max(self.width, self.height * 4 / 3)

    def project(self, points_N3: Float64) -> tuple[Float64, Float64]:
        """Pixels (N, 2) and pixels per metre (N) of world points; all must lie in front of the camera."""
        depth_N = points_N3[:, 1] * math.cos(PITCH) - (points_N3[:, 2] - CAMERA_HEIGHT_M) * math.sin(PITCH)
        rise_N = points_N3[:, 1] * math.sin(PITCH) + (points_N3[:, 2] - CAMERA_HEIGHT_M) * math.cos(PITCH)
        scale_N = self.focal_px / np.maximum(depth_N, 0.5)
        columns_N = self.width / 2 + scale_N * points_N3[:, 0]
        rows_N = self.height / 2 - scale_N * rise_N
        return np.stack([columns_N, rows_N], axis=1), scale_N

    def ground_seen(self) -> tuple[Float64, Float64]:
        """Ground coordinates x and y, each (height, width), that every pixel looks at."""
        columns, rows = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        right = (columns - self.width / 2) / self.focal_px
        up = (self.height / 2 - rows) / self.focal_px
        forward_y = math.cos(PITCH) + up * math.sin(PITCH)
        falling = math.sin(PITCH) - up * math.cos(PITCH)
        reach = CAMERA_HEIGHT_M / np.maximum(falling, 1e-3)
        return right * reach, forward_y * reach
