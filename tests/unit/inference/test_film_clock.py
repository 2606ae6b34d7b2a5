"""Times of a film from stamps that may lie, by plain numbers: steps, holes, damage, rates that cannot be."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.sampling import FilmClock

Seen = list[tuple[float, int]]


def seen(*stamps: tuple[float, bool], fps: float = 10.0, is_rate_given: bool = False) -> Seen:
    """Time in seconds, rounded, and frames lost before it, of each (stamp in ms, damage before it)."""
    clock = FilmClock(fps, is_rate_given)
    found = [clock.next(stamp, was_damaged) for stamp, was_damaged in stamps]
    return [(round(at_s, 6), num_lost) for at_s, num_lost in found]


def test_the_film_begins_at_nought_whatever_its_first_stamp() -> None:
    assert seen((5000, False), (5100, False)) == [(0, 0), (0.1, 0)]
    assert seen((-40, True), (60, False)) == [(0, 0), (0.1, 0)], "damage before the first frame has no length"


@pytest.mark.parametrize(
    ("step_ms", "num_lost"), [(100, 0), (140, 0), (149, 0), (160, 1), (200, 1), (240, 1), (300, 2), (1000, 9)]
)
def test_damage_of_so_long_has_cost_so_many_frames(step_ms: float, num_lost: int) -> None:
    assert seen((0, False), (step_ms, True)) == [(0, 0), (step_ms / 1000, num_lost)]
    assert seen((0, False), (step_ms, False)) == [(0, 0), (step_ms / 1000, 0)], "a pause is no loss"


@pytest.mark.parametrize("stamp", [100.0, 50.0, -1e9, 100 + 3600 * 1000 + 1, 1e300, math.inf, -math.inf, math.nan])
def test_a_stamp_that_cannot_be_is_replaced_by_one_step(stamp: float) -> None:
    assert seen((0, False), (100, False), (stamp, True))[-1] == (0.2, 0)


def test_an_hour_is_the_longest_pause() -> None:
    assert seen((0, False), (3_600_000, False))[-1] == (3600, 0)
    assert seen((0, False), (3_600_001, False))[-1] == (0.1, 0)


def test_a_step_below_a_microsecond_stands_still() -> None:
    assert seen((0, False), (0.002, False))[-1] == (2e-6, 0)
    assert seen((-2e-51, False), (0, False), (0.0009, False)) == [(0, 0), (0.1, 0), (0.2, 0)]


def test_after_a_jump_the_film_goes_on_from_where_it_jumped_to() -> None:
    stamps = [0, 100, 200, 50, 150, 250]
    assert [at_s for at_s, _ in seen(*((stamp, False) for stamp in stamps))] == [0, 0.1, 0.2, 0.3, 0.4, 0.5]


def test_after_a_stamp_that_is_none_the_last_true_one_counts() -> None:
    assert seen((0, False), (100, False), (math.nan, False), (300, False)) == [(0, 0), (0.1, 0), (0.2, 0), (0.4, 0)]


@pytest.mark.parametrize("none", [math.nan, math.inf, -math.inf])
def test_a_first_stamp_that_is_none_is_the_beginning_all_the_same(none: float) -> None:
    assert seen((none, False), (700, False), (900, False)) == [(0, 0), (0.1, 0), (0.3, 0)]


def test_a_rate_that_was_given_wins_over_every_stamp_and_damage_still_leaves_its_hole() -> None:
    stamps = [(0, False), (7, False), (700, False), (1000, True), (1001, False)]
    assert seen(*stamps, is_rate_given=True) == [(0, 0), (0.1, 0), (0.2, 0), (0.5, 2), (0.6, 0)]


def test_the_time_before_is_where_a_hole_begins() -> None:
    clock = FilmClock(10.0, is_rate_given=False)
    for stamp in (0.0, 100.0, 250.0):
        clock.next(stamp, was_damaged=False)
    assert clock.previous_s == pytest.approx(0.1)
    clock.next(1250.0, was_damaged=True)
    assert clock.previous_s == pytest.approx(0.25)


STAMPS = st.floats() | st.floats(0, 1e5) | st.integers(0, 2000).map(float)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(STAMPS, st.booleans()), min_size=1, max_size=30), st.floats(0.01, 240), st.booleans())
def test_time_runs_forwards_and_holes_lie_within_it(stamps: Seen, fps: float, is_rate_given: bool) -> None:
    clock = FilmClock(fps, is_rate_given)
    times, before = [], 0.0
    for number, (stamp, was_damaged) in enumerate(stamps):
        at_s, num_lost = clock.next(stamp, bool(was_damaged))
        assert (num_lost == 0) or was_damaged
        assert clock.previous_s == before
        # Each lost frame is one step, give or take the half that rounding takes.
        assert at_s - before >= (num_lost + 0.5) / fps * (1 - 1e-9) or num_lost == 0
        assert number == 0 or at_s > before
        times.append(at_s)
        before = at_s
    assert times[0] == 0
    assert all(math.isfinite(at_s) for at_s in times)
    assert all(earlier < later for earlier, later in itertools.pairwise(times))
