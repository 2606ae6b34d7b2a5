"""How well scores tell abnormal frames from normal ones. Anomalous is the positive class; scores are high = anomalous.

Dimensions: N scored frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from schemas.arrays import Float64, UInt8

RECALLS = (0.5, 0.8, 0.9)
SECONDS_PER_HOUR = 3600.0


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

    A second of normal frames counts as one alarm if any of them reaches the threshold, so at most 3600 an hour, and a
    lower threshold never has fewer. (Stretches above the threshold would melt into one as it falls.)

    Args:
        recall: share of abnormal frames to find, in (0, 1].
        clips: all clips.

    Returns:
        None where there is no abnormal frame to find, or no normal footage.
    """
    normal_s = sum(float((clip.labels_N == 0).sum()) / clip.fps for clip in clips)
    if normal_s == 0 or not any(clip.num_abnormal for clip in clips):
        return None
    threshold = threshold_at(recall, clips)
    return sum(_false_alarms(clip, threshold) for clip in clips) * SECONDS_PER_HOUR / normal_s


def stretches(flags_N: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and one past the last index of each unbroken run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags_N.astype(np.int8), [0]])))
    return [(int(begin), int(end)) for begin, end in zip(edges[::2], edges[1::2], strict=True)]


def _false_alarms(clip: ScoredClip, threshold: float) -> int:
    step = max(1, round(clip.fps))
    normal = stretches(clip.labels_N == 0)
    seconds = [clip.scores_N[at : min(at + step, end)] for begin, end in normal for at in range(begin, end, step)]
    return sum(bool((scores >= threshold).any()) for scores in seconds)


def _joined(clips: Sequence[ScoredClip]) -> tuple[UInt8, Float64]:
    return np.concatenate([clip.labels_N for clip in clips]), np.concatenate([clip.scores_N for clip in clips])


def _both_classes(labels: UInt8) -> bool:
    return bool(labels.any()) and not labels.all()
