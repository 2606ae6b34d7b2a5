"""Events that would have been told of finished footage: cut as the tracker cuts them, held against labels and masks."""

import numpy as np
import pytest

from training.evaluation.events import JudgedClip, Span, events_in, events_told, stretches_in

FPS = 10.0


@pytest.mark.parametrize(
    ("over", "blind", "events"),
    [
        ("..####....", "..........", [(2, 5)]),
        ("..###.....", "..........", []),  # shorter than 0.3 s
        ("..####..####....", "................", [(2, 11)]),  # closer than 2 s
        ("..####" + 25 * "." + "####", 35 * ".", [(2, 5), (31, 34)]),
        ("..########", "..####....", [(6, 9)]),  # opens only where it is not blind
        ("..########", "......####", [(2, 9)]),  # what is open goes on
    ],
)
def test_events_are_cut_as_the_tracker_cuts_them(over: str, blind: str, events: list[tuple[int, int]]) -> None:
    rarities = [5.0 if mark == "#" else 0.0 for mark in over]
    assert list(events_in(rarities, 4.0, 2.4, 10.0, [mark == "#" for mark in blind])) == [
        Span(*each) for each in events
    ]


def test_without_blind_frames_every_camera_is_judged() -> None:
    assert list(events_in([0.0, 5.0, 3.0, 3.0, 3.0, 0.0], 4.0, 2.4, FPS)) == [Span(1, 4)]
    assert list(events_in([], 4.0, 2.4, FPS)) == []


def test_stretches_are_those_of_the_labels() -> None:
    assert stretches_in(np.array([1, 0, 0, 1, 1, 0, 1], np.uint8)) == [Span(0, 0), Span(3, 4), Span(6, 6)]
    assert stretches_in(np.zeros(3, np.uint8)) == []


def judged(over: str, labels: str, masked: bool = True, place: tuple[int, int] = (1, 2)) -> JudgedClip:
    """A clip by its marks; what is unusual is one patch of 4 x 6, and the mask is the same place of 40 x 60 pixels."""
    scores_N = np.array([0.9 - 0.001 * n if mark == "#" else 0.1 for n, mark in enumerate(over)])
    labels_N = np.array([mark == "#" for mark in labels], np.uint8)
    maps_NRS = np.full((len(over), 4, 6), 0.1, np.float32)
    maps_NRS[:, place[0], place[1]] = 1.0
    masks_NHW = np.zeros((len(over), 40, 60), np.uint8)
    masks_NHW[labels_N > 0, 12:18, 22:28] = 1
    return JudgedClip(scores_N, labels_N, maps_NRS, masks_NHW if masked else None, FPS)


def test_anomalies_events_and_their_delay_are_counted_over_all_clips() -> None:
    late = judged("......######....", "....######......")
    early = judged("..########......", "....######......")
    false = judged(".####...........", "................")
    missed = judged("................", "......####......")
    told = events_told([late, early, false, missed], 24.0, 0.5, 0.3)
    assert (told.num_events, told.num_on_anomaly) == (3, 2)
    assert (told.num_anomalies, told.num_found) == (3, 2)
    # Told 0.3 s after it opens: two frames late and three long; or on the fifth frame, one after the anomaly began.
    assert told.delays_s == pytest.approx((0.5, 0.1))
    assert told.median_delay_s == pytest.approx(0.3)
    assert (told.per_day, told.enter) == (24.0, 0.5)


def test_an_event_that_is_open_when_an_anomaly_begins_has_no_delay() -> None:
    assert events_told([judged("##########", "......####")], 1.0, 0.5, 0.3).delays_s == (0.0,)


def test_two_anomalies_under_one_event_are_both_found() -> None:
    told = events_told([judged("..##########..", "..###....###..")], 1.0, 0.5, 0.3)
    assert (told.num_events, told.num_on_anomaly, told.num_found) == (1, 1, 2)


def test_the_worst_region_at_the_peak_is_held_against_the_mask() -> None:
    there, elsewhere = (judged("..######..", "..######..", place=place) for place in ((1, 2), (3, 0)))
    told = events_told([there, elsewhere], 1.0, 0.5, 0.3)
    assert (told.num_placed, told.num_placeable) == (1, 2)


def test_a_peak_where_nothing_is_masked_says_nothing_of_places() -> None:
    before, unmasked = judged("######....", "..########"), judged("..####..", "..####..", masked=False)
    told = events_told([before, unmasked], 1.0, 0.5, 0.3)
    assert (told.num_on_anomaly, told.num_placeable) == (2, 0)


def test_nothing_told_has_no_delay() -> None:
    told = events_told([judged("........", "..####..")], 1.0, 0.5, 0.3)
    assert (told.num_events, told.num_found, told.median_delay_s) == (0, 0, None)
