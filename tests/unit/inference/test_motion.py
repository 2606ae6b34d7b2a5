"""Speeds of things that are moved by a known number of pixels."""

import cv2
import numpy as np
import pytest

from inference.motion import cell_speeds, newest_speeds
from networks.measures import CELL_PX

WIDTH, HEIGHT = 96, 64


def texture(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (HEIGHT, WIDTH)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), np.empty_like(noise), 20, 235, cv2.NORM_MINMAX).astype(
        np.uint8
    )


def with_square(x: int) -> np.ndarray:
    image = np.full((HEIGHT, WIDTH), 90, np.uint8)
    image[20:44, x : x + 24] = texture(1)[20:44, :24]
    return image[..., None]


def test_a_picture_that_shifts_moves_everywhere() -> None:
    before = texture()
    after = np.roll(before, 2, axis=1)
    speeds = cell_speeds(before[..., None], after[..., None])
    assert speeds.shape == (HEIGHT // CELL_PX, WIDTH // CELL_PX)
    assert speeds.dtype == np.float32
    assert np.median(speeds[:, 2:-2]) == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize("pixels", [1, 3])
def test_only_what_moves_has_a_speed(pixels: int) -> None:
    speeds = cell_speeds(with_square(30), with_square(30 + pixels))
    assert np.median(speeds[6:10, 9:12]) == pytest.approx(pixels, rel=0.25)
    assert speeds[:, 20:].max() < 0.1
    assert speeds[:3].max() < 0.1 * pixels


def test_nothing_moves_in_a_still_picture() -> None:
    assert cell_speeds(with_square(30), with_square(30)).max() == pytest.approx(0.0, abs=1e-5)


def test_colour_moves_as_its_grey_image_does() -> None:
    pair = [np.repeat(with_square(x), 3, axis=2) for x in (30, 32)]
    assert np.allclose(cell_speeds(*pair), cell_speeds(with_square(30), with_square(32)), atol=0.05)


def test_a_rest_at_the_edge_that_fills_no_cell_is_left_out() -> None:
    still = np.zeros((30, 42, 1), np.uint8)
    assert cell_speeds(still, still).shape == (30 // CELL_PX, 42 // CELL_PX)


def test_a_clip_is_as_fast_as_its_last_two_frames() -> None:
    clip = np.stack([with_square(x) for x in (10, 30, 31)])
    assert np.allclose(newest_speeds(clip), newest_speeds(clip[1:]), atol=1e-4)
    assert newest_speeds(clip).max() == pytest.approx(cell_speeds(clip[1], clip[2]).max(), abs=1e-4)


def test_a_single_frame_has_no_speed() -> None:
    assert not newest_speeds(with_square(30)[None]).any()
    assert newest_speeds(with_square(30)[None]).shape == (HEIGHT // CELL_PX, WIDTH // CELL_PX)
