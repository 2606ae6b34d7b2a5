"""Each evidence against a memory of plain numbers: what is counted, what is rare, who answers where little was seen."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.evidence import (
    BEYOND,
    Seen,
    ask,
    expectation,
    level_bins,
    motion_map,
    motion_patches,
    patch_means,
    place_means,
    remember,
    speed_surprise,
    with_parent,
)
from memory_store.normality import (
    FLOOR_BIN_EDGES,
    LEVEL_FROM,
    LEVEL_TO,
    NUM_LEVEL_BINS,
    NUM_SPEED_BINS,
    SPEED_FLOOR_PX,
    Grid,
    Normality,
)

R, S = 8, 12
GRID = Grid(R, S)


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
    expected = expectation(remember(changed(seen(1), speeds_FRS=speeds), 0.0))
    at_edge = np.full((1, R, S), FLOOR_BIN_EDGES[6], np.float32)
    np.testing.assert_allclose(speed_surprise(at_edge, expected), math.log(4), rtol=1e-4)
    assert speed_surprise(np.full((1, R, S), SPEED_FLOOR_PX, np.float32), expected).max() == pytest.approx(0, abs=1e-9)
    assert speed_surprise(np.zeros((1, R, S), np.float32), expected).max() == 0


def test_beyond_the_fastest_each_bin_is_rarer_still():
    expected = expectation(remember(seen(), 0.0))
    speeds = np.broadcast_to(FLOOR_BIN_EDGES[:, None, None], (NUM_SPEED_BINS, R, S)).astype(np.float32)
    rising = speed_surprise(speeds, expected)
    assert (np.diff(rising, axis=0) >= -1e-9).all()
    np.testing.assert_allclose(np.diff(rising[-4:], axis=0), BEYOND, rtol=1e-3)
    assert np.isfinite(speed_surprise(np.full((1, R, S), 1e9, np.float32), expected)).all()


def test_a_row_is_asked_before_the_camera():
    speeds = np.full((500, R, S), 0.5, np.float32)
    speeds[:, R // 2 :] = 4.0
    expected = expectation(remember(changed(seen(500), speeds_FRS=speeds), 0.0))
    fast = speed_surprise(np.full((1, R, S), 3.9, np.float32), expected)[0]
    assert fast[: R // 2].min() > 3.0, "where things are slow, this is fast"
    assert fast[R // 2 :].max() < 0.2, "where things are fast, it is not"


def test_a_row_without_counts_answers_as_the_camera_and_amplifies_nothing():
    speeds = np.full((50, R, S), 2.0, np.float32)
    speeds[:, 0] = 0.0
    expected = expectation(remember(changed(seen(50), speeds_FRS=speeds), 0.0))
    slow = speed_surprise(np.full((1, R, S), 1.0, np.float32), expected)[0]
    np.testing.assert_allclose(slow[0], slow[1], atol=1e-6)
    assert slow.max() < 0.01


def test_an_empty_memory_calls_nothing_rare():
    expected = expectation(Normality.empty(GRID))
    assert speed_surprise(np.full((1, R, S), 50.0, np.float32), expected).max() == 0
    evidence = ask(seen(), expected)
    assert all(np.isfinite(values).all() for values in (evidence.motion_F, evidence.place_F, evidence.background_F))


def test_a_cold_memory_answers_as_its_parent_and_a_warm_one_as_itself():
    parent, own = remember(seen(400, 1, speed=4.0), 0.0), remember(seen(2000, 2, speed=0.5), 0.0)
    probe = np.full((1, R, S), 2.0, np.float32)

    def surprise(memory):
        return float(speed_surprise(probe, expectation(memory)).mean())

    cold = with_parent(Normality.empty(GRID), parent)
    assert surprise(cold) == pytest.approx(surprise(parent), abs=0.5)
    assert surprise(cold) < 0.1 < 3.0 < surprise(with_parent(own, parent))
    assert with_parent(own, None) is own
    assert with_parent(own, Normality.empty(GRID)) is own


def test_each_question_is_answered_by_its_own_evidence():
    base = seen(200)
    expected = expectation(remember(base, 0.0))
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
    base, expected = seen(30), expectation(remember(seen(100, 3), 0.0))
    together = ask(base, expected)
    alone = [ask(base[index : index + 1], expected) for index in range(30)]
    for name in ("motion_F", "place_F", "background_F"):
        parts = np.concatenate([getattr(part, name) for part in alone])
        np.testing.assert_allclose(parts, getattr(together, name), rtol=1e-12)


def test_the_map_shows_what_is_fast_or_wrong():
    base, expected = seen(1), expectation(remember(seen(100), 0.0))
    fast = base.speeds_FRS.copy()
    fast[0, 5, 7] *= 10
    usual, moved = motion_map(base, expected)[0], motion_map(changed(base, speeds_FRS=fast), expected)[0]
    assert int(np.argmax(moved - usual)) == 5 * S + 7


@pytest.mark.parametrize("size", [2, 3])
def test_a_patch_counts_with_what_is_around_it(size):
    cells = np.ones((1, 12, 17))
    inside, alone = cells.copy(), cells.copy()
    inside[0, 4:9, 6:12] = 9.0
    alone[0, 5 : 5 + size, 8 : 8 + size] = 9.0
    assert motion_patches(cells, size) == pytest.approx(np.ones((1, 13 - size, 18 - size)))
    assert motion_patches(alone, size).max() < motion_patches(inside, size).max() <= 9.0
    row, column = np.unravel_index(motion_patches(alone, size)[0].argmax(), (13 - size, 18 - size))
    assert (row, column) == (5, 8)
    around = (9.0 * size**2 + 3 * size**2) / (4 * size**2)
    assert motion_patches(alone, size).max() == pytest.approx(np.sqrt(9.0 * around))


def test_at_the_edge_the_patch_around_ends_with_the_image_and_a_small_image_is_one_patch():
    cells = np.random.default_rng(0).uniform(1, 2, (2, 10, 9))
    corner = np.sqrt(cells[:, :4, :4].mean(axis=(1, 2)) * cells[:, :8, :8].mean(axis=(1, 2)))
    np.testing.assert_allclose(motion_patches(cells, 4)[:, 0, 0], corner)
    np.testing.assert_allclose(motion_patches(cells, 99)[:, 0, 0], cells.mean(axis=(1, 2)))


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
