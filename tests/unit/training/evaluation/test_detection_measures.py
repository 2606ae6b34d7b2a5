"""Areas, thresholds and false alarms of scores."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from training.evaluation.measures import (
    ScoredClip,
    alarms_per_hour,
    average_precision,
    curves,
    false_alarms_per_hour,
    frame_auc,
    stretches,
    threshold_at,
)

LABELLED = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), min_size=2, max_size=40)
"""Scores of few values, so that there are ties, with their labels."""


def clip(scores: list[float], labels: list[int], fps: float = 10.0) -> ScoredClip:
    return ScoredClip(np.array(scores), np.array(labels, np.uint8), fps)


def clips_of(frames: list[tuple[int, int]]) -> list[ScoredClip]:
    """Cut into two clips where there are enough frames."""
    halves = [frames[: len(frames) // 2], frames[len(frames) // 2 :]]
    return [clip([score / 10 for score, _ in half], [label for _, label in half]) for half in halves]


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
    """Two frames a second: [0.1 0.9] [0.9 0.1] [0.1], then abnormal frames, then [0.8], half a second: 2.5 of 3 s."""
    scores, labels = [0.1, 0.9, 0.9, 0.1, 0.1, 0.8, 0.8, 0.8], [0, 0, 0, 0, 0, 1, 1, 0]
    assert false_alarms_per_hour(0.5, [clip(scores, labels, fps=2.0)]) == pytest.approx(2.5 / 3 * 3600)
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


@settings(max_examples=50, deadline=None)
@given(LABELLED)
def test_the_area_is_the_share_of_pairs_in_the_right_order(frames: list[tuple[int, int]]) -> None:
    pairs = list(product([score for score, label in frames if label], [score for score, label in frames if not label]))
    right = [1.0 if abnormal > normal else 0.5 if abnormal == normal else 0.0 for abnormal, normal in pairs]
    assert frame_auc(clips_of(frames)) == (pytest.approx(np.mean(right)) if pairs else None)


@settings(max_examples=50, deadline=None)
@given(LABELLED.filter(lambda frames: 0 < sum(label for _, label in frames) < len(frames)))
def test_precision_and_recall_are_counted_at_every_threshold(frames: list[tuple[int, int]]) -> None:
    """The last point, precision 1 at recall 0, stands for a threshold above every score."""
    scores, labels = np.array(frames).T
    points = curves(clips_of(frames))
    for at, threshold in enumerate(np.unique(scores)):
        found = labels[scores >= threshold]
        assert points.recall[at] == pytest.approx(found.sum() / labels.sum())
        assert points.precision[at] == pytest.approx(found.mean())
    assert (points.recall[-1], points.precision[-1]) == (0.0, 1.0)
    assert average_precision(clips_of(frames)) == pytest.approx(average_precision_score(labels, scores))


@given(LABELLED.filter(lambda frames: any(label for _, label in frames)), st.sampled_from([0.1, 0.5, 0.8, 0.9, 1.0]))
def test_no_higher_threshold_finds_as_many(frames: list[tuple[int, int]], recall: float) -> None:
    abnormal = np.array([score / 10 for score, label in frames if label])
    threshold = threshold_at(recall, clips_of(frames))
    assert (abnormal >= threshold).mean() >= recall
    assert (abnormal > threshold).mean() < recall


def test_a_recall_of_nothing_is_found_by_the_highest_abnormal_score() -> None:
    assert threshold_at(0.0, [clip([0.3, 0.9, 0.7], [0, 1, 1])]) == 0.9


SCORED = st.lists(
    st.builds(
        lambda frames, fps: clip([score / 10 for score, _ in frames], [label for _, label in frames], fps),
        LABELLED,
        st.floats(0.2, 60.0),
    ),
    min_size=1,
    max_size=4,
)
"""Clips of any rate, whose normal stretches are mostly shorter than a second."""


@given(SCORED, st.integers(0, 10), st.integers(0, 10))
def test_alarms_fill_no_more_than_the_hour_and_never_grow_with_the_threshold(
    clips: list[ScoredClip], one: int, other: int
) -> None:
    low, high = sorted((one / 10, other / 10))
    many, few = alarms_per_hour(low, clips), alarms_per_hour(high, clips)
    if many is None or few is None:
        assert all(clip.labels_N.all() for clip in clips)
        assert many is few is None
    else:
        assert 0 <= few <= many <= 3600


@given(SCORED, st.sampled_from([0.1, 0.5, 0.8, 1.0]))
def test_the_alarms_of_a_recall_are_those_of_its_threshold(clips: list[ScoredClip], recall: float) -> None:
    rate = false_alarms_per_hour(recall, clips)
    if any(clip.num_abnormal for clip in clips):
        assert rate == alarms_per_hour(threshold_at(recall, clips), clips)
        assert rate is None or rate <= 3600
    else:
        assert rate is None


def test_a_frame_between_abnormal_ones_is_no_whole_second() -> None:
    """One normal frame of a tenth of a second that alarms, and nine seconds that do not: a tenth of a second of 9.1."""
    labels = [1, 0, 1, *[0] * 90]
    scores = [0.9, 0.9, 0.9, *[0.1] * 90]
    assert alarms_per_hour(0.9, [clip(scores, labels)]) == pytest.approx(0.1 / 9.1 * 3600)
    assert alarms_per_hour(0.0, [clip(scores, labels)]) == 3600, "all of it alarms, but not more than all"


@pytest.mark.parametrize("fps", [1.4, 2.5, 6.4, 29.97])
def test_rates_that_are_no_whole_number_fill_the_hour_and_no_more(fps: float) -> None:
    rate = alarms_per_hour(0.5, [clip([0.9] * 60, [0] * 60, fps)])
    assert rate is not None
    assert 0.9 * 3600 < rate <= 3600


def test_hours_are_counted_at_each_clips_own_rate() -> None:
    """Four normal frames each: 4 s at one frame a second, of which two alarm, and 1 s at four, which alarms."""
    slow = clip([0.9, 0.1, 0.9, 0.1, 0.8], [0, 0, 0, 0, 1], fps=1.0)
    fast = clip([0.9, 0.9, 0.1, 0.9], [0, 0, 0, 0], fps=4.0)
    assert false_alarms_per_hour(1.0, [slow, fast]) == pytest.approx(3 / 5 * 3600)


def test_slower_than_a_frame_a_second_each_frame_is_an_alarm_of_its_own() -> None:
    """One frame in four seconds: 8 s of normal frames, of which one frame alarms."""
    assert false_alarms_per_hour(1.0, [clip([0.9, 0.1, 0.5], [0, 0, 1], fps=0.25)]) == pytest.approx(1 / 8 * 3600)
