"""JPEG bytes to pixels at model size, with the checks that keep a hostile or broken image from costing anything.

What bounds the cost of a JPEG is not its bytes: OpenCV decodes a 29 KB file whose header claims 30000 x 30000 pixels
into gigabytes, and walks over all pixels once for each scan, of which 60 KB hold thousands. So the frame header is read
and the scans are counted before a pixel is decoded.
"""

import os
import re

from schemas.arrays import UInt8

# OpenCV reads these once, when it is first imported: the second line of defence behind check_jpeg.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**24))
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_WIDTH", "8192")
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_HEIGHT", "8192")

from dataclasses import dataclass

import cv2
import numpy as np

from inference.formats import FrameFormat
from inference.jpeg import MAX_STEPS_TO_HEADER, START_OF_FRAME, segments
from schemas.errors import BadMessageError

_BASELINE_OR_PROGRESSIVE = frozenset({0xC0, 0xC1, 0xC2})
_START_OF_SCAN = re.compile(rb"\xff\xda")  # found in half the time that bytes.count takes, which holds the lock
MAX_SCANS = 40
"""Encoders write 1 (baseline) to about 14 (progressive); a thumbnail inside has as many again."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Larger records and images are refused before any pixel is decoded."""

    max_bytes: int = 256 * 1024
    max_pixels: int = 4_194_304


def decode_frame(jpeg: bytes, target: FrameFormat, limits: DecodeLimits) -> UInt8:
    """Decode and resize to (H, W, C) uint8 with OpenCV's 8-bit bilinear filter, as MNAD's data loader does.

    Raises:
        BadMessageError: ``empty``, ``oversized``, ``not_jpeg``, ``truncated``, ``too_much_work`` or ``undecodable``.
    """
    width, height = check_jpeg(jpeg, limits)
    mode = cv2.IMREAD_GRAYSCALE if target.channels == 1 else cv2.IMREAD_COLOR
    try:
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), mode)
    except cv2.error as error:
        raise BadMessageError("undecodable", f"OpenCV refused the JPEG: {error.err}") from error
    if image is None:
        raise BadMessageError("undecodable", f"a JPEG of {len(jpeg)} bytes has a sound header but no decodable image")
    if sorted(image.shape[:2]) != sorted((width, height)):  # in either order: an orientation tag turns the image
        text = f"a JPEG must have one frame header, this claims {width} x {height} and gave {image.shape[1::-1]}"
        raise BadMessageError("undecodable", text)
    return fit(np.asarray(image, dtype=np.uint8), target)


def fit(image: UInt8, target: FrameFormat) -> UInt8:
    """Bring an image (H, W) or (H, W, 3) to model size and channels, (H, W, C) uint8."""
    if image.ndim == 3 and target.channels == 1:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
    if image.ndim == 2 and target.channels == 3:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
    if image.shape[:2] != (target.height, target.width):
        size = (target.width, target.height)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    return image.reshape(target.height, target.width, target.channels)


def check_jpeg(jpeg: bytes, limits: DecodeLimits) -> tuple[int, int]:
    """Width and height from the JPEG's own header, without decoding.

    Raises:
        BadMessageError: see ``decode_frame``.
    """
    if not jpeg:
        raise BadMessageError("empty", "a frame must have a JPEG as value, got zero bytes")
    if len(jpeg) > limits.max_bytes:
        text = f"a frame must have at most {limits.max_bytes} bytes, got {len(jpeg)}; let the producer resize"
        raise BadMessageError("oversized", text)
    if jpeg[:3] != b"\xff\xd8\xff":
        raise BadMessageError("not_jpeg", f"a frame must be a JPEG, got bytes that start with {jpeg[:4]!r}")
    width, height = _size(jpeg)
    if not 0 < width * height <= limits.max_pixels:
        text = f"a frame must have at most {limits.max_pixels} pixels, its header claims {width} x {height}"
        raise BadMessageError("oversized", text)
    if jpeg.rfind(b"\xff\xd9", -64) < 0:
        raise BadMessageError("truncated", f"the JPEG of {len(jpeg)} bytes has no end marker")
    # Within a scan's data the byte FF is always followed by 00 or a restart marker, so this misses no scan.
    scans = len(_START_OF_SCAN.findall(jpeg))
    if scans > MAX_SCANS:
        raise BadMessageError("too_much_work", f"a JPEG must have at most {MAX_SCANS} scans, this has {scans}")
    return width, height


def _size(jpeg: bytes) -> tuple[int, int]:
    for marker, begin, _ in segments(jpeg):
        if marker in START_OF_FRAME:
            if marker not in _BASELINE_OR_PROGRESSIVE:
                raise BadMessageError("undecodable", f"JPEG must be baseline or progressive, got SOF {marker:#x}")
            height, width = (int.from_bytes(jpeg[begin + at : begin + at + 2], "big") for at in (1, 3))
            return width, height
    text = f"the frame header must come within {MAX_STEPS_TO_HEADER} segments"
    raise BadMessageError("too_much_work", f"{text}; let the producer encode the frame anew")
