"""JPEG round trips, sizes and limits."""

from typing import Any

import cv2
import numpy as np
import pytest

from producers.encoding import EncodedFrame, EncodingOptions, FrameEncoder, encode_frame
from producers.masking import Mask
from producers.sources import Image
from producers.sources.frame import as_bgr
from producers.synthetic import SyntheticScene
from schemas.errors import BadMessageError, SettingsError
from tests.unit.producers.scripted_source import noisy, plain


def decode(frame: EncodedFrame) -> Image:
    image = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image.astype(np.uint8)


def test_round_trip_is_close_to_the_original() -> None:
    image = next(SyntheticScene(1).frames(1))
    encoded = encode_frame(image, EncodingOptions())
    decoded = decode(encoded)
    assert (encoded.width, encoded.height, encoded.quality) == (320, 240, 90)
    assert decoded.shape == image.shape
    assert cv2.PSNR(image, decoded) > 30
    assert len(encoded.jpeg) < image.nbytes / 4


def test_resize() -> None:
    encoded = encode_frame(plain(width=640, height=480), EncodingOptions(size=(256, 192)))
    assert (encoded.width, encoded.height) == (256, 192)
    assert decode(encoded).shape == (192, 256, 3)


def test_enlarging_works_too() -> None:
    assert decode(encode_frame(plain(120, 32, 24), EncodingOptions(size=(64, 64)))).shape == (64, 64, 3)


def test_lower_quality_when_too_large() -> None:
    image = noisy()
    sizes = {q: len(encode_frame(image, EncodingOptions(quality=q, min_quality=q)).jpeg) for q in (90, 78, 65, 52, 40)}
    encoded = encode_frame(image, EncodingOptions(max_bytes=sizes[65]))
    assert encoded.quality == 65
    assert len(encoded.jpeg) == sizes[65]


def test_too_large_at_any_quality() -> None:
    with pytest.raises(BadMessageError, match="at most 1024 bytes") as caught:
        encode_frame(noisy(), EncodingOptions(max_bytes=1024))
    assert caught.value.reason == "too_large"


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(BadMessageError) as caught:
        encode_frame(np.zeros((0, 0, 3), np.uint8), EncodingOptions())
    assert caught.value.reason == "encode_failed"


def test_masked_before_it_is_scaled() -> None:
    """A bright secret next to a dark surrounding must not shine through at the border of the mask."""
    image = plain(0, 640, 480)
    image[100:300, 200:400] = 255
    box = [(200 / 640, 100 / 480), (400 / 640, 100 / 480), (400 / 640, 300 / 480), (200 / 640, 300 / 480)]
    options = EncodingOptions(size=(160, 120), mask=Mask.from_polygons([box]))
    assert decode(encode_frame(image, options)).max() == 0


def test_masked_pixels_are_black_after_decoding() -> None:
    image = noisy(seed=4)
    options = EncodingOptions(mask=Mask.from_polygons([[(0, 0), (0.5, 0), (0.5, 1), (0, 1)]]))
    decoded = decode(encode_frame(image, options))
    assert decoded[:, :144].max() <= 2
    assert decoded[:, 176:].mean() > 60


@pytest.mark.parametrize(
    "fields",
    [{"size": (4, 100)}, {"size": (100, 20000)}, {"quality": 0}, {"quality": 101}, {"quality": 30}, {"max_bytes": 10}],
)
def test_wrong_options(fields: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="must"):
        EncodingOptions(**fields)


def test_quality_that_sinks_is_told_once_and_so_is_its_return(caplog) -> None:
    caplog.set_level("INFO")
    encoder = FrameEncoder("gate", EncodingOptions(max_bytes=len(encode_frame(noisy(), EncodingOptions()).jpeg) - 1))
    for _ in range(3):
        for _ in range(2):
            assert encoder.encode(noisy()).quality == 78
        for _ in range(100):
            assert encoder.encode(plain()).quality == 90
    assert caplog.text.count("at quality 90 and are sent at 78") == 1
    assert caplog.text.count("frames fit again at quality 90") == 1


def test_below_the_lowest_quality_a_picture_is_worse_rather_than_lost() -> None:
    size = len(encode_frame(noisy(), EncodingOptions(quality=25, min_quality=25)).jpeg)
    assert FrameEncoder("gate", EncodingOptions(max_bytes=size)).encode(noisy()).quality == 25


def test_full_size_comes_back_with_room_for_it(caplog) -> None:
    caplog.set_level("INFO")
    encoder = FrameEncoder("gate", EncodingOptions(max_bytes=32768))
    for _ in range(2):
        with pytest.raises(BadMessageError):
            encoder.encode(noisy(1280, 960))
    assert encoder.encode(noisy(1280, 960)).width < 1280
    widths = [encoder.encode(plain(width=1280, height=960)).width for _ in range(120)]
    assert widths[0] < 1280
    assert widths[-1] == 1280
    assert "there is room again" in caplog.text


def test_frames_far_larger_than_needed_are_told_once(caplog) -> None:
    image = noisy(640, 480)
    encoders = [FrameEncoder("gate", EncodingOptions(size=size)) for size in (None, (640, 480))]
    for encoder in encoders:
        for _ in range(3):
            encoder.encode(image)
    assert caplog.text.count("--bundle DIR or --width and --height") == 1


def test_nothing_is_sent_where_even_the_smallest_picture_does_not_fit() -> None:
    encoder = FrameEncoder("gate", EncodingOptions(max_bytes=1024))
    encoder.refuse(1, "the topic takes nothing")
    image = noisy(2000, 8)
    for _ in range(5):
        try:
            assert len(encoder.encode(image).jpeg) <= 1024
        except BadMessageError as error:
            assert error.reason == "too_large"


def test_grey_frames_are_smaller_and_show_the_same() -> None:
    image = next(SyntheticScene(1, 10.0).frames(1))
    colour, grey = (encode_frame(image, EncodingOptions(size=(96, 64), channels=number)) for number in (3, 1))
    assert len(grey.jpeg) < len(colour.jpeg)
    assert (grey.width, grey.height) == (96, 64)
    seen, wanted = (
        as_bgr(cv2.imdecode(np.frombuffer(one.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)).astype(int)
        for one in (grey, colour)
    )
    assert abs(seen - wanted).mean() < 1
    assert as_bgr(cv2.imdecode(np.frombuffer(grey.jpeg, np.uint8), cv2.IMREAD_UNCHANGED)).ndim == 2
