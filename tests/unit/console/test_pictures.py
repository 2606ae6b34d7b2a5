"""Thumbnails that are what they claim to be, and heat maps as pictures."""

import base64

import cv2
import numpy as np
import pytest

from console.pictures import difference_png, heat_png, is_small_jpeg, jpeg_size, largest_changes, thumbnail_of
from schemas.messages import HeatMap
from tests.unit.console.worlds import jpeg, seen


def test_a_jpeg_says_its_size() -> None:
    assert jpeg_size(jpeg(320, 240)) == (320, 240)
    assert is_small_jpeg(jpeg())


def test_a_picture_that_a_browser_could_not_hold_is_left_out() -> None:
    data = bytearray(jpeg(64, 48))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    assert jpeg_size(bytes(data)) == (65535, 65535)
    assert not is_small_jpeg(bytes(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff",
        b"GIF89a" + b"\0" * 100,
        b"<svg onload=alert(1)>",
        jpeg()[:-40],
        b"\xff\xd8\xff\xe0\0\x04" * 9,
    ],
)
def test_what_is_no_whole_jpeg_is_left_out(data: bytes) -> None:
    assert not is_small_jpeg(data)


def test_only_pictures_come_out_of_messages() -> None:
    assert thumbnail_of(seen(picture=jpeg())) == jpeg()
    assert thumbnail_of(seen()) is None
    assert thumbnail_of(seen(picture=b"<script>alert(1)</script>")) is None
    cut = {"width": 1, "height": 1, "jpeg_base64": base64.b64encode(jpeg()).decode().rstrip("=")[:-1]}
    message = seen(picture=jpeg())
    odd = message.data.model_copy(update={"thumbnail": message.data.thumbnail.model_copy(update=cut)})  # type: ignore[union-attr]
    assert thumbnail_of(message.model_copy(update={"data": odd})) is None


def decoded(png: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image


def test_a_heat_map_covers_where_it_is_hot() -> None:
    drawn = decoded(heat_png(HeatMap(rows=2, columns=3, values=(0, 0, 0, 0, 0, 255))))
    assert drawn.shape == (32, 48, 4)
    assert drawn[0, 0, 3] == 0
    assert drawn[-1, -1, 3] > 200


@pytest.mark.parametrize(("rows", "columns", "values"), [(2, 2, (1,)), (0, 0, ()), (10**6, 1, (1, 2))])
def test_a_heat_map_that_is_none_is_empty(rows: int, columns: int, values: tuple[int, ...]) -> None:
    assert decoded(heat_png(HeatMap(rows=rows, columns=columns, values=values)))[..., 3].max() == 0


def test_a_difference_is_told_by_shape_as_well_as_colour() -> None:
    change = np.array([[0.0, 2.0], [-1.0, 0.01]])
    drawn = decoded(difference_png(change))
    side = drawn.shape[0] // 2
    more, less = drawn[:side, side:], drawn[side:, :side]
    white = np.array([255, 255, 255, 255])
    assert (more[side // 2 - 6, side // 2] == white).all(), "a cross has an upright stroke"
    assert not (less[side // 2 - 6, side // 2] == white).all(), "a bar has none"
    assert largest_changes(change, 2) == [(1, 2, 2.0), (2, 1, -1.0)]
    assert largest_changes(np.zeros((2, 2))) == []
