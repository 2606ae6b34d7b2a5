"""Pictures made small: the means of their areas, as one step would give them."""

import cv2
import numpy as np
import pytest

from producers.shrinking import num_halvings, shrunk
from producers.synthetic import SyntheticScene


@pytest.mark.parametrize("size", [(1920, 1080), (1280, 720), (640, 480), (202, 200), (1001, 999)])
def test_a_scene_is_as_in_one_step(size: tuple[int, int]) -> None:
    (image,) = SyntheticScene(seed=3).frames(1)
    large = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    expected = cv2.resize(large, (192, 128), interpolation=cv2.INTER_AREA).astype(int)
    found = shrunk(large, (192, 128))
    assert found.shape == (128, 192, 3)
    assert found.dtype == np.uint8
    assert np.abs(found - expected).mean() < 0.6
    assert np.abs(found - expected).max() <= 12


@pytest.mark.parametrize(
    ("size", "wanted", "times"),
    [((1920, 1080), (192, 128), 2), ((1920, 1080), (192, 144), 1), ((1001, 999), (16, 16), 0), ((64, 48), (64, 48), 0)],
)
def test_it_is_halved_while_it_is_four_times_as_large(
    size: tuple[int, int], wanted: tuple[int, int], times: int
) -> None:
    assert num_halvings(size, wanted) == times


def test_whole_halves_are_means() -> None:
    blocks = np.random.default_rng(1).integers(0, 64, (16, 24, 3), np.uint8) * 4
    large = np.repeat(np.repeat(blocks, 8, axis=0), 8, axis=1)
    np.testing.assert_array_equal(shrunk(large, (24, 16)), blocks)


def test_a_picture_of_the_size_stays_as_it_is() -> None:
    image = np.random.default_rng(2).integers(0, 255, (20, 30, 3), np.uint8)
    np.testing.assert_array_equal(shrunk(image, (30, 20)), image)
