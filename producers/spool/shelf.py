"""What is kept of one camera: its segments in order, what of them is in hand, and how far the log has them.

For one thread at a time: the spool's lock guards it. The cursor is durable, so that after SIGKILL only records whose
acknowledgement was on its way are sent again; workers drop such repeats.
"""

import errno
import os
import struct
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from producers.spool.segments import KeptFrame, Place, packed, read_record, record_place, skim, sound_end
from schemas.errors import DamagedError
from schemas.messages import FrameHeader

_SUFFIX = ".segment"
_GOING = (".spool_full", ".spool_old")
"""Of a segment that is being let go of: why."""
_CURSOR = struct.Struct("<QQ")
_SUM = struct.Struct("<I")


@dataclass(slots=True)
class _Segment:
    number: int
    num_bytes: int
    first_kept_at: float
    last_kept_at: float


class Shelf:
    """Records of one camera, appended at one end and taken at the other.

    A record that was taken is in hand until it is settled (the log has it, or it is given up) or given back.

    Attributes:
        num_found: frames that were there when it was opened.
        num_torn_bytes: what was cut off then, because its writing had not come to an end.
        half_gone: what an earlier run was letting go of when it was killed, with the cause and without values; some of
            it may have been written down.
        last_found: header of the last record there was, if there was one.
    """

    def __init__(self, folder: Path, segment_bytes: int) -> None:
        """Open what is there.

        Raises:
            OSError: the disk does not let us read or cut.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.num_found = self.num_torn_bytes = 0
        self.last_found: FrameHeader | None = None
        self._segment_bytes = segment_bytes
        self._segments: deque[_Segment] = deque()
        self._newest_number = 0
        self._writing: int | None = None
        self._reading: tuple[int, int] | None = None  # number of the segment, descriptor
        self._in_hand: set[Place] = set()
        self._done: set[Place] = set()  # settled, with others before them that are not
        self._passed: deque[Place] = deque()  # from the cursor to where reading stands
        self._cursor_file = os.open(folder / "cursor", os.O_RDWR | os.O_CREAT, 0o644)
        self._cursor = self._read_cursor()
        self.half_gone = tuple((path.suffix[1:], self._left_of(path)) for path in self._leaving())
        paths = sorted(folder.glob(f"*{_SUFFIX}"))
        for path in paths:
            # Only what was written last can be cut off; the sums of the others are looked at when they are read.
            self._load(path, sound_end(path) if path is paths[-1] else path.stat().st_size)
        self._next = self._cursor

    @property
    def num_bytes(self) -> int:
        """On disk."""
        return sum(segment.num_bytes for segment in self._segments)

    @property
    def num_in_hand(self) -> int:
        """Taken, and neither settled nor given back."""
        return len(self._in_hand)

    @property
    def oldest_kept_at(self) -> float | None:
        """When the first record of the oldest segment was kept; None where there is none."""
        return self._segments[0].first_kept_at if self._segments else None

    @property
    def droppable_since(self) -> float | None:
        """When the first record of the segment that goes next was kept, if it can go without harm.

        Not while something of it is in hand: who is killed then would have lost what nobody can name.
        """
        segment = self._next_to_go()
        return None if segment is None else segment.first_kept_at

    def is_outlived(self, kept_at: float) -> bool:
        """Whether all of that segment was kept before a time."""
        segment = self._next_to_go()
        return segment is not None and segment.last_kept_at < kept_at

    def append(self, header: FrameHeader, value: bytes, kept_at: float) -> Place:
        """Write one record behind the others.

        Raises:
            OSError: the disk took it not or not wholly; what was written of it is cut off again.
        """
        segment, file = self._open_for(kept_at)
        pieces = packed(header, value, kept_at)
        place = Place(segment.number, segment.num_bytes, segment.num_bytes + sum(map(len, pieces)))
        try:
            _write_whole(file, pieces, place.end - place.start)
        except OSError:
            os.ftruncate(file, place.start)
            raise
        segment.num_bytes, segment.last_kept_at = place.end, kept_at
        return place

    def hold(self, place: Place) -> None:
        """The record just appended is in hand already."""
        self._in_hand.add(place)

    def take(self) -> KeptFrame | None:
        """The next record that is not in hand; it is from now on. None if there is none.

        Raises:
            DamagedError: it was changed on disk; ``step_over`` goes behind it.
        """
        while (found := self._here()) is not None:
            segment, start = found
            file = self._descriptor(segment.number)
            place = record_place(file, segment.number, start)
            if place in self._in_hand or place in self._done:
                self._pass(place)
                continue
            record = read_record(file, segment.number, start)
            if record is None:
                raise DamagedError(f"segment {segment.number} in {self.folder} is shorter than it was")
            self._in_hand.add(place)
            self._pass(place)
            return record
        return None

    def step_over(self) -> Sequence[KeptFrame]:
        """Give up the damaged record at which reading stands; what is known of what is lost by it, without values.

        Where not even its length can be believed, the rest of its segment goes with it, unnamed.
        """
        found = self._here()
        if found is None:
            return ()
        segment, start = found
        for record in skim(self._path(segment.number), segment.number, start):
            self._done.add(record.place)
            self._pass(record.place)
            return (record,)
        if segment is self._segments[-1]:
            self._close_writing()
        os.truncate(self._path(segment.number), start)
        segment.num_bytes = start
        return ()

    def settle(self, place: Place) -> None:
        """It is done with, and need never be sent again."""
        self._in_hand.discard(place)
        if (place.segment, place.start) >= self._cursor:
            self._done.add(place)
            self._advance()

    def give_back(self, place: Place) -> bool:
        """It was not sent: it is the next one again, before all behind it. False if it was dropped in the meantime."""
        self._in_hand.discard(place)
        if (place.segment, place.start) < self._cursor:
            return False
        self._passed.clear()
        self._next = self._cursor
        return True

    def drop_oldest(self, cause: str, write_down: Callable[[str, Sequence[KeptFrame]], None]) -> None:
        """Delete the oldest segment of which nothing is in hand, else the oldest.

        What is in hand of it is not lost yet. The segment bears the cause as long as it is going: who is killed in
        between leaves it ``half_gone``, so that nothing of it is lost in silence, or named twice.

        Args:
            cause: "spool_full" or "spool_old".
            write_down: told why and what is lost by it, without values, before it is.
        """
        if not self._segments:
            return
        segment = self._next_to_go() or self._segments[0]
        path = self._path(segment.number)
        with suppress(OSError):  # a disk that does not even do that: it goes under its own name
            path = path.rename(path.with_suffix(f".{cause}"))
        not_lost = self._done | self._in_hand
        write_down(cause, [record for record in self._left_of(path) if record.place not in not_lost])
        self._forget(segment, path)

    def forget_half_gone(self) -> None:
        """All of what was ``half_gone`` is written down."""
        self.half_gone = ()
        for path in self._leaving():
            with suppress(OSError):
                path.unlink()

    def clear(self) -> None:
        """Delete all; nothing may be in hand."""
        while self._segments:
            self._forget(self._segments[0])

    def sync(self) -> None:
        """Make what was written outlive a power cut."""
        if self._writing is not None:
            os.fdatasync(self._writing)

    def close(self) -> None:
        """Release the files."""
        self._close_writing()
        self._close_reading()
        os.close(self._cursor_file)

    def _next_to_go(self) -> _Segment | None:
        busy = {place.segment for place in self._in_hand}
        return next((segment for segment in self._segments if segment.number not in busy), None)

    def _leaving(self) -> Sequence[Path]:
        return sorted(path for path in self.folder.iterdir() if path.suffix in _GOING and path.stem.isdecimal())

    def _left_of(self, path: Path) -> Sequence[KeptFrame]:
        """The records of a segment that the log does not have, without values."""
        number = int(path.stem)
        if number < self._cursor[0]:
            return ()
        return list(skim(path, number, self._cursor[1] if number == self._cursor[0] else 0))

    def _load(self, path: Path, end: int) -> None:
        number = int(path.name.removesuffix(_SUFFIX))
        self._newest_number = max(self._newest_number, number)
        start = self._cursor[1] if number == self._cursor[0] else 0
        first: KeptFrame | None = None
        last: KeptFrame | None = None
        for last in skim(path, number, start, end):
            first = first or last
            self.num_found += last.header.kind == "frame"
        if number < self._cursor[0] or first is None or last is None:
            self.num_torn_bytes += max(0, path.stat().st_size - max(start, end)) if number >= self._cursor[0] else 0
            path.unlink()
            return
        if (torn := path.stat().st_size - last.place.end) > 0:
            self.num_torn_bytes += torn
            os.truncate(path, last.place.end)
        self.last_found = last.header
        self._segments.append(_Segment(number, last.place.end, first.kept_at, last.kept_at))

    def _open_for(self, kept_at: float) -> tuple[_Segment, int]:
        if self._writing is not None and self._segments[-1].num_bytes < self._segment_bytes:
            return self._segments[-1], self._writing
        self._close_writing()
        self._newest_number = number = max(self._cursor[0], self._newest_number) + 1
        file = os.open(self._path(number), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
        self._writing = file
        self._segments.append(_Segment(number, 0, kept_at, kept_at))
        return self._segments[-1], file

    def _here(self) -> tuple[_Segment, int] | None:
        """Segment and offset of the record at which reading stands; None behind the last one."""
        for segment in self._segments:
            start = self._next[1] if segment.number == self._next[0] else 0
            if segment.number >= self._next[0] and start < segment.num_bytes:
                self._next = (segment.number, start)
                return segment, start
        return None

    def _pass(self, place: Place) -> None:
        self._next = (place.segment, place.end)
        self._passed.append(place)
        self._advance()

    def _advance(self) -> None:
        before = self._cursor
        while self._passed and self._passed[0] in self._done:
            place = self._passed.popleft()
            self._done.discard(place)
            self._cursor = (place.segment, place.end)
        if self._cursor != before:
            self._write_cursor()
            while self._segments and self._segments[0].number < self._cursor[0]:
                self._forget(self._segments[0])

    def _forget(self, segment: _Segment, path: Path | None = None) -> None:
        if segment is self._segments[-1]:
            self._close_writing()
        if self._reading is not None and self._reading[0] == segment.number:
            self._close_reading()
        with suppress(OSError):  # it stays where it is, and the cursor says that it is done with
            (path or self._path(segment.number)).unlink()
        behind, is_oldest = (segment.number + 1, 0), segment is self._segments[0]
        self._segments.remove(segment)
        self._done = {place for place in self._done if place.segment != segment.number}
        self._passed = deque(place for place in self._passed if place.segment != segment.number)
        if self._next[0] == segment.number or is_oldest:
            self._next = max(self._next, behind)
        if is_oldest:
            self._cursor = max(self._cursor, behind)
            self._write_cursor()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:012d}{_SUFFIX}"

    def _descriptor(self, number: int) -> int:
        if self._reading is None or self._reading[0] != number:
            self._close_reading()
            self._reading = (number, os.open(self._path(number), os.O_RDONLY))
        return self._reading[1]

    def _close_reading(self) -> None:
        if self._reading is not None:
            os.close(self._reading[1])
            self._reading = None

    def _close_writing(self) -> None:
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None

    def _read_cursor(self) -> tuple[int, int]:
        written = os.pread(self._cursor_file, _CURSOR.size + _SUM.size, 0)
        place = written[: _CURSOR.size]
        if len(written) < _CURSOR.size + _SUM.size or _SUM.unpack(written[_CURSOR.size :])[0] != zlib.crc32(place):
            return (0, 0)  # all is sent once more: rather twice than not at all
        segment, offset = _CURSOR.unpack(place)
        return segment, offset

    def _write_cursor(self) -> None:
        place = _CURSOR.pack(*self._cursor)
        with suppress(OSError):  # what is sent twice, workers drop
            os.pwrite(self._cursor_file, place + _SUM.pack(zlib.crc32(place)), 0)


def _write_whole(file: int, pieces: Sequence[bytes], num_bytes: int) -> None:
    if os.writev(file, pieces) < num_bytes:
        raise OSError(errno.ENOSPC, "No space left on device")
