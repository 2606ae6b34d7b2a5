"""From an image to JPEG bytes that fit into a record: mask, resize, encode, and try again smaller if need be."""

from dataclasses import dataclass

import cv2

from producers.masking import Mask
from producers.sources.frame import Image
from schemas.errors import BadMessageError, SettingsError

_QUALITY_STEPS = 4


@dataclass(frozen=True, slots=True)
class EncodingOptions:
    """How frames are made small enough to travel.

    Attributes:
        size: (width, height) in pixels to which every frame is stretched; None = as it comes.
        quality: JPEG quality tried first, 1 to 100.
        min_quality: lowest quality tried before a frame that is too large is given up.
        max_bytes: largest JPEG that may be sent.
        mask: parts that must not be seen, blackened at full resolution before all else.
    """

    size: tuple[int, int] | None = None
    quality: int = 90
    min_quality: int = 40
    max_bytes: int = 256 * 1024
    mask: Mask | None = None

    def __post_init__(self) -> None:
        if self.size is not None and not all(8 <= side <= 16384 for side in self.size):
            raise SettingsError(f"size must be (width, height), each 8 to 16384 pixels, got {self.size}")
        if not 1 <= self.min_quality <= self.quality <= 100:
            raise SettingsError(
                f"quality must hold 1 <= min_quality <= quality <= 100, got {self.min_quality} and {self.quality}"
            )
        if self.max_bytes < 1024:
            raise SettingsError(f"max_bytes must be at least 1024, got {self.max_bytes}")


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """A JPEG with its size in pixels and the quality it was made with."""

    jpeg: bytes
    width: int
    height: int
    quality: int


def encode_frame(image: Image, options: EncodingOptions) -> EncodedFrame:
    """Mask, resize and encode one image.

    Raises:
        BadMessageError: ``too_large`` even at the lowest quality, or ``encode_failed``.
    """
    prepared = _prepare(image, options)
    height, width = prepared.shape[:2]
    jpeg = b""
    for quality in _qualities(options):
        jpeg = _encode(prepared, quality)
        if len(jpeg) <= options.max_bytes:
            return EncodedFrame(jpeg, width, height, quality)
    raise BadMessageError(
        "too_large",
        f"a JPEG must have at most {options.max_bytes} bytes, {width}x{height} at quality {options.min_quality} "
        f"has {len(jpeg)}; set a smaller size",
    )


def _prepare(image: Image, options: EncodingOptions) -> Image:
    # Masked before it is scaled: scaling first would blend hidden pixels into visible ones.
    if options.mask is not None:
        image = options.mask.hide(image)
    if options.size is None or options.size == (image.shape[1], image.shape[0]):
        return image
    shrinks = options.size[0] <= image.shape[1] and options.size[1] <= image.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, options.size, interpolation=how).astype(image.dtype, copy=False)


def _qualities(options: EncodingOptions) -> list[int]:
    """From ``quality`` down to ``min_quality`` in equal steps, each once."""
    span = options.quality - options.min_quality
    steps = (options.quality - round(span * step / _QUALITY_STEPS) for step in range(_QUALITY_STEPS + 1))
    return list(dict.fromkeys(steps))


def _encode(image: Image, quality: int) -> bytes:
    try:
        worked, buffer = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        raise BadMessageError("encode_failed", f"an image must be encodable, {image.shape} is not: {error}") from error
    if not worked:
        raise BadMessageError("encode_failed", f"an image must be encodable, {image.shape} is not")
    return buffer.tobytes()
