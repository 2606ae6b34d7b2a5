"""The picture of an event: small, bounded in bytes whatever the frame, with the boxes where they belong."""

import base64

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.messages import MAX_THUMBNAIL_BYTES, Region, Thumbnail
from workers.thumbnail import thumbnail

BOX = Region(box=(0.25, 0.5, 0.5, 0.25), score=0.7)


def jpeg(width: int, height: int, noise: float = 0.0, channels: int = 3) -> bytes:
    image = np.full((height, width, channels), 120, np.uint8)
    image = (image + np.random.default_rng(1).normal(0, noise, image.shape)).clip(0, 255).astype(np.uint8)
    done, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert done
    return encoded.tobytes()


def pixels(picture: Thumbnail) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(base64.b64decode(picture.jpeg_base64), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (picture.height, picture.width, 3)
    return np.asarray(image, np.uint8)


@pytest.mark.parametrize(
    ("size", "longest", "made"),
    [
        ((1920, 1080), 320, (320, 180)),
        ((1080, 1920), 320, (180, 320)),
        ((640, 480), 320, (320, 240)),
        ((64, 48), 320, (64, 48)),
        ((330, 200), 320, (320, 194)),
        ((5000, 40), 1000, (1000, 8)),
    ],
)
def test_it_has_the_shape_of_the_frame_and_is_no_larger_than_wanted(
    size: tuple[int, int], longest: int, made: tuple[int, int]
) -> None:
    picture = thumbnail(jpeg(*size), size, (), longest)
    assert picture is not None
    assert (picture.width, picture.height) == made
    pixels(picture)


def test_the_boxes_are_drawn_where_the_regions_are() -> None:
    picture = thumbnail(jpeg(320, 240), (320, 240), [BOX], 320)
    assert picture is not None
    image_HW3 = pixels(picture).astype(int)
    redness_HW = image_HW3[..., 2] - image_HW3[..., 1]
    rows, columns = np.nonzero(redness_HW > 60)
    assert (columns.min(), rows.min()) == pytest.approx((80, 120), abs=3)
    assert (columns.max(), rows.max()) == pytest.approx((240, 180), abs=3)
    assert redness_HW[150, 160] < 20, "the inside stays as it is"


@pytest.mark.parametrize("longest", [320, 1024])
def test_no_frame_makes_it_larger_than_its_bound(longest: int) -> None:
    """Noise is what compresses worst."""
    picture = thumbnail(jpeg(1280, 960, noise=80), (1280, 960), [BOX], longest)
    assert picture is not None
    assert len(picture.jpeg_base64) <= MAX_THUMBNAIL_BYTES
    assert picture.width == pytest.approx(picture.height * 4 / 3, abs=2)


def test_a_grey_camera_has_a_picture_too() -> None:
    picture = thumbnail(jpeg(64, 48, channels=1), (64, 48), [BOX], 320)
    assert picture is not None
    assert pixels(picture).shape == (48, 64, 3)


@pytest.mark.parametrize("broken", [b"", b"no JPEG", jpeg(64, 48)[:200]])
def test_what_cannot_be_decoded_has_no_picture(broken: bytes) -> None:
    assert thumbnail(broken, (64, 48), [BOX], 320) is None
