"""A fixed camera above a straight path: from metres on the ground to pixels and back.

World: x to the right, y away from the camera, z up, metres; the camera is at (0, 0, its height). Where the path runs in
another direction (``yaw``), the world turns about the path's middle before the camera looks at it.
Path: ``along`` runs with the path (to the right and slightly away), ``across`` from its near to its far edge.
"""

import math
from dataclasses import dataclass

import numpy as np

from schemas.arrays import Float64

PATH_CENTRE_M = np.array([0.0, 13.5])
PATH_ANGLE = math.radians(12.0)
PATH_HALF_WIDTH_M = 3.5
ALONG = np.array([math.cos(PATH_ANGLE), math.sin(PATH_ANGLE)])
ACROSS = np.array([-math.sin(PATH_ANGLE), math.cos(PATH_ANGLE)])


def on_path(along_m: float, across_m: float) -> Float64:
    """Ground point (x, y) of path coordinates."""
    point: Float64 = PATH_CENTRE_M + along_m * ALONG + across_m * ACROSS
    return point


@dataclass(frozen=True, slots=True)
class View:
    """Projection onto an image of ``width`` x ``height`` pixels; see ``producers.synthetic.camera``.

    Attributes:
        camera_height_m: above the ground.
        pitch: downwards, radians.
        yaw: of the world against the camera, radians.
        zoom: focal length by the width of the image.
    """

    width: int
    height: int
    camera_height_m: float
    pitch: float
    yaw: float
    zoom: float

    @property
    def focal_px(self) -> float:
        """Focal length in pixels: the wider side is never cropped."""
        return self.zoom * max(self.width, self.height * 4 / 3)

    def away(self, points_N3: Float64) -> Float64:
        """Metres that world points lie away from the camera on the ground, (N,)."""
        away_N: Float64 = self._turned(points_N3)[:, 1]
        return away_N

    def project(self, points_N3: Float64) -> tuple[Float64, Float64]:
        """Pixels (N, 2) and pixels per metre (N) of world points; all must lie in front of the camera."""
        turned_N3 = self._turned(points_N3)
        above_N = turned_N3[:, 2] - self.camera_height_m
        depth_N = turned_N3[:, 1] * math.cos(self.pitch) - above_N * math.sin(self.pitch)
        rise_N = turned_N3[:, 1] * math.sin(self.pitch) + above_N * math.cos(self.pitch)
        scale_N = self.focal_px / np.maximum(depth_N, 0.5)
        columns_N = self.width / 2 + scale_N * turned_N3[:, 0]
        rows_N = self.height / 2 - scale_N * rise_N
        return np.stack([columns_N, rows_N], axis=1), scale_N

    def ground_seen(self) -> tuple[Float64, Float64]:
        """Ground coordinates x and y, each (height, width), that every pixel looks at."""
        columns, rows = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        right = (columns - self.width / 2) / self.focal_px
        up = (self.height / 2 - rows) / self.focal_px
        forward_y = math.cos(self.pitch) + up * math.sin(self.pitch)
        falling = math.sin(self.pitch) - up * math.cos(self.pitch)
        reach = self.camera_height_m / np.maximum(falling, 1e-3)
        x, y = right * reach, forward_y * reach
        if not self.yaw:
            return x, y
        ground: Float64 = (np.stack([x, y], axis=-1) - PATH_CENTRE_M) @ _turn(self.yaw) + PATH_CENTRE_M
        return ground[..., 0], ground[..., 1]

    def _turned(self, points_N3: Float64) -> Float64:
        if not self.yaw:
            return points_N3
        turned_N3: Float64 = points_N3.copy()
        turned_N3[:, :2] = (points_N3[:, :2] - PATH_CENTRE_M) @ _turn(self.yaw).T + PATH_CENTRE_M
        return turned_N3


def _turn(angle: float) -> Float64:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])
