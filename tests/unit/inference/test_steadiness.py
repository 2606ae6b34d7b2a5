"""What happens to the whole picture is measured and taken out; what happens in it is not."""

import cv2
import numpy as np
import pytest

from inference.steadiness import LEAST_PX, MOST_PX, UNCHANGED, as_it_is, steadied

HEIGHT, WIDTH, MARGIN = 96, 144, 16


def world(seed: int = 0) -> np.ndarray:
    """A picture with things of all sizes, larger than a frame."""
    draw = np.random.default_rng(seed)
    shape = (HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN)
    layers = [cv2.GaussianBlur(draw.normal(0, 1, shape), (0, 0), sigma) * sigma for sigma in (1.5, 3, 8)]
    return np.clip(120 + 35 * sum(layers), 0, 255).astype(np.uint8)


def view(of: np.ndarray, right: float = 0.0, down: float = 0.0) -> np.ndarray:
    """What a camera shows whose picture has moved right and down."""
    moved = cv2.warpAffine(of, np.array([[1.0, 0, right], [0, 1, down]]), of.shape[::-1], flags=cv2.INTER_CUBIC)
    return moved[MARGIN:-MARGIN, MARGIN:-MARGIN, None]


def inner(frames: np.ndarray) -> np.ndarray:
    """Without the edges, where something came in."""
    return frames[..., 8:-8, 8:-8, :].astype(float)


def test_a_camera_that_stands_still_is_let_through_as_it_is():
    clip = np.stack([view(world())] * 5)
    found = steadied(clip)
    assert found.clip_THWK is clip
    assert found.newest.shift_px == pytest.approx(0.0, abs=1e-3)
    assert found.newest.light == 0.0


def test_noise_of_a_sensor_is_no_shake():
    draw = np.random.default_rng(0)
    clip = np.stack([np.clip(view(world()) + draw.normal(0, 6, (HEIGHT, WIDTH, 1)), 0, 255) for _ in range(5)])
    found = steadied(clip.astype(np.uint8))
    assert found.newest.shift_px < LEAST_PX / 2
    assert np.array_equal(found.clip_THWK, clip.astype(np.uint8))


@pytest.mark.parametrize(("right", "down"), [(1, 0), (0, -1), (-1, 1), (2, -2), (-3, 0)])
def test_a_shake_by_whole_pixels_is_undone_bit_by_bit(right, down):
    clip = np.stack([view(world()), view(world(), right, down)])
    found = steadied(clip)
    assert (found.newest.right_px, found.newest.down_px) == pytest.approx((right, down), abs=0.15)
    assert np.array_equal(inner(found.clip_THWK[0]), inner(clip[1]))
    assert np.array_equal(found.clip_THWK[1], clip[1])


@pytest.mark.parametrize(("right", "down"), [(0.5, 0.0), (-0.7, 0.4), (1.5, -2.3)])
def test_parts_of_pixels_count(right, down):
    clip = np.stack([view(world()), view(world(), right, down)])
    found = steadied(clip)
    assert (found.newest.right_px, found.newest.down_px) == pytest.approx((right, down), abs=0.15)
    before, after = (np.abs(inner(clips[0]) - inner(clips[1])).mean() for clips in (clip, found.clip_THWK))
    assert after < before / 3


def test_shakes_of_a_whole_clip_add_up():
    places = [(0, 0), (1, 0), (1, 1), (-1, 1), (0, 0)]
    clip = np.stack([view(world(), *place) for place in places])
    found = steadied(clip)
    assert (found.newest.right_px, found.newest.down_px) == pytest.approx((1, -1), abs=0.15)
    for frame in found.clip_THWK:
        assert np.array_equal(inner(frame), inner(clip[-1]))


def test_what_moves_in_the_picture_still_moves():
    """Two fifths of the picture go one way, as a crowd does: neither is it the camera, nor is it taken out."""
    crowd = view(world(1))[20:80, 10:100]
    clip = np.stack([view(world())] * 3)
    for at in range(3):
        clip[at, 20:80, 10 + 2 * at : 100 + 2 * at] = crowd
    found = steadied(clip)
    assert found.clip_THWK is clip
    assert found.newest.shift_px < LEAST_PX


def test_a_shake_is_taken_out_from_under_what_moves():
    still, moved = view(world()), view(world(), 1, 0)
    thing = view(world(1))[30:60, 40:80]
    still[30:60, 40:80] = thing
    moved[30:60, 43:83] = thing  # two of its own, one of the camera
    found = steadied(np.stack([still, moved]))
    assert found.newest.right_px == pytest.approx(1, abs=0.15)
    assert np.array_equal(found.clip_THWK[0][30:60, 41:81], thing)


@pytest.mark.parametrize("gain", [0.6, 0.8, 1.2, 1.5])
def test_a_lamp_is_measured_and_taken_out(gain):
    dark = (0.6 * view(world())).astype(np.uint8)
    lit = np.clip(np.rint(gain * dark.astype(float)), 0, 255).astype(np.uint8)
    found = steadied(np.stack([dark, dark, lit]))
    assert found.newest.light == pytest.approx(np.log(gain), abs=0.03)
    assert found.newest.shift_px < LEAST_PX / 2
    assert np.abs(inner(found.clip_THWK[:2]) - inner(lit)).max() <= 3


def test_a_lamp_in_a_part_of_the_picture_is_none():
    dark = view(world())
    lit = dark.copy()
    lit[:, :50] = np.clip(lit[:, :50] * 1.4, 0, 255)
    assert abs(steadied(np.stack([dark, lit])).newest.light) < 0.01


def test_a_picture_that_jumps_is_left_alone():
    clip = np.stack([view(world()), view(world(), MOST_PX + 7, 0)])
    assert steadied(clip).clip_THWK is clip


@pytest.mark.parametrize("level", [0, 3, 128, 255])
def test_a_picture_without_anything_in_it_says_nothing(level):
    clip = np.full((4, HEIGHT, WIDTH, 1), level, np.uint8)
    found = steadied(clip)
    assert found.clip_THWK is clip
    assert (found.newest.shift_px, found.newest.light) == (0.0, 0.0)


@pytest.mark.parametrize("size", [(8, 8), (24, 32), (31, 33)])
def test_small_pictures_say_nothing_or_the_truth(size):
    clip = np.stack([view(world())[: size[0], : size[1]], view(world(), 1, 0)[: size[0], : size[1]]])
    assert steadied(clip).newest.right_px in (0.0, pytest.approx(1.0, abs=0.3))


def test_colours_are_kept():
    clip = np.stack([np.repeat(view(world(), right), 3, axis=-1) // np.array([1, 2, 3], np.uint8) for right in (0, 1)])
    found = steadied(clip)
    assert found.clip_THWK.shape == clip.shape
    assert np.array_equal(inner(found.clip_THWK[0]), inner(clip[1]))


def test_one_frame_has_nothing_before_it():
    clip = view(world())[None]
    assert (steadied(clip).clip_THWK is clip, steadied(clip).newest) == (True, UNCHANGED)
    shaken = np.stack([view(world()), view(world(), 1, 0)])
    assert (as_it_is(shaken).clip_THWK is shaken, as_it_is(shaken).newest) == (True, UNCHANGED)
