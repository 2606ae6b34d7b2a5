"""Looking into the dead letters: what was wrong with which record, and its bytes as they came.

Whatever lies on the topic of dead letters is a letter, also what no process of ours put there: this reader is where an
operator looks when everything else has given up, so nothing is refused here.
"""

import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from messaging.dead_letters import AUTHOR, KEY, LEFT_OUT, MESSAGE, REASON, SOURCE, UNFIT_KEY
from messaging.ports import Reader, Record

NO_REASON = "unknown"
_OWN = frozenset((AUTHOR, KEY, LEFT_OUT, MESSAGE, REASON, SOURCE))
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. All text is fit for a terminal: what cannot be printed is escaped.

    Attributes:
        partition: of the dead-letter topic.
        offset: there.
        written_at: when it was put there; None if that is no time.
        reason: short cause.
        message: what was wrong.
        topic: where the record came from; empty if unknown.
        source: ``topic/partition/offset`` of the record.
        author: process that gave up.
        key: of the record: the camera, or the bank of an update.
        headers: of the record as it came, values as text.
        value: its bytes, empty if they were left out, there were none, or they are not wanted here.
        num_bytes: how long the value is in the letter.
        num_left_out: bytes of the value that are not here.
    """

    partition: int
    offset: int
    written_at: datetime | None
    reason: str
    message: str
    topic: str
    source: str
    author: str
    key: str
    headers: tuple[tuple[str, str], ...]
    value: bytes
    num_bytes: int
    num_left_out: int

    @property
    def place(self) -> str:
        """``partition/offset``, which names the letter."""
        return f"{self.partition}/{self.offset}"

    def facts(self) -> dict[str, object]:
        """All but the value, for programs."""
        return {
            "place": self.place,
            "written_at": None if self.written_at is None else self.written_at.isoformat(timespec="milliseconds"),
            "reason": self.reason,
            "message": self.message,
            "source": self.source,
            "author": self.author,
            "key": self.key,
            "num_bytes": self.num_bytes,
            "num_left_out": self.num_left_out,
            "headers": [list(pair) for pair in self.headers],
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters; None = all.

    Attributes:
        reason: exactly this one.
        key: of this camera or bank.
        topic: from this topic, with or without its prefix.
        place: only this one, ``partition/offset``.
    """

    reason: str | None = None
    key: str | None = None
    topic: str | None = None
    place: str | None = None

    def has(self, letter: Letter) -> bool:
        """Whether ``letter`` is wanted."""
        is_topic = self.topic is None or letter.topic == self.topic or letter.topic.endswith(f".{self.topic}")
        pairs = ((self.reason, letter.reason), (self.key, letter.key), (self.place, letter.place))
        return is_topic and all(want is None or want == has for want, has in pairs)


@dataclass(frozen=True, slots=True)
class Found:
    """What a look through the topic gave.

    Attributes:
        newest: the newest of the wanted letters, newest first.
        reasons: how many were wanted of each reason, those that are not among the newest included.
        topics: the same by source topic.
    """

    newest: tuple[Letter, ...]
    reasons: Counter[str]
    topics: Counter[str]


def find_letters(reader: Reader, wanted: Wanted, newest: int, with_values: bool, timeout_s: float) -> Found:
    """Look through the whole topic; of each partition at most ``newest`` letters are held at any time, and one batch.

    Args:
        reader: of the dead letters, from their beginning.
        wanted: which.
        newest: how many.
        with_values: keep their bytes, to be saved.
        timeout_s: longest time for all of it.

    Raises:
        TransientError: the end was not reached by the deadline.
    """
    reasons, topics = Counter[str](), Counter[str]()
    kept: dict[int, deque[Letter]] = {}  # by partition, each of which is in order of time
    for batch in reader.batches_to_end(timeout_s):
        for letter in wanted_of(batch, wanted):
            reasons[letter.reason] += 1
            topics[letter.topic] += 1
            kept.setdefault(letter.partition, deque(maxlen=newest)).append(
                letter if with_values else replace(letter, value=b"")
            )
    ordered = sorted((letter for letters in kept.values() for letter in letters), key=_age)
    return Found(tuple(ordered[:newest]), reasons, topics)


def wanted_of(records: Iterable[Record], wanted: Wanted) -> Iterator[Letter]:
    """The letters among ``records``, which are all of them, that are wanted."""
    return (letter for letter in map(letter_of, records) if wanted.has(letter))


def letter_of(record: Record) -> Letter:
    """The letter that a record is. Never raises: what is missing is said to be unknown."""
    source = _text(record.header(SOURCE))
    key = record.header(KEY) or record.key
    left_out = record.header(LEFT_OUT) or b""
    return Letter(
        partition=record.partition,
        offset=record.offset,
        written_at=_time(record.timestamp_ms),
        reason=_text(record.header(REASON)) or NO_REASON,
        message=_text(record.header(MESSAGE)),
        topic=source.rsplit("/", 2)[0] if source.count("/") >= 2 else "",
        source=source,
        author=_text(record.header(AUTHOR)),
        key=_text(key) or UNFIT_KEY,
        headers=tuple((printable(name), _text(value)) for name, value in record.headers if name not in _OWN),
        value=record.value or b"",
        num_bytes=len(record.value or b""),
        num_left_out=int(left_out) if left_out.isdigit() and len(left_out) < 16 else 0,
    )


def save_letter(letter: Letter, folder: Path) -> Path:
    """Write the value's bytes as they came, and beside them the facts as JSON; the path of the bytes.

    The names come from the place of the letter alone, never from what it says of itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{letter.partition}-{letter.offset}"
    path = folder / (f"{stem}.jpg" if letter.value.startswith(_JPEG) else f"{stem}.bin")
    path.write_bytes(letter.value)
    (folder / f"{stem}.json").write_text(json.dumps(letter.facts(), indent=1) + "\n", "utf-8")
    return path


def printable(text: str) -> str:
    """``text`` with everything escaped that could move a cursor, change a colour, or not be encoded."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def _text(raw: bytes | None) -> str:
    return printable((raw or b"").decode("utf-8", errors="backslashreplace"))


def _time(milliseconds: int) -> datetime | None:
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds) if milliseconds >= 0 else None
    except OverflowError:
        return None


def _age(letter: Letter) -> tuple[float, int, int]:
    """Sorts the newest first."""
    at_s = 0.0 if letter.written_at is None else (letter.written_at - _EPOCH).total_seconds()
    return -at_s, -letter.offset, letter.partition
