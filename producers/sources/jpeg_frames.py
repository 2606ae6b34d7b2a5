"""Where one JPEG ends and the next begins, in any stream of bytes: by the format's own marks.

Cameras disagree about boundaries, lengths and line ends between the pictures of a multipart stream; about the pictures
themselves they cannot. So everything between two pictures is passed over, whatever it is.
"""

from collections.abc import Iterator

MAX_JPEG_BYTES = 16 * 1024 * 1024
_START = b"\xff\xd8\xff"
_END = 0xD9
_SCAN = 0xDA
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Marks without a length: restarts and TEM."""


class JpegSplitter:
    """Takes pieces of a stream and gives the whole JPEGs in it; holds at most one picture and one piece.

    Attributes:
        num_broken: pictures that broke off, or were larger than ``max_bytes``.
    """

    def __init__(self, max_bytes: int = MAX_JPEG_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held = bytearray()
        self._at = 0  # up to here the picture at the start of ``_held`` has been read; 0 = looking for one
        self._in_scan = False
        self.num_broken = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The pictures that end in this piece."""
        self._held += piece
        while self._find_start() and (end := self._find_end()) is not None:
            if end:
                yield bytes(self._held[:end])
            self._restart(end)
        if len(self._held) > self._max_bytes:
            self.num_broken += 1
            self._restart(len(self._held))

    def _restart(self, end: int) -> None:
        """Forget what is before ``end``; 0: the picture at the start is broken, look for another behind its start."""
        del self._held[: end or 2]
        self._at, self._in_scan = 0, False

    def _find_start(self) -> bool:
        if self._at:
            return True
        start = self._held.find(_START)
        if start < 0:
            del self._held[: max(0, len(self._held) - len(_START) + 1)]
            return False
        del self._held[:start]
        self._at = 2
        return True

    def _find_end(self) -> int | None:
        """Where the picture ends; None: not here yet; 0: it is broken."""
        held = self._held
        while self._find_mark() and self._at + 2 <= len(held):
            mark = held[self._at + 1]
            if held[self._at] != 0xFF or mark == 0xD8 or (mark == 0 and not self._in_scan):
                self.num_broken += 1
                return 0
            if mark == _END:
                return self._at + 2
            if not self._skip(mark):
                return None
        return None

    def _find_mark(self) -> bool:
        """In the coded part of a picture a mark must be looked for; elsewhere one follows the other."""
        if self._in_scan:
            found = self._held.find(b"\xff", self._at)
            self._at = len(self._held) if found < 0 else found
        return self._at < len(self._held)

    def _skip(self, mark: int) -> bool:
        """Go on behind a mark; False if its length is not here yet."""
        if mark == 0xFF:  # padding
            self._at += 1
        elif mark in _BARE or mark == 0:
            self._at += 2
        elif self._at + 4 > len(self._held):
            return False
        else:
            self._at += 2 + int.from_bytes(self._held[self._at + 2 : self._at + 4], "big")
            self._in_scan = mark == _SCAN
        return True
