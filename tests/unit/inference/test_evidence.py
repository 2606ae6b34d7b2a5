"""Each evidence against a memory of plain numbers: what is counted, what is rare, who answers where little was seen."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.evidence import (
    BEYOND,
    LARGEST_CELLS,
    PATCH_CELLS,
    THING_S,
    Seen,
    ask,
    expectation,
    level_bins,
    motion_map,
    motion_patches,
    patch_means,
    place_means,
    remember,
    size_of_things,
    speed_surprise,
    with_parent,
)
from memory_store.normality import (
    BY_SCORE,
    FLOOR_BIN_EDGES,
    FORM,
    LEVEL_FROM,
    LEVEL_TO,
    NUM_LEVEL_BINS,
    NUM_SPEED_BINS,
    SPEED_FLOOR_PX,
    Grid,
    Normality,
)
from networks.measures import CELL_PX

R, S = 8, 12
GRID = Grid(R, S)
FPS = 10.0


def seen(num_frames=40, seed=0, speed=1.0, error=1e-3, grey=100.0):
    """Frames in which everything moves at about ``speed``."""
    draw = np.random.default_rng(seed)
    return Seen(
        (error * draw.lognormal(0, 0.3, (num_frames, R, S))).astype(np.float32),
        (speed * draw.lognormal(0, 0.2, (num_frames, R, S))).astype(np.float32),
        draw.normal(grey, 2.0, (num_frames, *GRID.places)).astype(np.float32),
        draw.normal(30, 1, num_frames).astype(np.float32),
    )


def changed(base, **fields):
    """``base`` with some arrays replaced."""
    kept = {name: getattr(base, name) for name in ("errors_FRS", "speeds_FRS", "grey_FPQ", "psnr_db_F")}
    return Seen(**{**kept, **fields})


@given(st.integers(1, 39), st.integers(0, 9))
def test_parts_add_up_to_the_whole(cut, seed):
    whole = seen(seed=seed)
    parts = remember(whole[:cut], 5.0).merge(remember(whole[cut:], 5.0), math.inf)
    np.testing.assert_allclose(parts.values_N, remember(whole, 5.0).values_N, rtol=1e-9)


def test_what_is_remembered_is_what_was_seen():
    whole = seen()
    memory = remember(whole, 7.0)
    memory.check()
    assert memory.at_s == 7.0
    assert memory.num_frames == 40
    moving = whole.speeds_FRS >= SPEED_FLOOR_PX
    np.testing.assert_array_equal(memory.field("speeds").sum(axis=1), moving.sum(axis=(0, 2)))
    assert memory.field("psnr")[0] == pytest.approx(whole.psnr_db_F.sum(), rel=1e-6)
    np.testing.assert_allclose(memory.field("background")[..., 0], whole.grey_FPQ.sum(axis=0), rtol=1e-6)
    np.testing.assert_allclose(memory.field("errors")[..., 0], 40)


def test_speeds_are_counted_in_their_row_and_bin():
    speeds = np.zeros((1, R, S), np.float32)
    speeds[0, 2, :3] = FLOOR_BIN_EDGES[4] * 1.01
    speeds[0, 5, 0] = 1e6
    speeds[0, 6, 0] = SPEED_FLOOR_PX * 0.99
    counts = remember(changed(seen(1), speeds_FRS=speeds), 0.0).field("speeds")
    assert counts[2, 4] == 3
    assert counts[5, NUM_SPEED_BINS - 1] == 1
    assert counts.sum() == 4


def test_surprise_is_the_logarithm_of_the_share_as_fast():
    speeds = np.full((1, R, S), FLOOR_BIN_EDGES[2] * 1.001, np.float32)
    speeds[0, :, :3] = FLOOR_BIN_EDGES[6] * 1.001  # a quarter of each row
    expected = expectation(remember(changed(seen(1), speeds_FRS=speeds), 0.0), FPS)
    at_edge = np.full((1, R, S), FLOOR_BIN_EDGES[6], np.float32)
    np.testing.assert_allclose(speed_surprise(at_edge, expected), math.log(4), rtol=1e-4)
    assert speed_surprise(np.full((1, R, S), SPEED_FLOOR_PX, np.float32), expected).max() == pytest.approx(0, abs=1e-9)
    assert speed_surprise(np.zeros((1, R, S), np.float32), expected).max() == 0


def test_beyond_the_fastest_each_bin_is_rarer_still():
    expected = expectation(remember(seen(), 0.0), FPS)
    speeds = np.broadcast_to(FLOOR_BIN_EDGES[:, None, None], (NUM_SPEED_BINS, R, S)).astype(np.float32)
    rising = speed_surprise(speeds, expected)
    assert (np.diff(rising, axis=0) >= -1e-9).all()
    np.testing.assert_allclose(np.diff(rising[-4:], axis=0), BEYOND, rtol=1e-3)
    assert np.isfinite(speed_surprise(np.full((1, R, S), 1e9, np.float32), expected)).all()


def test_a_row_is_asked_before_the_camera():
    speeds = np.full((500, R, S), 0.5, np.float32)
    speeds[:, R // 2 :] = 4.0
    expected = expectation(remember(changed(seen(500), speeds_FRS=speeds), 0.0), FPS)
    fast = speed_surprise(np.full((1, R, S), 3.9, np.float32), expected)[0]
    assert fast[: R // 2].min() > 3.0, "where things are slow, this is fast"
    assert fast[R // 2 :].max() < 0.2, "where things are fast, it is not"


def test_a_row_without_counts_answers_as_the_camera_and_amplifies_nothing():
    speeds = np.full((50, R, S), 2.0, np.float32)
    speeds[:, 0] = 0.0
    expected = expectation(remember(changed(seen(50), speeds_FRS=speeds), 0.0), FPS)
    slow = speed_surprise(np.full((1, R, S), 1.0, np.float32), expected)[0]
    np.testing.assert_allclose(slow[0], slow[1], atol=1e-6)
    assert slow.max() < 0.01


def test_an_empty_memory_calls_nothing_rare():
    expected = expectation(Normality.empty(GRID), FPS)
    assert speed_surprise(np.full((1, R, S), 50.0, np.float32), expected).max() == 0
    evidence = ask(seen(), expected)
    assert all(np.isfinite(values).all() for values in (evidence.motion_F, evidence.place_F, evidence.background_F))


def test_a_cold_memory_answers_as_its_parent_and_a_warm_one_as_itself():
    parent, own = remember(seen(400, 1, speed=4.0), 0.0), remember(seen(2000, 2, speed=0.5), 0.0)
    probe = np.full((1, R, S), 2.0, np.float32)

    def surprise(memory):
        return float(speed_surprise(probe, expectation(memory, FPS)).mean())

    cold = with_parent(Normality.empty(GRID), parent)
    assert surprise(cold) == pytest.approx(surprise(parent), abs=0.5)
    assert surprise(cold) < 0.1 < 3.0 < surprise(with_parent(own, parent))
    assert with_parent(own, None) is own
    assert with_parent(own, Normality.empty(GRID)) is own


def test_each_question_is_answered_by_its_own_evidence():
    base = seen(200)
    expected = expectation(remember(base, 0.0), FPS)
    usual = ask(base, expected)
    fast, wrong, odd = base.speeds_FRS[:1].copy(), base.errors_FRS[:1].copy(), base.grey_FPQ[:1].copy()
    fast[0, :4, :4] *= 8
    wrong[0, :4, :4] *= 100
    odd[0, 1, 2] += 60
    first = base[:1]
    moved = ask(changed(first, speeds_FRS=fast), expected)
    missed = ask(changed(first, errors_FRS=wrong), expected)
    strange = ask(changed(first, grey_FPQ=odd), expected)
    assert moved.motion_F[0] > usual.motion_F.max()
    assert moved.place_F[0] == usual.place_F[0]
    assert missed.place_F[0] > usual.place_F.max()
    assert missed.motion_F[0] > usual.motion_F.max()
    assert missed.background_F[0] == usual.background_F[0]
    assert strange.background_F[0] > usual.background_F.max()
    assert strange.motion_F[0] == usual.motion_F[0]


def test_frames_are_judged_one_by_one():
    base, expected = seen(30), expectation(remember(seen(100, 3), 0.0), FPS)
    together = ask(base, expected)
    alone = [ask(base[index : index + 1], expected) for index in range(30)]
    for name in ("motion_F", "place_F", "background_F"):
        parts = np.concatenate([getattr(part, name) for part in alone])
        np.testing.assert_allclose(parts, getattr(together, name), rtol=1e-12)


def test_the_map_shows_what_is_fast_or_wrong():
    base, expected = seen(1), expectation(remember(seen(100), 0.0), FPS)
    fast = base.speeds_FRS.copy()
    fast[0, 5, 7] *= 10
    usual, moved = motion_map(base, expected)[0], motion_map(changed(base, speeds_FRS=fast), expected)[0]
    assert int(np.argmax(moved - usual)) == 5 * S + 7


@pytest.mark.parametrize("size", [4.0, 4.5, 6.25, 7.0])
def test_a_patch_is_the_mean_of_so_much_around_each_sixteen_pixels(size):
    cells = np.random.default_rng(0).uniform(1, 2, (2, R, S))
    patches = motion_patches(cells, size)
    assert patches.shape == (2, R - 3, S - 3)
    finely = cells.repeat(8, axis=1).repeat(8, axis=2)
    wide = round(8 * size)
    for u, v in ((0, 0), (2, 3), (R - 4, S - 4), (1, S - 4)):
        row, column = (min(max(8 * (at + 2) - wide // 2, 0), 8 * all_ - wide) for at, all_ in ((u, R), (v, S)))
        np.testing.assert_allclose(
            patches[:, u, v], finely[:, row : row + wide, column : column + wide].mean(axis=(1, 2))
        )


def test_where_the_image_is_smaller_a_patch_is_all_of_it():
    cells = np.random.default_rng(0).uniform(1, 2, (2, 3, 9))
    assert motion_patches(cells, 4.0).shape == (2, 1, 6)
    np.testing.assert_allclose(motion_patches(cells, 4.0)[:, 0, 2], cells[:, :, 2:6].mean(axis=(1, 2)))
    np.testing.assert_allclose(motion_patches(cells, 12.0)[:, 0], cells.mean(axis=(1, 2))[:, None].repeat(6, 1))


def test_a_patch_that_fits_tells_a_mover_from_the_crowd_and_one_that_does_not_hides_it():
    crowd = np.where(np.arange(S) % 4 < 2, 2.0, 1.0) * np.ones((1, R, 1))
    alone = np.ones((1, R, S))
    alone[0, 2:6, 4:8] = 2.0
    assert motion_patches(alone, 4.0).max() > 1.9 > motion_patches(crowd, 4.0).max()
    assert motion_patches(alone, 8.0).max() < motion_patches(crowd, 8.0).max()


def at_speed(px, share=1.0):
    """A memory of frames in which the first columns move so fast, and the others as slow as flow's noise."""
    speeds = np.full((50, R, S), SPEED_FLOOR_PX, np.float32)
    speeds[:, :, : round(share * S)] = px
    return remember(changed(seen(50), speeds_FRS=speeds), 0.0)


@given(st.floats(0.5, 1.2))
def test_what_moves_twice_as_fast_is_twice_as_large(px):
    once, twice = size_of_things(at_speed(px), FPS), size_of_things(at_speed(2 * px), FPS)
    assert once == pytest.approx(THING_S * FPS * px / CELL_PX, rel=0.2), "as exact as bins are narrow"
    assert twice == pytest.approx(min(2 * once, LARGEST_CELLS))
    assert size_of_things(at_speed(px), 2 * FPS) == pytest.approx(min(2 * once, LARGEST_CELLS)), (
        "by time, not by frames"
    )


def test_a_jolt_of_the_camera_makes_nothing_larger():
    usual = at_speed(1.0)
    jolted = usual.merge(remember(changed(seen(1), speeds_FRS=np.full((1, R, S), 20.0, np.float32)), 0.0), math.inf)
    assert size_of_things(jolted, FPS) < 1.3 * size_of_things(usual, FPS)


def test_what_surrounds_a_mover_makes_it_little_smaller():
    assert size_of_things(at_speed(1.5, 1 / 4), FPS) > 0.7 * size_of_things(at_speed(1.5), FPS)


def test_a_parent_of_other_sizes_says_as_much_of_them_as_so_many_frames():
    own, parent = at_speed(0.6), at_speed(2.4)
    alone = size_of_things(own, FPS)
    after = [size_of_things(own, FPS, parent, frames) for frames in (0.0, 1.0, 50.0, 1e9)]
    assert after[0] == alone
    assert after[1] == pytest.approx(alone, rel=0.05), "50 frames of its own know better than one of others"
    assert after[2] == pytest.approx(2 * alone, rel=0.01), "as many of both: half way, by octaves"
    assert after[3] == pytest.approx(min(4 * alone, LARGEST_CELLS), rel=0.01)
    assert size_of_things(Normality.empty(GRID), FPS, parent) == size_of_things(parent, FPS)
    assert size_of_things(own, FPS, Normality.empty(GRID)) == alone
    merged = size_of_things(with_parent(own, parent, 20.0), FPS)
    assert size_of_things(own, FPS, parent, 20.0) < 0.6 * merged, "by their counts the fast outweigh the slow"


def test_the_size_of_things_has_bounds_and_an_empty_memory_the_least():
    assert size_of_things(at_speed(SPEED_FLOOR_PX), FPS) == PATCH_CELLS
    assert size_of_things(at_speed(80.0), FPS) == LARGEST_CELLS
    assert size_of_things(Normality.empty(GRID), FPS) == PATCH_CELLS
    assert expectation(at_speed(1.0), FPS).patch_cells == size_of_things(at_speed(1.0), FPS)


def test_the_score_of_another_form_stands_behind_nothing():
    parent, own = remember(seen(400, 1), 0.0), remember(seen(100, 2), 0.0)
    for memory in (parent, own):
        for name in BY_SCORE:
            memory.field(name)[...] = 1.0
    old_parent, old = replace(parent, form=FORM - 1), replace(own, form=FORM - 1)
    for made, scored in (
        (with_parent(own, old_parent), 1.0),
        (with_parent(old, old_parent), 0.0),
        (with_parent(old, None), 0.0),
    ):
        assert made.form == FORM
        assert all((made.field(name) == scored).all() for name in BY_SCORE)
    np.testing.assert_allclose(with_parent(old, old_parent).field("speeds"), with_parent(own, parent).field("speeds"))


def test_patches_are_means_at_every_cell():
    cells = np.random.default_rng(0).normal(size=(2, R, S))
    means = patch_means(cells, 4)
    assert means.shape == (2, R - 3, S - 3)
    assert means[1, 2, 5] == pytest.approx(cells[1, 2:6, 5:9].mean())
    np.testing.assert_allclose(patch_means(cells, 99)[:, 0, 0], cells.mean(axis=(1, 2)))


def test_places_leave_out_what_is_left_over():
    cells = np.random.default_rng(0).normal(size=(1, 9, 14)).astype(np.float32)
    means = place_means(cells)
    assert means.shape == (1, 2, 3)
    assert means[0, 1, 2] == pytest.approx(cells[0, 4:8, 8:12].mean(), rel=1e-5)


def test_levels_outside_count_in_the_outermost_bins():
    assert level_bins(np.array([-1e9, LEVEL_FROM, LEVEL_TO - 1e-9, 1e9])).tolist() == [
        0,
        0,
        NUM_LEVEL_BINS - 1,
        NUM_LEVEL_BINS - 1,
    ]
