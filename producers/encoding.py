"""From an image to JPEG bytes that fit into a record: mask, resize, encode, and try again smaller if need be."""

import logging
import math
from dataclasses import dataclass, replace
from typing import Literal

import cv2

from producers.masking import Mask
from producers.shrinking import shrunk
from producers.sources.frame import Image, as_bgr
from schemas.errors import BadMessageError, SettingsError

logger = logging.getLogger(__name__)

_QUALITY_STEPS = 4
_LAST_QUALITIES = (25, 10)
"""Below ``min_quality``, and better than nothing: tried before a picture is made smaller."""
_MISSES_BEFORE_SHRINKING = 3
"""One picture that does not fit is a glitch; a size that changes breaks the windows of the workers."""
_CALM_FRAMES = 100
"""So many frames in a row that fit as asked for show that the trouble is over."""
_LARGE_BYTES = 64 * 1024
_SMALLEST_SIDE = 16
_MIN_BYTES = 1024


@dataclass(frozen=True, slots=True)
class EncodingOptions:
    """How frames are made small enough to travel.

    Attributes:
        size: (width, height) in pixels to which every frame is stretched; None = as it comes.
        quality: JPEG quality tried first, 1 to 100.
        min_quality: lowest quality tried before a frame counts as too large.
        max_bytes: largest JPEG that may be sent.
        mask: parts that must not be seen, blackened at full resolution before all else.
        channels: 3 = in colour, 1 = grey.
    """

    size: tuple[int, int] | None = None
    quality: int = 90
    min_quality: int = 40
    max_bytes: int = 256 * 1024
    mask: Mask | None = None
    channels: Literal[1, 3] = 3

    @property
    def least(self) -> tuple[int, int] | None:
        """The size at which an image is good enough to begin with, as (width, height); None = its own.

        What is masked must not be made smaller before.
        """
        return None if self.mask is not None and self.mask.hides else self.size

    def __post_init__(self) -> None:
        if self.size is not None and not all(8 <= side <= 16384 for side in self.size):
            raise SettingsError(f"size must be (width, height), each 8 to 16384 pixels, got {self.size}")
        if not 1 <= self.min_quality <= self.quality <= 100:
            raise SettingsError(
                f"quality must hold 1 <= min_quality <= quality <= 100, got {self.min_quality} and {self.quality}"
            )
        if self.max_bytes < _MIN_BYTES:
            raise SettingsError(f"max_bytes must be at least {_MIN_BYTES}, got {self.max_bytes}")


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
    return _fitting(_prepare(image, options), options, _qualities(options))


class FrameEncoder:
    """Encodes the frames of one camera, and adapts where they do not fit: it says so once, and once when it is over.

    What does not fit at ``min_quality`` is tried worse still; a camera none of whose frames fit then (noise does not
    compress) gets smaller pictures, until there is room again for the size asked for.
    """

    def __init__(self, camera_id: str, options: EncodingOptions) -> None:
        self._camera_id = camera_id
        self._options = options
        self._max_bytes = options.max_bytes
        self._scale = 1.0
        self._num_misses = 0
        self._num_calm = 0
        self._told_large = self._told_quality = self._told_calm = False

    def encode(self, image: Image) -> EncodedFrame:
        """Mask, resize and encode the next image.

        Raises:
            BadMessageError: ``too_large`` at any quality, or ``encode_failed``.
        """
        try:
            encoded = self._encode(image)
        except BadMessageError as error:
            self._num_misses += error.reason == "too_large"
            if error.reason != "too_large" or self._num_misses < _MISSES_BEFORE_SHRINKING:
                raise
            encoded = self._shrink(image)
        self._num_misses = 0
        self._judge(encoded)
        return encoded

    def refuse(self, num_bytes: int, reason: str) -> None:
        """The log does not take a JPEG of so many bytes: the next ones are made smaller. From any thread."""
        limit = max(_MIN_BYTES, num_bytes * 3 // 4)
        if limit < self._max_bytes:
            self._max_bytes = limit
            text = "camera %s: the log refuses a frame of %d bytes, the next ones get %d at most: %s; set"
            text += " producer.max_frame_bytes below what the topic takes, or raise max.message.bytes of the topic"
            logger.warning(text, self._camera_id, num_bytes, limit, reason)

    def _encode(self, image: Image) -> EncodedFrame:
        options = replace(self._options, max_bytes=self._max_bytes, size=self._size(image))
        prepared = _prepare(image, options)
        lower = [quality for quality in _LAST_QUALITIES if quality < options.min_quality]
        return _fitting(prepared, options, [*_qualities(options), *lower])

    def _size(self, image: Image) -> tuple[int, int] | None:
        if self._scale == 1.0:
            return self._options.size
        width, height = self._options.size or (image.shape[1], image.shape[0])
        return max(_SMALLEST_SIDE, round(width * self._scale)), max(_SMALLEST_SIDE, round(height * self._scale))

    def _shrink(self, image: Image) -> EncodedFrame:
        """Make this picture and the next ones smaller until they fit.

        Raises:
            BadMessageError: ``too_large`` at the smallest size as well.
        """
        while True:
            before = self._size(image)
            self._scale *= math.sqrt(0.5)
            try:
                encoded = self._encode(image)
            except BadMessageError:
                if before == self._size(image):
                    raise
                continue
            text = "camera %s: frames do not fit into %d bytes at any quality, they are sent as %dx%d from here on;"
            text += " set a size (--width, --height), or raise producer.max_frame_bytes"
            logger.warning(text, self._camera_id, self._max_bytes, encoded.width, encoded.height)
            return encoded

    def _judge(self, encoded: EncodedFrame) -> None:
        """Say what has changed."""
        if not self._told_large and self._options.size is None and len(encoded.jpeg) > _LARGE_BYTES:
            self._told_large = True
            text = "camera %s: frames of %dx%d have %d bytes or so, many times what most networks look at; --bundle DIR"
            text += " or --width and --height make them as small as is needed"
            logger.warning(text, self._camera_id, encoded.width, encoded.height, len(encoded.jpeg))
        if encoded.quality < self._options.quality:
            self._num_calm = 0
            if not self._told_quality:
                self._told_quality = True
                text = "camera %s: frames do not fit into %d bytes at quality %d and are sent at %d; set a size"
                text += " (--width, --height), a lower --jpeg-quality, or raise producer.max_frame_bytes"
                wanted = self._options.quality
                logger.warning(text, self._camera_id, self._max_bytes, wanted, encoded.quality)
            return
        has_room = len(encoded.jpeg) <= 0.8 * self._max_bytes * self._scale**2
        self._num_calm = self._num_calm + 1 if self._scale == 1.0 or has_room else 0
        if self._num_calm == _CALM_FRAMES:
            self._relax()

    def _relax(self) -> None:
        if self._scale < 1.0:
            self._scale, self._num_calm = 1.0, 0
            logger.info("camera %s: there is room again for frames of their full size", self._camera_id)
        elif self._told_quality and not self._told_calm:
            self._told_calm = True
            logger.info("camera %s: frames fit again at quality %d", self._camera_id, self._options.quality)


def _fitting(prepared: Image, options: EncodingOptions, qualities: list[int]) -> EncodedFrame:
    """The first of ``qualities`` at which an image fits.

    Raises:
        BadMessageError: ``too_large`` at all of them, or ``encode_failed``.
    """
    height, width = prepared.shape[:2]
    jpeg = b""
    for quality in qualities:
        jpeg = _encode(prepared, quality)
        if len(jpeg) <= options.max_bytes:
            return EncodedFrame(jpeg, width, height, quality)
    raise BadMessageError(
        "too_large",
        f"a JPEG must have at most {options.max_bytes} bytes, {width}x{height} at quality {qualities[-1]} "
        f"has {len(jpeg)}; set a smaller size",
    )


def _prepare(image: Image, options: EncodingOptions) -> Image:
    # Masked before it is scaled: scaling first would blend hidden pixels into visible ones.
    if options.mask is not None:
        image = options.mask.hide(image)
    if options.channels == 1:
        image = as_bgr(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))  # one plane is made smaller in a third of the time
    if options.size is not None and options.size != (image.shape[1], image.shape[0]):
        shrinks = options.size[0] <= image.shape[1] and options.size[1] <= image.shape[0]
        image = shrunk(image, options.size) if shrinks else as_bgr(cv2.resize(image, options.size))
    return image


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
