"""What became of each record of ``frames``, followed as the topics tell it: scores, dead letters, states of cameras."""

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from messaging.dead_letters import SOURCE
from messaging.ports import Bus, Record
from schemas.codec import HEADER, decode_message
from schemas.errors import BadMessageError, TransientError
from schemas.messages import FrameHeader, FrameScore
from schemas.topics import TopicNames

BATCH = 1000
POLL_S = 0.5
TOLD = 8
"""So many records that have come to no end are named, of each camera."""

Frame = tuple[str, str, int]
"""Camera, session and index."""


class Deadline:
    """One for all the waits of a test: it speaks before the test's own time-out, whichever of them takes long.

    Args:
        seconds: from now on.
    """

    def __init__(self, seconds: float) -> None:
        self._until_s = time.monotonic() + seconds
        self._seconds = seconds

    @property
    def left_s(self) -> float:
        """Seconds left, 0 once it has passed."""
        return max(0.0, self._until_s - time.monotonic())

    def __str__(self) -> str:
        return f"{self._seconds:.0f} s"


@dataclass(frozen=True, slots=True)
class Sent:
    """One record of ``frames``. ``header`` is None where it cannot be read."""

    partition: int
    offset: int
    key: str
    header: FrameHeader | None

    @property
    def frame(self) -> Frame | None:
        """The frame that it is, if it is one."""
        header = self.header
        is_frame = header is not None and header.kind == "frame"
        return (header.camera_id, header.session_id, header.frame_index) if header and is_frame else None

    def __str__(self) -> str:
        place = f"{self.partition}/{self.offset}"
        header = self.header
        return f"{place} ({header.kind} {header.frame_index} of {header.session_id})" if header else place


class Ledger:
    """Reads each record once, however often it is asked; whatever foreign records lie between.

    Args:
        bus: where the topics are; they exist.
        topics: their names.
    """

    def __init__(self, bus: Bus, topics: TopicNames) -> None:
        self._topics = topics
        followed = [topics.frames, topics.frame_scores, topics.dead_letters, topics.camera_states]
        self._reader = bus.reader(followed, from_beginning=True)
        self.sent: list[Sent] = []
        self.scored: Counter[Frame] = Counter()
        self.letters: Counter[tuple[int, int]] = Counter()
        """By partition and offset of the record that each is about."""
        self._counted: dict[str, Counter[str]] = {}

    def follow(self, is_enough: Callable[[], bool], look: Callable[[], None], deadline: Deadline) -> None:
        """Read on until ``is_enough``; ``look`` is called now and then and may raise.

        Raises:
            AssertionError: the deadline passed first; says what has come to no end.
        """
        while not is_enough():
            look()
            assert deadline.left_s, f"waited {deadline}; {self}"
            try:
                for record in self._reader.read(BATCH, POLL_S):
                    self._enter(record)
            except TransientError:
                continue  # the broker is away for a moment

    def read_to_end(self, timeout_s: float) -> None:
        """Read what is left."""
        for record in self._reader.read_to_end(timeout_s):
            self._enter(record)

    def open(self) -> Counter[str]:
        """By key, how many records have come to no end yet; below 0, how many ends there are too many."""
        ends = Counter(camera for camera, _, _ in self.scored.elements())
        for key, counts in self._counted.items():
            ends[key] += counts.total()
        found = Counter(one.key for one in self.sent if (one.partition, one.offset) not in self.letters)
        found.subtract(ends)
        return Counter({key: number for key, number in found.items() if number})

    def is_settled(self) -> bool:
        """Whether every record that was read has come to an end."""
        return not +self.open()

    def __str__(self) -> str:
        told = [f"{len(self.sent)} records, {self.scored.total()} scores, {self.letters.total()} dead letters"]
        return "\n  ".join([*told, *(self._told(key, number) for key, number in self.open().items())])

    def _told(self, key: str, number: int) -> str:
        """Which they are: a state says how many were skipped, so that of those that it may be all are named."""
        neither = [
            one
            for one in self.sent
            if one.key == key and one.frame not in self.scored and (one.partition, one.offset) not in self.letters
        ]
        names = ", ".join(map(str, neither[:TOLD])) + (" …" if len(neither) > TOLD else "")
        counted = dict(self._counted.get(key, {}))
        return f"{key:.64}: {number} open; its state counts {counted}; neither scored nor a letter: {names or 'none'}"

    def _enter(self, record: Record) -> None:
        key = (record.key or b"").decode(errors="replace")
        try:
            if record.topic == self._topics.frames:
                self.sent.append(Sent(record.partition, record.offset, key, header_of(record)))
            elif record.topic == self._topics.frame_scores:
                score = decode_message(FrameScore, record.value)
                self.scored[score.camera_id, score.session_id, score.frame_index] += 1
            elif record.topic == self._topics.dead_letters:
                self._enter_letter((record.header(SOURCE) or b"").decode())
            else:
                counts = json.loads(record.value or b"{}")["counts"]
                self._counted[key] = Counter(counts["skipped"], ended=counts["session_ends"])
        except (BadMessageError, ValueError, KeyError, TypeError, RecursionError):
            return  # a foreign one

    def _enter_letter(self, source: str) -> None:
        found = re.fullmatch(rf"{re.escape(self._topics.frames)}/(\d+)/(\d+)", source)
        if found:
            self.letters[int(found[1]), int(found[2])] += 1

    def close(self) -> None:
        """Release."""
        self._reader.close()


def header_of(record: Record) -> FrameHeader | None:
    """None where there is none that can be read."""
    try:
        return decode_message(FrameHeader, record.header(HEADER))
    except BadMessageError:
        return None
