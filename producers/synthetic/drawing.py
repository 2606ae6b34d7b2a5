"""Strokes and faces in the world, drawn on a canvas finer than the image, which is then scaled down smoothly."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from producers.synthetic.view import View
from schemas.arrays import Float64

Tone = tuple[int, int, int]
"""Blue, green, red."""

Point = tuple[float, float, float]
"""Metres in the frame of the figure: forward, to its left, up."""

Canvas = NDArray[np.uint8]

_SHIFT = 4
_SUN_XY = np.array([0.55, 0.3])
"""Where a shadow falls, in metres on the ground per metre of height."""
_THINNEST_SHADOW_M = 0.04


@dataclass(frozen=True, slots=True)
class Stroke:
    """A round-ended line through ``points``; one point alone is a ball."""

    points: Sequence[Point]
    radius_m: float
    tone: Tone


@dataclass(frozen=True, slots=True)
class Face:
    """A filled flat polygon."""

    points: Sequence[Point]
    tone: Tone
    radius_m: float = 0.0


Shape = Stroke | Face


@dataclass(frozen=True, slots=True)
class Stance:
    """Where a figure is: ground point (2), unit heading (2), metres covered so far."""

    ground: Float64
    heading: Float64
    distance_m: float = 0.0


class Figure:
    """One thing at one place. All its points are worked out together: one by one would take most of the time."""

    def __init__(self, shapes: Sequence[Shape], stance: Stance) -> None:
        self.shapes = shapes
        self._stance = stance
        self._starts = np.cumsum([0, *(len(shape.points) for shape in shapes)])

    @cached_property
    def world_points(self) -> Float64:
        """Points of all shapes, one shape after the other, in world metres."""
        local_N3 = np.array([point for shape in self.shapes for point in shape.points])
        forward_x, forward_y = self._stance.heading
        basis = np.array([[forward_x, forward_y, 0.0], [-forward_y, forward_x, 0.0], [0.0, 0.0, 1.0]])
        world_N3: Float64 = local_N3 @ basis
        world_N3[:, :2] += self._stance.ground
        return world_N3

    def distance_m(self, view: View) -> float:
        """How far from the camera it stands."""
        return float(view.away(np.array([[*self._stance.ground, 0.0]]))[0])

    def draw(self, canvas: Canvas, view: View) -> None:
        """Draw all shapes, the farthest first."""
        pixels_N2, scale_N = view.project(self.world_points)
        far_S = self._means(view.away(self.world_points))
        self._paint(canvas, pixels_N2, self._means(scale_N), [int(s) for s in np.argsort(-far_S, kind="stable")])

    def draw_shadow(self, mask: Canvas, view: View) -> None:
        """Mark with 255 the ground that the figure keeps the sun from."""
        ground_N3 = self.world_points.copy()
        ground_N3[:, :2] += ground_N3[:, 2:] * _SUN_XY
        ground_N3[:, 2] = 0.0
        pixels_N2, scale_N = view.project(ground_N3)
        broad = [
            s for s, shape in enumerate(self.shapes) if isinstance(shape, Face) or shape.radius_m >= _THINNEST_SHADOW_M
        ]
        self._paint(mask, pixels_N2, self._means(scale_N), broad, shade=(255, 255, 255))

    def outline(self, view: View) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the whole figure in pixels; may lie outside the image."""
        pixels_N2, scale_N = view.project(self.world_points)
        radius_N = np.repeat([shape.radius_m for shape in self.shapes], np.diff(self._starts))
        reach_N1 = (radius_N * scale_N)[:, None]
        low, high = (pixels_N2 - reach_N1).min(axis=0), (pixels_N2 + reach_N1).max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    def _means(self, value_N: Float64) -> Float64:
        means: Float64 = np.add.reduceat(value_N, self._starts[:-1]) / np.diff(self._starts)
        return means

    def _paint(
        self, canvas: Canvas, pixels_N2: Float64, scale_S: Float64, order: list[int], shade: Tone | None = None
    ) -> None:
        fixed_N2 = np.round(pixels_N2 * (1 << _SHIFT)).astype(np.int32)
        starts, scales = self._starts.tolist(), scale_S.tolist()
        for s in order:
            shape = self.shapes[s]
            _paint_shape(
                canvas, shape, fixed_N2[starts[s] : starts[s + 1]], scales[s] * shape.radius_m, shade or shape.tone
            )


def _paint_shape(canvas: Canvas, shape: Shape, fixed_N2: NDArray[np.int32], radius_px: float, tone: Tone) -> None:
    if isinstance(shape, Face):
        cv2.fillPoly(canvas, [fixed_N2], tone, cv2.LINE_8, _SHIFT)
    elif len(fixed_N2) == 1:
        centre = (int(fixed_N2[0, 0]), int(fixed_N2[0, 1]))
        cv2.circle(canvas, centre, round(radius_px * (1 << _SHIFT)), tone, cv2.FILLED, cv2.LINE_8, _SHIFT)
    else:
        # Whole canvas pixels: the canvas is fine enough for limbs not to flicker.
        cv2.polylines(canvas, [fixed_N2], False, tone, max(1, round(2 * radius_px)), cv2.LINE_8, _SHIFT)
