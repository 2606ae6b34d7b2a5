"""Disturbances and drifts do what they say."""

import numpy as np
import pytest

from training.worth.changes import DISTURBANCES, DRIFTS, contrast, dropped, gain, light_steps, moved, noise, shake

CHANGES = {**DISTURBANCES, **DRIFTS}


@pytest.fixture
def frames():
    return np.random.default_rng(7).integers(20, 200, (120, 24, 32, 1)).astype(np.uint8)


def draw():
    return np.random.default_rng(0)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_leaves_shape_kind_and_original_alone_and_can_be_repeated(name, frames):
    before = frames.copy()
    one, other = CHANGES[name](frames, draw()), CHANGES[name](frames, draw())
    assert one.shape == frames.shape
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(frames, before)
    assert not np.array_equal(one, frames)


def test_a_shake_moves_by_a_pixel_at_most(frames):
    shaken = shake(frames, draw())
    moves = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    seen = set()
    for before, after in zip(frames, shaken, strict=True):
        fits = [m for m in moves if np.array_equal(np.roll(before, m, (0, 1))[2:-2, 2:-2], after[2:-2, 2:-2])]
        assert fits
        seen.update(fits)
    assert len(seen) == 9


def test_noise_is_as_strong_as_it_says(frames):
    assert (noise(frames, draw()).astype(int) - frames).std() == pytest.approx(4.0, rel=0.05)


def test_light_goes_up_and_down_in_steps(frames):
    share = light_steps(frames, draw()).mean(axis=(1, 2, 3)) / frames.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(share[:50], 0.8, atol=0.01)
    np.testing.assert_allclose(share[50:100], 1.2, atol=0.01)
    np.testing.assert_allclose(share[100:], 0.8, atol=0.01)


def test_a_lost_frame_is_the_one_before_again(frames):
    held = dropped(frames, draw())
    repeated = [index for index in range(1, len(frames)) if np.array_equal(held[index], held[index - 1])]
    assert 4 <= len(repeated) <= 24
    for index in set(range(len(frames))) - set(repeated):
        np.testing.assert_array_equal(held[index], frames[index])


def test_drifts(frames):
    assert gain(frames, draw()).mean() == pytest.approx(0.6 * frames.mean(), rel=0.01)
    pale = contrast(frames, draw())
    assert pale.mean() == pytest.approx(frames.mean(), rel=0.01)
    assert pale.std() == pytest.approx(frames.std() / 2, rel=0.02)
    np.testing.assert_array_equal(moved(frames, draw())[:, 6:, 6:], frames[:, :-6, :-6])


def test_light_does_not_wrap_round():
    white = np.full((60, 8, 8, 1), 250, np.uint8)
    assert light_steps(white, draw())[50:].min() == 255
