"""Broken, hostile and foreign bytes are refused with a reason before they cost anything."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.decode import MAX_SCANS, DecodeLimits, check_jpeg, decode_frame, fit
from inference.formats import FrameFormat
from inference.jpeg import MAX_STEPS_TO_HEADER
from schemas.errors import BadMessageError

GREY = FrameFormat(width=48, height=32, channels=1)
COLOUR = FrameFormat(width=48, height=32, channels=3)
LIMITS = DecodeLimits()


def jpeg(width: int = 96, height: int = 64, progressive: bool = False, seed: int = 0) -> bytes:
    image = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    smooth = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    ok, encoded = cv2.imencode(".jpg", smooth, [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)])
    assert ok
    return encoded.tobytes()


def claiming(width: int, height: int) -> bytes:
    """A small JPEG whose frame header claims another size."""
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data)


def with_scans(more: int) -> bytes:
    """A progressive JPEG whose last scan comes ``more`` times again: each costs a walk over all pixels."""
    ok, encoded = cv2.imencode(".jpg", np.full((64, 96), 128, np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert ok
    data = encoded.tobytes()
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + more * last + b"\xff\xd9"


def after_start(filling: bytes) -> bytes:
    data = jpeg()
    return data[:2] + filling + data[2:]


def reason_of(data: bytes, limits: DecodeLimits = LIMITS) -> str:
    with pytest.raises(BadMessageError) as refused:
        decode_frame(data, GREY, limits)
    return refused.value.reason


@pytest.mark.parametrize("progressive", [False, True])
def test_reads_the_size_without_decoding(progressive: bool) -> None:
    assert check_jpeg(jpeg(120, 88, progressive), LIMITS) == (120, 88)


@pytest.mark.parametrize("target", [GREY, COLOUR])
def test_gives_model_size_and_channels(target: FrameFormat) -> None:
    image = decode_frame(jpeg(), target, LIMITS)
    assert image.shape == (32, 48, target.channels)
    assert image.dtype == np.uint8


def test_resizes_as_opencv_does_on_8_bit_images() -> None:
    data = jpeg()
    full = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert full is not None
    expected = cv2.resize(full, (48, 32), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(decode_frame(data, COLOUR, LIMITS), expected)


@pytest.mark.parametrize("target", [GREY, COLOUR])
@pytest.mark.parametrize("shape", [(64, 96), (64, 96, 3), (32, 48), (32, 48, 3)])
def test_any_image_is_fitted_to_any_network(shape: tuple[int, ...], target: FrameFormat) -> None:
    """Grey images, whose arrays have no axis for colours, too: each colour of a pixel is then its grey."""
    fitted = fit(np.full(shape, 77, np.uint8), target)
    assert fitted.shape == (32, 48, target.channels)
    assert (fitted == 77).all()


def test_refuses_each_kind_of_bad_bytes_by_its_name() -> None:
    assert reason_of(b"") == "empty"
    assert reason_of(b"\x89PNG\r\n\x1a\n" + bytes(100)) == "not_jpeg"
    assert reason_of(jpeg()[:20]) == "truncated"
    assert reason_of(jpeg()[: len(jpeg()) // 2]) == "truncated"
    assert reason_of(jpeg(), DecodeLimits(max_bytes=100)) == "oversized"
    assert reason_of(claiming(30000, 30000)) == "oversized"
    assert reason_of(claiming(0, 64)) == "oversized"


def test_the_limits_themselves_are_allowed() -> None:
    """As many bytes, pixels and scans as the limit says, and no more."""
    data = jpeg()
    assert check_jpeg(data, DecodeLimits(max_bytes=len(data), max_pixels=96 * 64)) == (96, 64)
    assert reason_of(data, DecodeLimits(max_bytes=len(data) - 1)) == "oversized"
    assert reason_of(data, DecodeLimits(max_pixels=96 * 64 - 1)) == "oversized"
    most = MAX_SCANS - with_scans(0).count(b"\xff\xda")
    assert check_jpeg(with_scans(most), LIMITS) == (96, 64)
    assert reason_of(with_scans(most + 1)) == "too_much_work"


@pytest.mark.parametrize(("trailing", "sound"), [(0, True), (62, True), (63, False)])
def test_a_little_may_follow_the_end_marker(trailing: int, sound: bool) -> None:
    """Some cameras pad their images."""
    data = jpeg() + bytes(trailing)
    if sound:
        assert check_jpeg(data, LIMITS) == (96, 64)
    else:
        assert reason_of(data) == "truncated"


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC9, 0xCF])
def test_processes_that_no_camera_uses_are_refused(marker: int) -> None:
    data = jpeg().replace(b"\xff\xc0", bytes([0xFF, marker]))
    with pytest.raises(BadMessageError, match=f"must be baseline or progressive, got SOF {marker:#x}") as refused:
        check_jpeg(data, LIMITS)
    assert refused.value.reason == "undecodable"


def test_a_refusal_tells_what_came_and_what_is_allowed() -> None:
    for data, limits, told in [
        (b"", LIMITS, "must have a JPEG as value, got zero bytes"),
        (bytes(101), DecodeLimits(max_bytes=100), "must have at most 100 bytes, got 101; let the producer resize"),
        (b"GIF89a", LIMITS, r"must be a JPEG, got bytes that start with b'GIF8'"),
        (claiming(3000, 2000), LIMITS, "must have at most 4194304 pixels, its header claims 3000 x 2000"),
        (jpeg()[:-2], LIMITS, f"the JPEG of {len(jpeg()) - 2} bytes has no end marker"),
        (jpeg()[:20], LIMITS, "the JPEG of 20 bytes ends before its frame header"),
    ]:
        with pytest.raises(BadMessageError, match=told):
            check_jpeg(data, limits)


def test_a_claimed_size_within_the_limits_that_the_body_does_not_fill_still_gives_an_image_or_a_refusal() -> None:
    data = claiming(640, 480)
    try:
        assert decode_frame(data, GREY, LIMITS).shape == (32, 48, 1)
    except BadMessageError as error:
        assert error.reason == "undecodable"


def test_the_work_of_a_jpeg_is_bounded_whatever_its_bytes() -> None:
    many = with_scans(3122)
    assert len(many) < LIMITS.max_bytes
    assert cv2.imdecode(np.frombuffer(many, np.uint8), cv2.IMREAD_GRAYSCALE) is not None, "OpenCV alone decodes it"
    assert reason_of(many) == "too_much_work"
    assert reason_of(after_start(b"\xff" * MAX_STEPS_TO_HEADER)) == "too_much_work"
    assert reason_of(after_start(b"\xff\xfe\x00\x02" * MAX_STEPS_TO_HEADER)) == "too_much_work"


@pytest.mark.parametrize(
    "options",
    [
        [],
        [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
        [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_QUALITY, 100],
        [cv2.IMWRITE_JPEG_OPTIMIZE, 1],
        [cv2.IMWRITE_JPEG_RST_INTERVAL, 1],
        [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x411111],
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_encoders_write_is_far_from_the_bound(options: list[int], channels: int) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, channels), dtype=np.uint8)
    ok, encoded = cv2.imencode(".jpg", noise, options)
    assert ok
    assert encoded.tobytes().count(b"\xff\xda") <= MAX_SCANS // 2
    assert decode_frame(encoded.tobytes(), COLOUR, DecodeLimits(max_bytes=2**20)).shape == (32, 48, 3)


@pytest.mark.parametrize("filling", [b"\xff\x01", b"\xff\xd0", b"\xff\xff", b"\xff\xfe\x00\x04ab"])
def test_segments_are_walked_as_the_decoder_walks_them(filling: bytes) -> None:
    """Else a header could be shown to the check that the decoder never reads."""
    hidden = claiming(8000, 2000)
    at = hidden.index(b"\xff\xc0")
    header = hidden[at : at + 2 + int.from_bytes(hidden[at + 2 : at + 4], "big")]
    assert reason_of(after_start(filling + header)) in ("oversized", "undecodable")
    try:
        assert decode_frame(after_start(filling), GREY, LIMITS).shape == (32, 48, 1)
    except BadMessageError as error:
        assert error.reason == "undecodable"


def test_a_turned_image_has_one_frame_header() -> None:
    tag = b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
    exif = b"Exif\x00\x00" + tag
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    assert decode_frame(after_start(segment), GREY, LIMITS).shape == (32, 48, 1)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_never_raise_anything_else(data: bytes) -> None:
    with pytest.raises(BadMessageError):
        decode_frame(data, GREY, LIMITS)


@given(st.binary(min_size=1, max_size=300))
def test_arbitrary_bytes_after_a_jpeg_start_never_raise_anything_else(data: bytes) -> None:
    with pytest.raises(BadMessageError):
        decode_frame(b"\xff\xd8\xff" + data, GREY, LIMITS)


@given(st.integers(2, 2000), st.integers(0, 255))
def test_a_flipped_byte_gives_an_image_or_a_refusal(position: int, value: int) -> None:
    data = bytearray(jpeg(seed=3))
    data[position % len(data)] = value
    try:
        assert decode_frame(bytes(data), GREY, LIMITS).shape == (32, 48, 1)
    except BadMessageError as error:
        assert error.reason
