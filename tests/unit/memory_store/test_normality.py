"""The algebra of counts: any order, any grouping, fading by time, and what no frames can have given."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_store.normality import (
    BY_SCORE,
    FLOOR_BIN_EDGES,
    FORM,
    NUM_LEVEL_BINS,
    NUM_SPEED_BINS,
    SPEED_FLOOR_PX,
    Grid,
    Normality,
    merge_all,
)
from schemas.errors import BadMessageError
from schemas.messages import FIRST_FORM, NormalityHeader

GRID = Grid(8, 12)
HOUR = 3600.0
NOW = 1.79e9


def seen(at_s: float, seed: int = 0, frames: float = 3.0) -> Normality:
    """What some frames might have given."""
    draw = np.random.default_rng(seed)
    values_P = draw.normal(size=(*GRID.places, 5))
    grey_P = draw.uniform(0, 255, size=(*GRID.places, 5))
    return Normality.of(
        GRID,
        at_s,
        frames=frames,
        psnr=np.array([frames * 30.0, frames * 910.0]),
        speeds=draw.integers(0, 9, size=(GRID.rows, NUM_SPEED_BINS)).astype(float),
        errors=np.stack([np.full(GRID.places, 5.0), values_P.sum(-1), np.square(values_P).sum(-1)], axis=-1),
        background=np.stack([grey_P.mean(-1) * frames, np.square(grey_P).mean(-1) * frames], axis=-1),
        levels=draw.integers(0, 5, size=NUM_LEVEL_BINS).astype(float),
    )


seconds = st.floats(NOW - 100 * HOUR, NOW)
forms = st.integers(FORM - 1, FORM + 1)
parts = st.lists(st.tuples(seconds, st.integers(0, 99), forms), min_size=1, max_size=5)


@given(parts, st.randoms(use_true_random=False), st.sampled_from([60.0, HOUR, math.inf]))
def test_any_order_and_any_grouping_gives_the_same(drawn, random, half_life_s):
    all_parts = [replace(seen(at_s, seed), form=form) for at_s, seed, form in drawn]
    at_once = merge_all(all_parts, half_life_s)
    random.shuffle(all_parts)
    one_by_one = Normality.empty(GRID)
    for part in all_parts:
        one_by_one = part.merge(one_by_one, half_life_s)
    assert one_by_one.at_s == at_once.at_s == max(part.at_s for part in all_parts)
    assert one_by_one.form == at_once.form == max(part.form for part in all_parts)
    np.testing.assert_allclose(one_by_one.values_N, at_once.values_N, rtol=1e-9, atol=1e-12)


def test_pairs_group_either_way():
    a, b, c = seen(NOW - 70, 1), seen(NOW, 2), seen(NOW - 3000, 3)
    for one, two, three in itertools.permutations([a, b, c]):
        left = one.merge(two, HOUR).merge(three, HOUR)
        right = one.merge(two.merge(three, HOUR), HOUR)
        np.testing.assert_allclose(left.values_N, right.values_N, rtol=1e-12)


def test_where_forms_meet_the_newest_ones_score_counts_and_all_that_was_seen():
    old, new = replace(seen(NOW, 1), form=FORM - 1), seen(NOW, 2)
    both, as_if = old.merge(new, HOUR), seen(NOW, 1).merge(new, HOUR)
    for name in GRID.shapes:
        wanted = new if name in BY_SCORE else as_if
        np.testing.assert_allclose(both.field(name), wanted.field(name))
    assert old.field("levels").any(), "the parts stay as they are"
    assert old.merge(Normality.empty(GRID), HOUR).form == old.form


def test_a_form_goes_where_the_counts_go():
    old = replace(seen(NOW), form=FORM + 1)
    assert old.scaled(2.0).form == old.at(NOW + 1, HOUR).form == old.in_form(FORM + 1).form == FORM + 1
    header, value = old.to_wire()
    assert Normality.from_wire(header, value).form == FORM + 1
    assert (seen(NOW).form, old.in_form().form) == (FORM, FORM)
    assert NormalityHeader(rows=8, columns=12, at_s=None).form == FIRST_FORM < FORM


@pytest.mark.parametrize("half_life_s", [60.0, math.inf])
def test_nothing_seen_changes_nothing(half_life_s):
    some, none = seen(NOW), Normality.empty(GRID)
    for merged in (some.merge(none, half_life_s), none.merge(some, half_life_s)):
        assert merged.at_s == NOW
        np.testing.assert_array_equal(merged.values_N, some.values_N)
    assert none.merge(none, half_life_s).at_s == -math.inf
    assert none.num_frames == 0


def test_what_is_a_half_life_old_counts_half_whoever_arrives_first():
    old, new = seen(NOW - HOUR, frames=8.0), seen(NOW, frames=2.0)
    for merged in (old.merge(new, HOUR), new.merge(old, HOUR)):
        assert merged.at_s == NOW
        assert merged.num_frames == pytest.approx(2 + 8 / 2)
    assert merge_all([old, old, new], HOUR / 2).num_frames == pytest.approx(2 + 2 * 8 / 4)


def test_time_goes_forwards_only():
    some = seen(NOW, frames=4.0)
    assert some.at(NOW + 2 * HOUR, HOUR).num_frames == pytest.approx(1.0)
    assert some.at(NOW, HOUR).num_frames == 4.0
    with pytest.raises(ValueError, match="cannot be taken back"):
        some.at(NOW - 1, HOUR)


def test_a_clock_that_jumps_a_century_ahead_forgets_and_does_not_explode():
    later = seen(NOW).merge(seen(NOW + 100 * 365 * 24 * HOUR, 1), 60.0)
    later.check()
    np.testing.assert_array_equal(later.values_N, seen(NOW, 1).values_N)


def test_counts_do_not_stall_where_float32_would():
    many = seen(NOW, frames=2.0**24)
    assert many.merge(seen(NOW, frames=1.0), math.inf).num_frames == 2.0**24 + 1


def test_a_field_is_a_view_of_the_right_numbers():
    levels = np.arange(NUM_LEVEL_BINS, dtype=float)
    made = Normality.of(GRID, NOW, frames=1.0, levels=levels)
    np.testing.assert_array_equal(made.field("levels"), levels)
    assert made.values_N.sum() == 1 + levels.sum()
    assert sum(made.field(name).size for name in GRID.shapes) == GRID.size == made.values_N.size


def test_scaling_keeps_the_time():
    doubled = seen(NOW).scaled(2.0)
    assert doubled.at_s == NOW
    np.testing.assert_array_equal(doubled.values_N, 2 * seen(NOW).values_N)


def test_speed_bins_double_every_two():
    assert FLOOR_BIN_EDGES[0] == SPEED_FLOOR_PX
    np.testing.assert_allclose(FLOOR_BIN_EDGES[2:] / FLOOR_BIN_EDGES[:-2], 2.0)


def test_a_bank_of_a_usual_camera_is_small():
    assert 8 * Grid(32, 48).size <= 16 * 1024


def test_grids():
    assert Grid(33, 51).places == (8, 12), "what is left over belongs to the last place"
    with pytest.raises(ValueError, match="at least 4 x 4"):
        Grid(3, 48)
    with pytest.raises(ValueError, match="one grid"):
        merge_all([Normality.empty(GRID), Normality.empty(Grid(12, 8))], HOUR)


def test_what_frames_gave_passes():
    seen(NOW).check()
    Normality.empty(GRID).check()
    seen(NOW).merge(seen(NOW - HOUR, 7), 77.0).check()


@pytest.mark.parametrize("name", ["frames", "speeds", "levels", "peaks"])
def test_negative_counts_are_refused(name):
    forged = seen(NOW)
    forged.field(name).flat[0] = -1.0
    with pytest.raises(BadMessageError, match="negative") as caught:
        forged.check()
    assert caught.value.reason == "implausible"


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [("psnr", 0, 1e9), ("errors", (1, 2, 1), 1e6), ("errors", (0, 0, 0), -5.0), ("background", (0, 0, 1), 0.0)],
)
def test_sums_that_no_observations_have_are_refused(name, index, value):
    forged = seen(NOW)
    forged.field(name)[index] = value
    with pytest.raises(BadMessageError, match="fit the sums") as caught:
        forged.check()
    assert caught.value.reason == "implausible"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_refused(value):
    forged = seen(NOW)
    forged.field("levels")[3] = value
    with pytest.raises(BadMessageError) as caught:
        forged.check()
    assert caught.value.reason == "not_finite"


@pytest.mark.parametrize("at_s", [math.nan, math.inf])
def test_times_that_are_none_are_refused(at_s):
    with pytest.raises(BadMessageError):
        Normality(GRID, at_s, np.zeros(GRID.size)).check()


def test_another_size_is_refused():
    with pytest.raises(BadMessageError, match=r"must be \d+ numbers"):
        Normality(GRID, NOW, np.zeros(GRID.size - 1))
    with pytest.raises(BadMessageError, match="'psnr' must have shape"):
        Normality.of(GRID, NOW, psnr=np.zeros(3))
    with pytest.raises(KeyError):
        Normality.of(GRID, NOW, colour=np.zeros(3))
