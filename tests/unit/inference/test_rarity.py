"""From evidences to a level, its p-value, and a rate of false alarms with what can be promised."""

import math
from itertools import pairwise

import numpy as np
import pytest

from inference.evidence import Evidence
from inference.rarity import (
    BIN,
    BLOCK_TAIL,
    BLOCKS_PER_DAY,
    CALM,
    FRAME_TAIL,
    NEIGHBOURS,
    PLACES_S,
    PRIOR_TAIL,
    USUAL_SCALE,
    block_peaks,
    block_tails,
    evidence_moments,
    histogram,
    joint,
    level_for,
    log10_p,
    rate_of,
    tail_of,
)
from memory_store.normality import LEVEL_TO, Grid, Normality

GRID = Grid(8, 12)
FPS = 10.0


def evidence(num_frames=1000, seed=0):
    draw = np.random.default_rng(seed)
    return Evidence(draw.normal(-1, 0.2, num_frames), draw.normal(4, 2, num_frames), draw.normal(3, 1, num_frames))


def memory_of(found, peaks=None):
    memory = Normality.empty(GRID)
    memory.field("evidence")[...] = evidence_moments(found)
    if peaks is not None:
        memory.field("peaks")[...] = histogram(peaks)
    return memory


def of_levels(levels):
    memory = Normality.empty(GRID)
    memory.field("levels")[...] = histogram(levels)
    return memory


def test_motion_counts_in_spreads_above_what_is_usual_whatever_its_scale():
    found = evidence()
    x_F = joint(found, memory_of(found), FPS, side_weight=0.0)
    z_F = (found.motion_F - found.motion_F.mean()) / found.motion_F.std()
    np.testing.assert_allclose(x_F, np.where(z_F > 0, z_F, CALM * z_F), atol=0.05)


def test_calm_makes_up_for_little_and_that_nothing_is_out_of_place_for_nothing():
    found = evidence()
    memory = memory_of(found)
    calmer = joint(Evidence(found.motion_F - 1.0, found.place_F - 100.0, found.background_F - 100.0), memory, FPS)
    np.testing.assert_allclose(calmer, joint(Evidence(found.motion_F - 1.0, *[found.place_F - 200.0] * 2), memory, FPS))
    assert (calmer < 0.0).mean() > 0.99
    assert calmer.min() > -1.0


@pytest.mark.parametrize(("seconds", "weight"), [(0.0, 0.2), (PLACES_S / 2, 0.6), (PLACES_S, 1.0), (4 * PLACES_S, 1.0)])
def test_other_evidences_only_raise_and_the_more_the_better_their_places_are_known(seconds, weight):
    found = evidence()
    memory = memory_of(found)
    memory.field("frames")[...] = seconds * FPS
    alone, both = joint(found, memory, FPS, 0.0), joint(found, memory, FPS, 0.5)
    assert (both >= alone).all()
    strange = Evidence(found.motion_F[:1], found.place_F[:1], found.background_F[:1] + 50.0)
    spread = found.background_F.std()
    assert joint(strange, memory, FPS, 0.5)[0] == pytest.approx(both[0] + 0.5 * weight * 50 / spread, rel=0.1)


def test_moments_add_up():
    found = evidence()
    halves = [
        Evidence(*(values[part] for values in (found.motion_F, found.place_F, found.background_F)))
        for part in (slice(0, 300), slice(300, None))
    ]
    np.testing.assert_allclose(sum(evidence_moments(half) for half in halves), evidence_moments(found))


def test_p_is_the_share_that_was_as_high():
    levels = np.random.default_rng(0).normal(0, 1, 200_000)
    memory = of_levels(levels)
    for level, p in [(0.0, 0.5), (1.0, 0.1587), (2.0, 0.0228)]:
        assert 10 ** log10_p(np.array([level]), memory)[0] == pytest.approx(p, rel=0.12)


def test_p_falls_without_end_and_never_rises():
    memory = of_levels(np.random.default_rng(0).normal(0, 1, 5000))
    p = log10_p(np.linspace(-3.9, 500, 4000), memory)
    assert (np.diff(p) <= 1e-9).all()
    assert p[0] == pytest.approx(0, abs=1e-3)
    assert np.isfinite(p).all()
    assert p[-1] < -40


def test_of_few_observations_a_tail_is_heavier_and_of_many_an_exponential():
    levels = 1.0 + np.random.default_rng(0).exponential(0.5, 100_000)
    few, many = (tail_of(histogram(levels[:count]), 0.5) for count in (20, 100_000))
    assert few.known == PRIOR_TAIL + few.count
    far = np.array([many.start + 4.0])
    assert many.log10_p(far)[0] == pytest.approx(np.log10(many.share) - 4.0 / many.scale / np.log(10), rel=1e-2)
    beyond = np.array([few.start + 8 * few.scale])
    assert few.log10_p(beyond)[0] > np.log10(few.share) - 8 / np.log(10) + 0.5
    for tail in (few, many):
        for p in (0.4, 1e-3, 1e-6):
            assert 10 ** tail.log10_p(np.array([tail.level_at(p)]))[0] == pytest.approx(p)


def with_tail(*levels):
    """One frame in twenty has these levels, and all others one just below them."""
    body = np.full(19 * len(levels), min(levels) - BIN)
    return tail_of(histogram(np.concatenate([body, levels])), FRAME_TAIL, NEIGHBOURS)


def test_a_few_frames_that_lie_close_together_by_chance_make_no_low_threshold():
    assert with_tail(*[1.0] * 6).scale > 0.6 * USUAL_SCALE
    assert with_tail(*[1.0] * 6000).scale < 0.3 * USUAL_SCALE, "of many it is no chance"


@pytest.mark.parametrize("count", [3, 30, 3000])
def test_what_is_seen_to_reach_far_is_believed_at_once(count):
    assert with_tail(*[1.0, 5.0] * count).scale == pytest.approx(2.0, abs=2 * BIN)


def test_counts_that_weigh_little_have_a_tail_all_the_same():
    levels = np.random.default_rng(0).normal(0, 1, 5000)
    whole, faded = (tail_of(weight * histogram(levels), FRAME_TAIL, NEIGHBOURS) for weight in (1.0, 1e-3))
    assert faded.start == whole.start
    assert faded.scale == pytest.approx(whole.scale)
    assert faded.known < whole.known


def test_the_tail_of_an_exponential_is_its_own():
    levels = np.random.default_rng(0).exponential(0.5, 100_000)
    tail = tail_of(histogram(levels), FRAME_TAIL)
    assert tail.scale == pytest.approx(0.5, rel=0.08)
    assert tail.share == pytest.approx((levels >= tail.start).mean(), rel=1e-6)
    assert tail.count == (levels >= tail.start).sum()


def test_blocks_keep_their_highest_level_and_leave_out_the_rest():
    levels = np.arange(25.0)
    assert block_peaks(levels, fps=1.0).tolist() == [9.0, 19.0]
    assert block_peaks(levels[:7], fps=1.0).tolist() == [6.0]


@pytest.mark.parametrize("per_day", [0.1, 1.0, 24.0, 1440.0])
def test_rates_and_levels_are_inverse(per_day):
    memory = memory_of(evidence(), np.random.default_rng(1).gumbel(1.0, 0.4, 3000))
    level = level_for(per_day, memory)
    assert rate_of(level, memory).per_day == pytest.approx(per_day, rel=1e-6)


def test_a_threshold_holds_on_video_like_that_it_was_made_from():
    draw = np.random.default_rng(2)
    memory = memory_of(evidence(), draw.gumbel(1.0, 0.4, 5000))
    level = level_for(100.0, memory)
    later = draw.gumbel(1.0, 0.4, 500_000)
    assert (later >= level).mean() * BLOCKS_PER_DAY == pytest.approx(100.0, rel=0.5)


def test_little_footage_promises_little():
    draw = np.random.default_rng(3)
    short, long = (memory_of(evidence(), draw.gumbel(1.0, 0.4, number)) for number in (20, 20_000))
    wide, narrow = (rate_of(level_for(1.0, memory), memory) for memory in (short, long))
    assert wide.per_day == pytest.approx(narrow.per_day) == pytest.approx(1.0)
    assert narrow.at_most < 1.3
    assert wide.at_most > 4.0


def walks(number: int) -> np.ndarray:
    """Peaks of somebody who sits, and walks past the lens in a fiftieth of all blocks."""
    draw = np.random.default_rng(5)
    return np.where(np.arange(number) % 50 == 0, draw.exponential(2.0, number), draw.exponential(0.3, number))


@pytest.mark.parametrize("number", [1000, 5000])
def test_what_is_seldom_and_reaches_far_is_not_continued_by_what_is_frequent(number):
    peaks = walks(number)
    memory, later = memory_of(evidence(), peaks), walks(200_000)
    half = tail_of(memory.field("peaks"), BLOCK_TAIL)
    by_half, level = half.level_at(24.0 / BLOCKS_PER_DAY), level_for(24.0, memory)
    assert (later >= by_half).mean() * BLOCKS_PER_DAY > 60
    assert (later >= level).mean() * BLOCKS_PER_DAY < 48
    assert rate_of(level, memory).per_day == pytest.approx(24.0, rel=1e-6)


def test_of_an_exponential_every_upper_part_says_the_same():
    memory = memory_of(evidence(), np.random.default_rng(6).exponential(0.5, 20_000))
    tails = block_tails(memory)
    assert len(tails) > 6
    assert all(0.35 < after.share / before.share < 0.65 for before, after in pairwise(tails))
    assert tails[0].level_at(1e-3) < level_for(1e-3 * BLOCKS_PER_DAY, memory) < 1.25 * tails[0].level_at(1e-3)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_what_lies_beyond_all_bins_tells_no_scale(share):
    """Of an exponential that is cut off at the last bin the scale is found all the same."""
    scale = LEVEL_TO / -math.log(share)
    tail = tail_of(histogram(np.random.default_rng(7).exponential(scale, 20_000)), 0.9)
    assert tail.scale == pytest.approx(scale, rel=0.05)


def test_the_highest_bin_is_a_tail_however_much_lies_in_it():
    levels = np.array([0.5] * 8 + [30.0] * 2)
    tail = tail_of(histogram(levels), 0.1)
    assert tail.start == LEVEL_TO - BIN
    assert (tail.share, tail.count) == (0.2, 2.0)


def test_one_block_alone_still_gives_a_threshold():
    memory = memory_of(evidence(), np.array([2.0]))
    level = level_for(1.0, memory)
    assert math.isfinite(level)
    assert level > 2.0
    assert rate_of(level, memory).at_most > 10


def test_a_rate_no_tail_reaches_is_where_the_tail_begins():
    memory = memory_of(evidence(), np.random.default_rng(1).normal(1.0, 0.4, 1000))
    assert level_for(1e9, memory) == tail_of(memory.field("peaks"), BLOCK_TAIL).start


@pytest.mark.parametrize("peaks", [[1.0] * 9, [0.2, 0.3, *[1.0] * 9], [11.99] * 3, [-50.0, 50.0, 50.0]])
def test_peaks_of_one_level_are_a_tail_too(peaks):
    memory = memory_of(evidence(), np.array(peaks))
    tail = tail_of(memory.field("peaks"), BLOCK_TAIL)
    assert tail.count >= 1
    assert 0 < tail.share <= 1
    level = level_for(1.0, memory)
    assert level > tail.start
    assert rate_of(level, memory).per_day == pytest.approx(1.0, rel=1e-6)


def test_nothing_counted_gives_finite_numbers():
    memory = Normality.empty(GRID)
    assert math.isfinite(level_for(1.0, memory))
    assert np.isfinite(log10_p(np.array([-9.0, 0.0, 9.0]), memory)).all()
    assert rate_of(0.0, memory).at_most >= rate_of(0.0, memory).per_day


def test_of_few_blocks_frames_tell_where_the_threshold_is():
    """One block that is higher than the two others says nothing of a day's highest."""
    draw = np.random.default_rng(4)
    levels = draw.normal(0, 0.5, 360)
    memory = memory_of(evidence(), np.array([0.4, 0.5, 2.4]))
    memory.field("levels")[...] = histogram(levels)
    level = level_for(1.0, memory)
    assert levels.max() < level < 4.0
    assert rate_of(level, memory).per_day == pytest.approx(1.0, rel=1e-6)
    assert rate_of(level, memory).at_most > 30
    memory.field("peaks")[...] = histogram(draw.gumbel(1.0, 0.4, 100))
    assert level_for(1.0, memory) != level
