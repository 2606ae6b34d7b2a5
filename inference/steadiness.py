"""What happens to the whole picture at once, measured between frames and taken out of a clip before it is judged.

A camera that trembles, or a lamp that goes on, moves or changes every pixel, and a network foresees neither. Both are
told from things that move by asking places for themselves: each says how far it moved (Lucas and Kanade, IJCAI 1981)
and how much brighter it became, and the median of all speaks for the picture, whatever a crowd does in some of them.

    step    s such that after(x + s) = before(x), pixels of the clip, from pictures of half the size
    light   ln of the gain from one frame to the next

Frames of a clip are brought to its newest one: what is judged is how it came, and only those before it are touched.

Dimensions: T frames, H x W pixels, K colours, h x w pixels of a small picture, N places that say something.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import cv2
import numpy as np

from inference.motion import grey
from schemas.arrays import Float32, Float64, UInt8

SHRINK = 2
PLACE_PX = 8
"""Of the small picture; too few pixels are blind along edges, too many move apart."""
MOST_PX = 4.0
"""From one frame to the next; beyond it, a picture has moved for good or is another."""
LEAST_PX, LEAST_LIGHT = 0.3, 0.1
"""Less is left alone, so that frames of a camera that stands still come through bit by bit."""
WHOLE_PX = 0.15
"""So near whole pixels, they are taken for whole: then nothing is interpolated."""
MAX_ITERATIONS, SETTLED_PX = 4, 0.03
MIN_TEXTURE = 4.0
"""Of a place, squared grey levels a pixel, along the direction in which it has least."""
MIN_PLACES, AGREE_PX, MIN_AGREE = 6, 0.5, 0.3
"""How many places must say something, and the share of them that must say about the same."""
MIN_GREY = 8.0
STILL = (0.0, 0.0)

Picture = TypeVar("Picture", UInt8, Float32)


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to the whole picture from one frame to the next.

    Attributes:
        right_px, down_px: how far it moved, pixels of the clip; 0 where places do not agree.
        light: ln of how much brighter it became; 0 = as before.
    """

    right_px: float
    down_px: float
    light: float

    @property
    def shift_px(self) -> float:
        """How far."""
        return float(np.hypot(self.right_px, self.down_px))


UNCHANGED = Change(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Steadied:
    """A clip whose frames show the same part of the world in the same light as its newest, and what came last."""

    clip_THWK: UInt8
    newest: Change


def steadied(clip_THWK: UInt8) -> Steadied:
    """Take out of a clip what happened to the whole picture; the same array where nothing did."""
    if len(clip_THWK) == 1:
        return Steadied(clip_THWK, UNCHANGED)
    frames = list(clip_THWK)
    small = [small_picture(frame_HWK) for frame_HWK in frames]
    changes = [change_between(before_hw, after_hw) for before_hw, after_hw in pairwise(small)]
    brought = [_brought(frame_HWK, changes[at:]) for at, frame_HWK in enumerate(frames)]
    is_touched = any(new is not old for new, old in zip(brought, frames, strict=True))
    return Steadied(np.stack(brought) if is_touched else clip_THWK, changes[-1])


def as_it_is(clip_THWK: UInt8) -> Steadied:
    """For whom clips are to be measured as they came, as papers do."""
    return Steadied(clip_THWK, UNCHANGED)


def steadier(remembers: bool) -> Callable[[UInt8], Steadied]:
    """What is done about shakes and lamps: taken out where a memory judges; older bundles are judged as ever."""
    return steadied if remembers else as_it_is


def change_between(before_hw: Float32, after_hw: Float32) -> Change:
    """What happened to the whole picture from one small picture to the next, grey levels in [0, 255]."""
    gain = _gain(before_hw, after_hw)
    right, down = _step(before_hw * np.float32(gain), after_hw)
    return Change(SHRINK * right, SHRINK * down, float(np.log(gain)))


def small_picture(frame_HWK: UInt8) -> Float32:
    """Grey levels of a frame at half its size, (h, w)."""
    height, width = (size // SHRINK for size in frame_HWK.shape[:2])
    small_hw = cv2.resize(grey(frame_HWK), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small_hw, dtype=np.float32)


def _gain(before_hw: Float32, after_hw: Float32) -> float:
    """Median over places of how many times brighter; 1 where nearly all is dark."""
    before, after = _places(before_hw), _places(after_hw)
    lit = (before >= MIN_GREY) & (after >= MIN_GREY)
    return float(np.median(after[lit] / before[lit])) if lit.sum() >= MIN_PLACES else 1.0


def _step(before_hw: Float32, after_hw: Float32) -> tuple[float, float]:
    """Median over places of how far they moved, right and down, pixels of the small picture."""
    slope_x, slope_y = (cv2.Sobel(before_hw, cv2.CV_32F, *along, ksize=3, scale=1 / 8) for along in ((1, 0), (0, 1)))
    xx, xy, yy = _places(slope_x * slope_x), _places(slope_x * slope_y), _places(slope_y * slope_y)
    half, determinant = (xx + yy) / 2, xx * yy - xy * xy
    says = half - np.sqrt(np.maximum(half * half - determinant, 0.0)) > MIN_TEXTURE
    if says.sum() < MIN_PLACES:
        return STILL
    step = np.zeros(2)
    for _ in range(MAX_ITERATIONS):
        difference_hw = (_moved(after_hw, -step) if step.any() else after_hw) - before_hw
        xt, yt = _places(slope_x * difference_hw), _places(slope_y * difference_hw)
        steps_2N = np.stack([xy * yt - yy * xt, xy * xt - xx * yt])[:, says] / determinant[says]
        more = np.median(steps_2N, axis=1)
        step = step + more
        if np.abs(more).max() < SETTLED_PX:
            break
    agree = (np.abs(steps_2N - more[:, None]).max(axis=0) * SHRINK < AGREE_PX).mean()
    if agree < MIN_AGREE or np.abs(step).max() * SHRINK > MOST_PX:
        return STILL
    return float(step[0]), float(step[1])


def _brought(frame_HWK: UInt8, changes: Sequence[Change]) -> UInt8:
    """A frame as it would have come after ``changes``; itself where they are next to nothing."""
    shifts = [change for change in changes if change.shift_px >= LEAST_PX]
    move = np.array([sum(change.right_px for change in shifts), sum(change.down_px for change in shifts)])
    light = sum(change.light for change in changes if abs(change.light) >= LEAST_LIGHT)
    whole = np.rint(move)
    move = np.where(np.abs(move - whole) < WHOLE_PX, whole, move)
    if np.hypot(*move) >= LEAST_PX:
        frame_HWK = _moved(frame_HWK, move).reshape(frame_HWK.shape)
    if abs(light) >= LEAST_LIGHT:
        lit_HWK = cv2.convertScaleAbs(frame_HWK, alpha=float(np.exp(light)))
        frame_HWK = np.asarray(lit_HWK, dtype=np.uint8).reshape(frame_HWK.shape)
    return frame_HWK


def _moved(picture: Picture, by: Float64) -> Picture:
    """Moved right and down, pixels; what comes in from beyond an edge is as the edge."""
    height, width = picture.shape[:2]
    matrix = np.array([[1.0, 0.0, by[0]], [0.0, 1.0, by[1]]])
    flags, border = cv2.INTER_CUBIC, cv2.BORDER_REPLICATE
    return np.asarray(cv2.warpAffine(picture, matrix, (width, height), flags=flags, borderMode=border), picture.dtype)


def _places(picture_hw: Float32) -> Float32:
    """Means of places, from top left, (N,); what is left over at the edges is left out."""
    rows, columns = (size // PLACE_PX for size in picture_hw.shape)
    if not (rows and columns):
        return np.zeros(0, np.float32)
    whole = picture_hw[: rows * PLACE_PX, : columns * PLACE_PX]
    means = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(means, dtype=np.float32).ravel()
