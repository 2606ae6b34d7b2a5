"""The place itself, which never changes: grass, a paved path, a bench, bushes, a lamp.

It hangs on the camera and not on a scene's seed, so that a net trained on one seed knows the place when it watches
another.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from producers.synthetic.camera import Ground
from producers.synthetic.drawing import Canvas, Face, Figure, Point, Stance, Stroke, Tone
from producers.synthetic.view import ACROSS, ALONG, PATH_CENTRE_M, PATH_HALF_WIDTH_M, View, on_path
from schemas.arrays import Float64

_THINGS_SEED = 20210
_TEXTURE_PX = 512
_WRAP_PX = 8
_SHADE = 0.62
_SLAB_M = 1.75


@lru_cache(maxsize=4)
def lit_and_shaded(view: View, ground: Ground) -> tuple[Canvas, Canvas]:
    """The empty place in full light, and the same as it looks in a shadow; do not write to either."""
    lit = _bare(view, ground)
    shadow = np.zeros((view.height, view.width), np.uint8)
    things = _things()
    for thing in things:
        thing.draw_shadow(shadow, view)
    cv2.copyTo(_darker(lit), shadow, lit)
    for thing in things:
        thing.draw(lit, view)
    return lit, _darker(lit)


def _darker(canvas: Canvas) -> Canvas:
    return np.asarray(cv2.convertScaleAbs(canvas, alpha=_SHADE), dtype=np.uint8)


def _bare(view: View, ground: Ground) -> Canvas:
    x, y = view.ground_seen()
    dx, dy = x - PATH_CENTRE_M[0], y - PATH_CENTRE_M[1]
    along, across = dx * ALONG[0] + dy * ALONG[1], dx * ACROSS[0] + dy * ACROSS[1]
    distance = np.abs(across)
    colour = np.where((distance < PATH_HALF_WIDTH_M)[..., None], ground.paving, ground.grass)
    colour = np.where(
        ((distance > PATH_HALF_WIDTH_M) & (distance < PATH_HALF_WIDTH_M + 0.22))[..., None], ground.kerb, colour
    )
    joint = (_near_multiple(along, _SLAB_M) | _near_multiple(across, _SLAB_M)) & (distance < PATH_HALF_WIDTH_M)
    colour = colour - 20.0 * joint[..., None]
    roughness = np.where(distance < PATH_HALF_WIDTH_M, ground.paving_roughness, ground.grass_roughness)
    fine, coarse = ground.grain_per_m
    grain = _texture(x, y, fine, ground.seed + 1) + 0.8 * _texture(x, y, coarse, ground.seed + 2)
    return np.asarray(np.clip(colour + (roughness * grain)[..., None], 0, 255), dtype=np.uint8)


def _near_multiple(value: Float64, step: float) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = np.abs(value / step - np.round(value / step)) * step < 0.03
    return near


def _texture(x: Float64, y: Float64, px_per_m: float, seed: int) -> Float64:
    """Smooth random texture on the ground, mean 0, deviation 1."""
    rng = np.random.default_rng(seed)
    # Wrapped before smoothing, so that the tile repeats without a seam.
    wrapped = np.pad(rng.standard_normal((_TEXTURE_PX, _TEXTURE_PX)), _WRAP_PX, mode="wrap")
    smooth = np.asarray(cv2.GaussianBlur(wrapped, (0, 0), 1.5), dtype=np.float64)
    tile = smooth / smooth.std()
    columns, rows = ((np.mod(part * px_per_m, _TEXTURE_PX) + _WRAP_PX).astype(np.float32) for part in (x, y))
    return np.asarray(cv2.remap(tile, columns, rows, cv2.INTER_LINEAR), dtype=np.float64)


def _things() -> list[Figure]:
    return [_bush(-5.0, 7.2, 0.9), _bush(-3.4, 7.9, 1.1), _bush(5.8, 8.2, 1.2), _bench(1.2, 4.9), _lamp(-6.0, 4.3)]


def _bush(along_m: float, across_m: float, size_m: float) -> Figure:
    rng = np.random.default_rng(_THINGS_SEED + round(100 * size_m))
    leaves = []
    for right, away, up in rng.uniform(-1.0, 1.0, (14, 3)).tolist():
        shade = int(52 + 26 * up)
        centre: Point = (size_m * right, 0.4 * size_m * away, size_m * (0.55 + 0.35 * up))
        leaves.append(Stroke([centre], 0.42 * size_m, (shade, shade + 22, shade + 8)))
    return Figure(leaves, _standing(along_m, across_m))


def _bench(along_m: float, across_m: float) -> Figure:
    iron: Tone = (40, 40, 42)
    seat = [(-0.9, 0.0, 0.45), (0.9, 0.0, 0.45), (0.9, 0.45, 0.45), (-0.9, 0.45, 0.45)]
    back = [(-0.9, 0.5, 0.5), (0.9, 0.5, 0.5), (0.9, 0.55, 0.95), (-0.9, 0.55, 0.95)]
    legs = [Stroke([(side, 0.05, 0.0), (side, 0.05, 0.45)], 0.04, iron) for side in (-0.8, 0.8)]
    return Figure([Face(back, (60, 84, 104)), Face(seat, (85, 109, 129)), *legs], _standing(along_m, across_m))


def _lamp(along_m: float, across_m: float) -> Figure:
    pole = Stroke([(0.0, 0.0, 0.0), (0.0, 0.0, 3.4)], 0.06, (48, 50, 50))
    return Figure([pole, Stroke([(0.0, 0.0, 3.5)], 0.2, (214, 222, 224))], _standing(along_m, across_m))


def _standing(along_m: float, across_m: float) -> Stance:
    return Stance(on_path(along_m, across_m), ALONG)
