"""Hidden parts stay hidden, at any size and after encoding."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from producers.masking import ChangingMask, Mask
from schemas.errors import FatalError, SettingsError
from tests.unit.producers.scripted_source import plain

LEFT_HALF = [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)]


def test_polygon_hides_its_inside_only() -> None:
    shown = Mask.from_polygons([LEFT_HALF]).hide(plain(200, 64, 48))
    assert (shown[:, :32] == 0).all()
    assert (shown[:, 34:] == 200).all()


def test_the_image_itself_is_left_as_it_is() -> None:
    image = plain(200)
    Mask.from_polygons([LEFT_HALF]).hide(image)
    assert (image == 200).all()


def test_several_polygons() -> None:
    right_edge = [(0.9, 0.0), (1.0, 0.0), (1.0, 1.0), (0.9, 1.0)]
    shown = Mask.from_polygons([LEFT_HALF, right_edge]).hide(plain(200, 100, 50))
    assert (shown[:, 91:] == 0).all()
    assert (shown[:, 53:88] == 200).all()


def test_mask_image_black_hides(tmp_path: Path) -> None:
    mask = np.full((24, 32), 255, np.uint8)
    mask[:6] = 0
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    shown = Mask.from_image(tmp_path / "mask.png").hide(plain(200, 64, 48))
    assert (shown[:12] == 0).all()
    assert (shown[14:] == 200).all()


def test_unreadable_mask_image(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="nowhere"):
        Mask.from_image(tmp_path / "nowhere.png")


@pytest.mark.parametrize("polygon", [[(0.0, 0.0), (1.0, 1.0)], [(0.0, 0.0), (1.5, 0.0), (1.0, 1.0)], []])
def test_wrong_polygons(polygon: list[tuple[float, float]]) -> None:
    with pytest.raises(SettingsError, match="polygon"):
        Mask.from_polygons([polygon])


@settings(max_examples=40, deadline=None)
@example(left=0.53125, top=0.0, width=8, height=1025)  # one axis shrinks, the other grows
@given(left=st.floats(0, 0.8), top=st.floats(0, 0.8), width=st.integers(8, 1100), height=st.integers(8, 1100))
def test_every_pixel_that_is_partly_hidden_is_black(left: float, top: float, width: int, height: int) -> None:
    corners = [(left, top), (left + 0.2, top), (left + 0.2, top + 0.2), (left, top + 0.2)]
    shown = Mask.from_polygons([corners]).hide(plain(255, width, height))
    # One cell of the mask's own grid is as exact as a corner can be placed.
    inner = [
        round((edge + slack) * side)
        for edge, slack, side in (
            (left, 0.002, width),
            (left + 0.2, -0.002, width),
            (top, 0.002, height),
            (top + 0.2, -0.002, height),
        )
    ]
    assert (shown[inner[2] : inner[3], inner[0] : inner[1]] == 0).all()
    assert (shown == 255).any()


def test_a_mask_that_changes_hides_what_it_was_told_last() -> None:
    mask = ChangingMask()
    image = plain(255, 64, 48)
    assert mask.hide(image) is image
    mask.change([[(0, 0), (1, 0), (1, 1), (0, 1)]])
    assert mask.hide(image).max() == 0
    with pytest.raises(SettingsError, match="polygon"):
        mask.change([[(0, 0), (1, 1)]])
    assert mask.hide(image).max() == 0, "what was hidden stays hidden"
    mask.change([])
    assert mask.hide(image).min() == 255
