"""Areas, thresholds and false alarms of scores."""

import numpy as np
import pytest
from sklearn.metrics import auc, roc_auc_score

from training.evaluation.measures import (
    ScoredClip,
    average_precision,
    curves,
    false_alarms_per_hour,
    frame_auc,
    stretches,
    threshold_at,
)


def clip(scores: list[float], labels: list[int], fps: float = 10.0) -> ScoredClip:
    return ScoredClip(np.array(scores), np.array(labels, np.uint8), fps)


def test_areas_are_over_all_clips_together() -> None:
    first, second = clip([0.1, 0.9], [0, 1]), clip([0.2, 0.05], [0, 1])
    assert frame_auc([first]) == 1.0
    assert frame_auc([second]) == 0.0
    assert frame_auc([first, second]) == roc_auc_score([0, 1, 0, 1], [0.1, 0.9, 0.2, 0.05]) == 0.5
    assert average_precision([first, second]) == pytest.approx(0.5 * 1 + 0.5 * 0.5)


def test_ties_count_one_half() -> None:
    assert frame_auc([clip([0.5, 0.5, 0.5], [0, 1, 1])]) == 0.5


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_area(label: int) -> None:
    assert frame_auc([clip([0.1, 0.2], [label, label])]) is None


def test_curves_go_from_corner_to_corner() -> None:
    points = curves([clip([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])])
    assert (points.false_positive_rate[0], points.true_positive_rate[0]) == (0.0, 0.0)
    assert (points.false_positive_rate[-1], points.true_positive_rate[-1]) == (1.0, 1.0)
    assert points.recall.max() == 1.0
    assert auc(points.false_positive_rate, points.true_positive_rate) == 0.75


@pytest.mark.parametrize(("recall", "threshold"), [(0.25, 0.9), (0.5, 0.7), (0.51, 0.6), (1.0, 0.2)])
def test_threshold_finds_the_share_asked_for(recall: float, threshold: float) -> None:
    assert threshold_at(recall, [clip([0.9, 0.7, 0.95], [1, 1, 0]), clip([0.6, 0.2], [1, 1])]) == threshold


def test_false_alarms_count_seconds_of_normal_footage() -> None:
    """Two frames a second: seconds [0.1 0.9] [0.9 0.1] [0.1], then abnormal frames, then [0.8]: 3 alarms in 3 s."""
    scores, labels = [0.1, 0.9, 0.9, 0.1, 0.1, 0.8, 0.8, 0.8], [0, 0, 0, 0, 0, 1, 1, 0]
    assert false_alarms_per_hour(0.5, [clip(scores, labels, fps=2.0)]) == pytest.approx(3 / 3 * 3600)
    quiet = [0.1, 0.7, 0.2, 0.1, 0.1, 0.8, 0.8, 0.1]
    assert false_alarms_per_hour(0.5, [clip(quiet, labels, fps=2.0)]) == 0.0


def test_more_recall_never_has_fewer_false_alarms() -> None:
    random = np.random.default_rng(1)
    labels = (np.arange(400) // 40) % 2
    one = clip((random.normal(size=400) + labels).tolist(), labels.tolist())
    found = [false_alarms_per_hour(recall, [one]) for recall in np.linspace(0.05, 1, 20)]
    rates = [rate for rate in found if rate is not None]
    assert len(rates) == 20
    assert rates == sorted(rates)
    assert rates[0] < rates[-1] <= 3600


def test_no_false_alarms_without_normal_footage() -> None:
    assert false_alarms_per_hour(0.5, [clip([0.1, 0.2], [1, 1])]) is None
    assert false_alarms_per_hour(0.5, [clip([0.1, 0.2], [0, 0])]) is None


def test_stretches() -> None:
    assert stretches(np.array([True, True, False, True])) == [(0, 2), (3, 4)]
    assert stretches(np.zeros(3, bool)) == []
