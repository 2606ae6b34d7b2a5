"""One segment of the spool: a file of records, only ever appended to.

A record is ``header length, value length, time it was kept, CRC-32`` (little-endian), the ``FrameHeader`` as JSON, and
the JPEG. The checksum covers all the rest, so that a record whose writing was cut off is known as such.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from schemas.codec import decode_message, encode_message
from schemas.errors import BadMessageError, DamagedError
from schemas.messages import FrameHeader

_FIXED = struct.Struct("<IId")
_SUM = struct.Struct("<I")
_AHEAD = _FIXED.size + _SUM.size
_MOST_BYTES = 64 * 1024 * 1024
"""No record is larger; a length beyond it is damage."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a record stands: number of the segment, offset of its first byte and of the first one behind it."""

    segment: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class KeptFrame:
    """A record as it is read back; ``kept_at`` in seconds since the epoch."""

    place: Place
    header: FrameHeader
    value: bytes
    kept_at: float


def packed(header: FrameHeader, value: bytes, kept_at: float) -> tuple[bytes, ...]:
    """The record in pieces, to be written one behind the other."""
    text = encode_message(header)
    fixed = _FIXED.pack(len(text), len(value), kept_at)
    return fixed, _SUM.pack(_checksum(fixed, text, value)), text, value


def read_record(file: int, segment: int, start: int) -> KeptFrame | None:
    """The record that begins at ``start``; None at the end of the file.

    Raises:
        DamagedError: it is cut off or was changed.
    """
    ahead = os.pread(file, _AHEAD, start)
    if not ahead:
        return None
    num_text, num_value, kept_at = _lengths(ahead, start)
    body = os.pread(file, num_text + num_value, start + _AHEAD)
    if len(body) < num_text + num_value:
        raise DamagedError(f"a record at {start} must have {num_text + num_value} bytes, {len(body)} are there")
    text, value = body[:num_text], body[num_text:]
    if _SUM.unpack(ahead[_FIXED.size :])[0] != _checksum(ahead[: _FIXED.size], text, value):
        raise DamagedError(f"the record at {start} fails its checksum")
    place = Place(segment, start, start + _AHEAD + num_text + num_value)
    return KeptFrame(place, _header(text, start), value, kept_at)


def record_place(file: int, segment: int, start: int) -> Place:
    """Where the record that begins at ``start`` stands.

    Raises:
        DamagedError: its length cannot be believed.
    """
    num_text, num_value, _ = _lengths(os.pread(file, _AHEAD, start), start)
    return Place(segment, start, start + _AHEAD + num_text + num_value)


def skim(path: Path, segment: int, start: int = 0, end: int | None = None) -> Iterator[KeptFrame]:
    """The records from ``start`` to ``end`` without values and unchecked; ends in silence where one is cut off."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size if end is None else end
        while start + _AHEAD <= size:
            ahead = os.pread(file.fileno(), _AHEAD, start)
            try:
                num_text, num_value, kept_at = _lengths(ahead, start)
                header = _header(os.pread(file.fileno(), num_text, start + _AHEAD), start)
            except DamagedError:
                return
            place = Place(segment, start, start + _AHEAD + num_text + num_value)
            if place.end > size:
                return
            yield KeptFrame(place, header, b"", kept_at)
            start = place.end


def sound_end(path: Path) -> int:
    """Offset behind the last record up to which all are whole."""
    with path.open("rb") as file:
        end = 0
        while True:
            try:
                record = read_record(file.fileno(), 0, end)
            except DamagedError:
                return end
            if record is None:
                return end
            end = record.place.end


def _lengths(ahead: bytes, start: int) -> tuple[int, int, float]:
    if len(ahead) < _AHEAD:
        raise DamagedError(f"a record at {start} is cut off within its lengths")
    num_text, num_value, kept_at = _FIXED.unpack(ahead[: _FIXED.size])
    if not 0 < num_text + num_value <= _MOST_BYTES:
        raise DamagedError(f"a record at {start} says it has {num_text} and {num_value} bytes")
    return num_text, num_value, kept_at


def _header(text: bytes, start: int) -> FrameHeader:
    try:
        return decode_message(FrameHeader, text)
    except BadMessageError as error:
        raise DamagedError(f"the record at {start} has no header that can be read: {error}") from error


def _checksum(fixed: bytes, text: bytes, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(text, zlib.crc32(fixed)))
