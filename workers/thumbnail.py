"""The picture of an event: its peak frame made small, with boxes around what stood out."""

import base64
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.messages import MAX_THUMBNAIL_BYTES, Region, Thumbnail

Image = NDArray[np.uint8]

QUALITIES = (75, 60, 45, 30)
SMALLER = 0.7
"""What each side is multiplied by when no quality makes a picture small enough."""
LEAST_PX = 32
REDUCED = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))
"""A JPEG decodes at an eighth, a quarter or half of its size for a fraction of the work."""
RED, BLACK = (60, 60, 235), (20, 20, 20)


def thumbnail(jpeg: bytes, size: tuple[int, int], regions: Sequence[Region], longest_px: int) -> Thumbnail | None:
    """Make the picture; None if the JPEG gives none.

    Args:
        jpeg: the frame as it came; whether it is safe to decode was checked when it was scored.
        size: its width and height in pixels, as its header says.
        regions: boxes to draw.
        longest_px: longest side of the picture.
    """
    image = _decoded(jpeg, max(size), longest_px)
    if image is None:
        return None
    while max(image.shape[:2]) >= LEAST_PX:
        picture = _with_boxes(image, regions)
        for quality in QUALITIES:
            done, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
            text = base64.b64encode(encoded.tobytes()).decode() if done else ""
            if done and len(text) <= MAX_THUMBNAIL_BYTES:
                return Thumbnail(width=picture.shape[1], height=picture.shape[0], jpeg_base64=text)
        image = _shrunk(image, SMALLER * max(image.shape[:2]))
    return None


def _decoded(jpeg: bytes, longest: int, longest_px: int) -> Image | None:
    """At most ``longest_px`` wide and high, BGR."""
    mode = next((flag for factor, flag in REDUCED if longest >= factor * longest_px), cv2.IMREAD_COLOR)
    try:
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), mode)
    except cv2.error:
        return None
    return None if image is None else _shrunk(np.asarray(image, np.uint8), longest_px)


def _shrunk(image: Image, longest_px: float) -> Image:
    factor = longest_px / max(image.shape[:2])
    if factor >= 1:
        return image
    height, width = (max(1, round(factor * length)) for length in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _with_boxes(image: Image, regions: Sequence[Region]) -> Image:
    """Red on black, so that a box is seen on whatever is behind it."""
    height, width = image.shape[:2]
    picture: Image = image.copy()
    for colour, thickness in ((BLACK, 3), (RED, 1)):
        for region in regions:
            x, y, w, h = region.box
            corner = (round(x * (width - 1)), round(y * (height - 1)))
            other = (round((x + w) * (width - 1)), round((y + h) * (height - 1)))
            cv2.rectangle(picture, corner, other, colour, thickness)
    return picture
