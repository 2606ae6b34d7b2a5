"""Pictures that pages show: thumbnails that are what they claim to be, and heat maps drawn small.

Whoever may write to the topic may put any bytes where a JPEG should be. So a thumbnail is passed on only if its frame
header says a size that a browser can be asked to hold; it is never decoded here.
"""

import base64
import binascii
from collections.abc import Sequence

import cv2
import numpy as np

from schemas.arrays import Float64, UInt8
from schemas.messages import AnomalyEvent, HeatMap

MAX_SIDE_PX = 4096
CELL_PX = 16
"""Of a heat map's cell as drawn."""
HEAT_BGR = (36, 99, 235)
"""Warm, and told apart from most of a scene; strength is by opacity."""
MORE_BGR, LESS_BGR = (32, 106, 201), (158, 96, 38)
_SOI, _EOI = b"\xff\xd8\xff", b"\xff\xd9"
_FRAMES = frozenset((0xC0, 0xC1, 0xC2))
"""Markers of the frame header of what browsers show: baseline, extended, progressive."""


def thumbnail_of(event: AnomalyEvent) -> bytes | None:
    """The JPEG of a message; None where there is none, or something else in its place."""
    if event.data.thumbnail is None:
        return None
    try:
        data = base64.b64decode(event.data.thumbnail.jpeg_base64, validate=True)
    except binascii.Error:
        return None
    return data if is_small_jpeg(data) else None


def is_small_jpeg(data: bytes) -> bool:
    """Whether it is a whole JPEG of at most ``MAX_SIDE_PX`` a side, by its headers."""
    size = jpeg_size(data)
    return size is not None and min(size) > 0 and max(size) <= MAX_SIDE_PX


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height by the frame header; None if it is no JPEG that ends as one does."""
    if not data.startswith(_SOI) or not data.rstrip(b"\0").endswith(_EOI):
        return None
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _FRAMES:
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        if marker in (0xD9, 0xDA):
            return None
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def heat_png(heat: HeatMap) -> bytes:
    """A transparent PNG to lie over the frame: the more unusual a place, the more it covers."""
    values = np.asarray(heat.values, np.float64)
    if heat.rows * heat.columns != values.size or not values.size or max(heat.rows, heat.columns) > 256:
        values = np.zeros((1, 1))
    else:
        values = values.reshape(heat.rows, heat.columns)
    drawn = np.zeros((*values.shape, 4), np.uint8)
    drawn[..., :3] = HEAT_BGR
    drawn[..., 3] = (215 * np.sqrt(values / 255)).astype(np.uint8)  # a common scale: most of it lies low
    rows, columns = values.shape
    smooth = cv2.resize(drawn, (columns * CELL_PX, rows * CELL_PX), interpolation=cv2.INTER_LINEAR)
    return _png(smooth.astype(np.uint8, copy=False))


def difference_png(change_PQ: Float64) -> bytes:
    """Where it became more (orange, with a cross) and where less (blue, with a bar), by place; strength is opacity."""
    rows, columns = change_PQ.shape
    most = float(np.abs(change_PQ).max(initial=0.0)) or 1.0
    side = 3 * CELL_PX
    drawn = np.full((rows * side, columns * side, 4), 255, np.uint8)
    drawn[..., 3] = 0
    for (row, column), change in np.ndenumerate(change_PQ):
        top, left = row * side, column * side
        share = abs(change) / most
        colour = MORE_BGR if change > 0 else LESS_BGR
        drawn[top : top + side, left : left + side] = (*colour, int(230 * share))
        if share > 0.3:
            middle = (left + side // 2, top + side // 2)
            _stroke(drawn, (middle[0] - 8, middle[1]), (middle[0] + 8, middle[1]))
            if change > 0:
                _stroke(drawn, (middle[0], middle[1] - 8), (middle[0], middle[1] + 8))
    return _png(drawn)


def largest_changes(change_PQ: Float64, most: int = 5) -> Sequence[tuple[int, int, float]]:
    """Row, column (from 1, top left) and amount of the places that changed most."""
    order = np.argsort(-np.abs(change_PQ), axis=None, kind="stable")[:most]
    places = [divmod(int(index), change_PQ.shape[1]) for index in order]
    return [(row + 1, column + 1, float(change_PQ[row, column])) for row, column in places if change_PQ[row, column]]


def _stroke(drawn: UInt8, start: tuple[int, int], end: tuple[int, int]) -> None:
    cv2.line(drawn, start, end, (255, 255, 255, 255), 2)


def _png(image: UInt8) -> bytes:
    ok, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 6])
    assert ok, "a PNG of an 8-bit array can always be made"
    return encoded.tobytes()
