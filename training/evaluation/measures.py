"""How well scores tell abnormal frames from normal ones, and maps where an anomaly is.

Anomalous is the positive class; scores and maps are high = anomalous. A test set has more pixels than fit into memory,
so they are counted in bins of the logarithm of their value.

Dimensions: N scored frames, R x S patches, H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from inference.error_map import PATCH_CELLS, PATCH_STEP
from schemas.arrays import Float32, Float64, Int64, UInt8

RECALLS = (0.5, 0.8, 0.9)
SECONDS_PER_HOUR = 3600.0
NUM_BINS = 4096
BINS_PER_OCTAVE = 64
LOWEST_OCTAVE = -40
"""Values from 2^-40 to 2^24 are told apart if they differ by 1.1 %; lower and higher ones fall into the end bins."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoredClip:
    """Scores of consecutive frames of one clip, with their truth.

    Attributes:
        scores_N: high = anomalous.
        labels_N: 1 = abnormal.
        fps: frames a second.
    """

    scores_N: Float64
    labels_N: UInt8
    fps: float

    @property
    def num_abnormal(self) -> int:
        """Of the scored frames."""
        return int(self.labels_N.sum())


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Points of the receiver operating characteristic, and of precision over recall; all in [0, 1]."""

    false_positive_rate: Float64
    true_positive_rate: Float64
    recall: Float64
    precision: Float64


def frame_auc(clips: Sequence[ScoredClip]) -> float | None:
    """Area under the ROC curve over the frames of all clips, in [0, 1]; ties count one half. None: one class only."""
    labels, scores = _joined(clips)
    return float(roc_auc_score(labels, scores)) if _both_classes(labels) else None


def average_precision(clips: Sequence[ScoredClip]) -> float:
    """Mean precision over recall, in [0, 1]; chance gives the share of abnormal frames, of which there must be some."""
    return float(average_precision_score(*_joined(clips)))


def curves(clips: Sequence[ScoredClip]) -> Curves:
    """Over the frames of all clips, which must be of both classes."""
    labels, scores = _joined(clips)
    false_positive_rate, true_positive_rate, _ = roc_curve(labels, scores)
    precision, recall, _ = precision_recall_curve(labels, scores)
    return Curves(false_positive_rate, true_positive_rate, recall, precision)


def threshold_at(recall: float, clips: Sequence[ScoredClip]) -> float:
    """The highest threshold at which at least this share of the abnormal frames scores at or above it."""
    labels, scores = _joined(clips)
    abnormal = np.sort(scores[labels == 1])[::-1]
    return float(abnormal[max(0, int(np.ceil(recall * len(abnormal))) - 1)])


def false_alarms_per_hour(recall: float, clips: Sequence[ScoredClip]) -> float | None:
    """Alarms on normal frames per hour of them, with the threshold that finds this share of abnormal frames.

    Args:
        recall: share of abnormal frames to find, in (0, 1].
        clips: all clips.

    Returns:
        See ``alarms_per_hour``. None where there is no abnormal frame to find, or no normal footage.
    """
    if not any(clip.num_abnormal for clip in clips):
        return None
    return alarms_per_hour(threshold_at(recall, clips), clips)


def alarms_per_hour(threshold: float, clips: Sequence[ScoredClip]) -> float | None:
    """Seconds of normal footage that hold a frame at or above the threshold, per hour of it, in [0, 3600].

    Each stretch of normal frames is cut into seconds, and what is left at its end counts as the part of a second that
    it lasts. The cuts do not depend on the threshold, so a lower one never has fewer alarms. (Stretches above the
    threshold would melt into one as it falls.) Below one frame a second each frame is an alarm of its own.

    Returns:
        None where there is no normal footage.
    """
    normal_s = sum(float((clip.labels_N == 0).sum()) / clip.fps for clip in clips)
    if normal_s == 0:
        return None
    return min(1.0, sum(_alarming_s(clip, threshold) for clip in clips) / normal_s) * SECONDS_PER_HOUR


def stretches(flags_N: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and one past the last index of each unbroken run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags_N.astype(np.int8), [0]])))
    return [(int(begin), int(end)) for begin, end in zip(edges[::2], edges[1::2], strict=True)]


@dataclass(slots=True)
class PixelCounts:
    """Pixels by value, abnormal and normal ones apart; grows frame by frame."""

    abnormal: Int64 = field(default_factory=lambda: np.zeros(NUM_BINS, np.int64))
    normal: Int64 = field(default_factory=lambda: np.zeros(NUM_BINS, np.int64))

    def add(self, values_HW: Float32, mask_HW: UInt8) -> None:
        """Count the pixels of one frame.

        Args:
            values_HW: >= 0, high = anomalous.
            mask_HW: 1 = abnormal.
        """
        bins_HW = _bins(values_HW)
        everything = np.bincount(bins_HW.ravel(), minlength=NUM_BINS)
        abnormal = np.bincount(bins_HW[mask_HW != 0], minlength=NUM_BINS)
        self.abnormal += abnormal
        self.normal += everything - abnormal

    def auc(self) -> float | None:
        """Area under the ROC curve, in [0, 1]; pixels of one bin are ties. None where one class has no pixel."""
        pairs = int(self.abnormal.sum()) * int(self.normal.sum())
        if pairs == 0:
            return None
        below = np.cumsum(self.normal) - self.normal
        return float((self.abnormal.astype(np.float64) * (below + self.normal / 2)).sum() / pairs)


def enlarged(map_RS: Float32, height: int, width: int) -> Float32:
    """A map at the resolution of the footage, (H, W): bilinear between the centres of patches, constant beyond."""
    rows_HR, columns_WS = _weights(height, map_RS.shape[0]), _weights(width, map_RS.shape[1])
    return np.asarray(rows_HR @ map_RS @ columns_WS.T, dtype=np.float32)


def _alarming_s(clip: ScoredClip, threshold: float) -> float:
    """A frame may last longer than a second, and is one alarm even so."""
    step = max(1, round(clip.fps))
    normal = stretches(clip.labels_N == 0)
    seconds = [clip.scores_N[at : min(at + step, end)] for begin, end in normal for at in range(begin, end, step)]
    return sum(min(1.0, len(scores) / clip.fps) for scores in seconds if (scores >= threshold).any())


def _joined(clips: Sequence[ScoredClip]) -> tuple[UInt8, Float64]:
    return np.concatenate([clip.labels_N for clip in clips]), np.concatenate([clip.scores_N for clip in clips])


def _both_classes(labels: UInt8) -> bool:
    return bool(labels.any()) and not labels.all()


def _weights(size: int, num_patches: int) -> Float64:
    """What each patch of a row contributes to each pixel."""
    num_cells = (num_patches - 1) * PATCH_STEP + PATCH_CELLS
    cells = (np.arange(size) + 0.5) * num_cells / size
    place = np.clip((cells - PATCH_CELLS / 2) / PATCH_STEP, 0, num_patches - 1)
    return np.maximum(0.0, 1.0 - np.abs(place[:, None] - np.arange(num_patches)))


def _bins(values_HW: Float32) -> Int64:
    with np.errstate(divide="ignore"):
        octaves_HW = np.log2(values_HW) - LOWEST_OCTAVE
    return np.asarray(np.clip(octaves_HW * BINS_PER_OCTAVE, 0, NUM_BINS - 1), dtype=np.int64)
