"""The frames on which an evaluation went most wrong: each with its map laid over it.

Dimensions: R x S patches, H x W pixels, K colours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from schemas.arrays import Float32, Float64, UInt8
from training.evaluation.detection_measures import ScoredClip
from training.evaluation.evaluate import Evaluation, Outcome
from training.evaluation.pixel_measures import enlarged
from training.footage.labelled import LabelledClip
from training.report_figures import INK

MOST_STRIPS = 6
WIDTH_IN = 13.0
TITLES_IN = 1.1
APART_S = 1.0
"""Frames shown of one clip are at least this far apart, since neighbours look alike."""
MAP_PERCENTILE = 99.5
"""Of all maps of an outcome; what is above it has the colour of the scale's end."""
MASK_COLOUR = "#39ff14"
OPACITY = 0.75


@dataclass(frozen=True, slots=True)
class Place:
    """One scored frame: which clip, which of its scores, and that score."""

    clip: int
    index: int
    score: float


def misses(outcome: Outcome) -> list[Place]:
    """The abnormal frames with the lowest scores, lowest first."""
    return _worst(outcome, label=1, direction=1)


def false_alarms(outcome: Outcome) -> list[Place]:
    """The normal frames with the highest scores, highest first."""
    return _worst(outcome, label=0, direction=-1)


def strip_figure(evaluation: Evaluation, outcome: Outcome, places: Sequence[Place], title: str) -> Figure:
    """A column a frame: the frame, with the outline of its mask if there is one, and the map over the frame."""
    _, height, width, _ = evaluation.footage.cache.frames_FHWC.shape
    column_in = WIDTH_IN / MOST_STRIPS
    figure = Figure(figsize=(WIDTH_IN, TITLES_IN + 2 * column_in * height / width), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", color=INK)
    grid = figure.subplots(2, MOST_STRIPS, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    top = _scale_end(outcome)
    for (frame_axes, map_axes), place in zip(grid.T, places, strict=False):
        clip = evaluation.footage.clips[place.clip]
        frame = place.index + outcome.map_frame
        picture_HW3 = _as_rgb(evaluation.footage.cache.frames_FHWC[clip.video.first_frame + frame])
        map_HW = enlarged(outcome.maps[place.clip][place.index], height, width)
        frame_axes.imshow(picture_HW3)
        _outline(frame_axes, clip, frame, (height, width))
        map_axes.imshow(_overlay(picture_HW3, map_HW / top))
        frame_axes.set_title(clip.name, fontsize=9.5, color=INK, weight="bold")
        map_axes.set_title(f"frame {frame}, score {place.score:.3f}", fontsize=9, color=INK)
    return figure


def _worst(outcome: Outcome, label: int, direction: int) -> list[Place]:
    """Frames of a label in order of their score; ``direction`` 1 = lowest first, -1 = highest first."""
    candidates = [place for index, clip in enumerate(outcome.clips) for place in _places(index, clip, label)]
    chosen: list[Place] = []
    for place in sorted(candidates, key=lambda place: direction * place.score):
        apart = APART_S * outcome.clips[place.clip].fps
        if all(place.clip != other.clip or abs(place.index - other.index) >= apart for other in chosen):
            chosen.append(place)
        if len(chosen) == MOST_STRIPS:
            break
    return chosen


def _places(index: int, clip: ScoredClip, label: int) -> Iterator[Place]:
    for n in np.flatnonzero(clip.labels_N == label):
        yield Place(index, int(n), float(clip.scores_N[n]))


def _scale_end(outcome: Outcome) -> float:
    """Value with the strongest colour, the same for all frames of an outcome."""
    return max(float(np.percentile(np.concatenate([maps.ravel() for maps in outcome.maps]), MAP_PERCENTILE)), 1e-12)


def _overlay(picture_HW3: UInt8, level_HW: Float32) -> Float64:
    """The picture, painted over where the level is high; roots, so that weaker places can be seen, too."""
    level_HW = np.sqrt(np.clip(level_HW, 0.0, 1.0))
    colours_HW3 = colormaps["inferno"](0.15 + 0.85 * level_HW)[..., :3]
    opacity_HW1 = OPACITY * level_HW[..., None]
    return np.asarray((1 - opacity_HW1) * (picture_HW3 / 255.0) + opacity_HW1 * colours_HW3, dtype=np.float64)


def _outline(axes: Axes, clip: LabelledClip, frame: int, size: tuple[int, int]) -> None:
    masks_THW = clip.masks()
    if masks_THW is None or not masks_THW[frame].any():
        return
    mask_HW = cv2.resize(masks_THW[frame], size[::-1], interpolation=cv2.INTER_NEAREST)
    axes.contour(mask_HW, levels=[0.5], colors=MASK_COLOUR, linewidths=1.2)


def _as_rgb(picture_HWK: UInt8) -> UInt8:
    """From BGR or grey."""
    return np.repeat(picture_HWK, 3, axis=2) if picture_HWK.shape[2] == 1 else picture_HWK[..., ::-1]
