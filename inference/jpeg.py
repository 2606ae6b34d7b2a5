"""What the header of a JPEG tells, without decoding: its segments, and from them how it was encoded.

An encoder writes its quantisation tables into the file. Those of libjpeg, which OpenCV and most cameras use, are one
table of the standard (ITU T.81, K.1) scaled by a quality from 1 to 100; others are at least about as coarse.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from schemas.errors import BadMessageError

MAX_STEPS_TO_HEADER = 1024
"""Segments and fill bytes before the frame header; a camera writes a dozen."""
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_TABLES = 0xDB
_TABLE_VALUES = 64

# fmt: off
_LUMINANCE = (
    16, 11, 10, 16,  24,  40,  51,  61, 12, 12, 14, 19,  26,  58,  60,  55,
    14, 13, 16, 24,  40,  57,  69,  56, 14, 17, 22, 29,  51,  87,  80,  62,
    18, 22, 37, 56,  68, 109, 103,  77, 24, 35, 55, 64,  81, 104, 113,  92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103,  99,
)
# fmt: on


class Segment(NamedTuple):
    """A marker and where its content lies in the file, which may claim to go on behind the end."""

    marker: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Encoding:
    """How an image was encoded.

    Attributes:
        num_components: 1 = grey, 3 = colour; 0 = not told.
        quality: of libjpeg's scale, 1 to 100, that quantises its brightness as coarsely; None = not told.
    """

    num_components: int
    quality: int | None


def segments(jpeg: bytes) -> Iterator[Segment]:
    """Those up to the frame header, which is the last; none is it if ``MAX_STEPS_TO_HEADER`` do not lead there.

    Raises:
        BadMessageError: ``truncated``.
    """
    position = 2
    for _ in range(MAX_STEPS_TO_HEADER):
        if position + 9 > len(jpeg) or jpeg[position] != 0xFF:
            raise BadMessageError("truncated", f"the JPEG of {len(jpeg)} bytes ends before its frame header")
        marker = jpeg[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        else:
            end = position + 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
            yield Segment(marker, position + 4, end)
            if marker in START_OF_FRAME:
                return
            position = end


def encoding_of(jpeg: bytes) -> Encoding:
    """Read off the header.

    Raises:
        BadMessageError: ``truncated``, which no image is that could be decoded.
    """
    sums: dict[int, int] = {}
    for marker, begin, end in segments(jpeg):
        if marker == _TABLES:
            sums |= _sums(jpeg[begin:end])
        elif marker in START_OF_FRAME:
            components, first_table = jpeg[begin + 5 : begin + 6], jpeg[begin + 8 : begin + 9]
            total = sums.get(first_table[0]) if first_table else None
            return Encoding(components[0] if components else 0, None if total is None else _quality_of(total))
    return Encoding(0, None)


def _sums(content: bytes) -> dict[int, int]:
    """The sum of each whole quantisation table in a segment, by the table's number: order does not matter to it."""
    found, position = {}, 0
    while position < len(content):
        is_wide, number = divmod(content[position], 16)
        size = _TABLE_VALUES * (2 if is_wide else 1)
        values = content[position + 1 : position + 1 + size]
        if len(values) == size:
            found[number] = 256 * sum(values[::2]) + sum(values[1::2]) if is_wide else sum(values)
        position += 1 + size
    return found


def _sum_at(quality: int) -> int:
    """As libjpeg scales its table."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return sum(min(255, max(1, (value * percent + 50) // 100)) for value in _LUMINANCE)


_SUM_AT: Sequence[int] = [_sum_at(quality) for quality in range(1, 101)]


def _quality_of(total: int) -> int:
    return 1 + min(range(100), key=lambda index: abs(_SUM_AT[index] - total))
