"""Matroska files written by hand, to give frames any time stamps."""

import struct
from collections.abc import Sequence
from pathlib import Path


def write_matroska(path: Path, jpegs: Sequence[bytes], times_ms: Sequence[int], size: tuple[int, int]) -> None:
    """One MJPEG track without a stated rate."""
    head = [(b"\x42\x86", _number(1)), (b"\x42\xf7", _number(1)), (b"\x42\xf2", _number(4)), (b"\x42\xf3", _number(8))]
    head += [(b"\x42\x82", b"matroska"), (b"\x42\x87", _number(4)), (b"\x42\x85", _number(2))]
    info = _all([(b"\x2a\xd7\xb1", _number(1_000_000)), (b"\x4d\x80", b"t"), (b"\x57\x41", b"t")])
    video = _all([(b"\xb0", _number(size[0])), (b"\xba", _number(size[1]))])
    entry = _all([(b"\xd7", _number(1)), (b"\x73\xc5", _number(1)), (b"\x83", _number(1)), (b"\x86", b"V_MJPEG")])
    track = _all([(b"\xae", entry + _element(b"\xe0", video))])
    body = _all([(b"\x15\x49\xa9\x66", info), (b"\x16\x54\xae\x6b", track)])
    for jpeg, time_ms in zip(jpegs, times_ms, strict=True):
        block = b"\x81" + struct.pack(">h", 0) + b"\x80" + jpeg
        body += _element(b"\x1f\x43\xb6\x75", _all([(b"\xe7", _number(time_ms)), (b"\xa3", block)]))
    path.write_bytes(_element(b"\x1a\x45\xdf\xa3", _all(head)) + _element(b"\x18\x53\x80\x67", body))


def _element(name: bytes, body: bytes) -> bytes:
    return name + b"\x01" + len(body).to_bytes(7, "big") + body


def _all(parts: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"".join(_element(name, body) for name, body in parts)


def _number(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
