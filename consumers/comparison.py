"""Two runs over the same material side by side: which events appear, vanish, change. Pure but for reading files.

Events of two runs are the same happening if their frames (of one session), else their times, overlap; what overlaps
most is paired first, each event at most once. Ids do not decide, because another threshold begins an event elsewhere.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from schemas.codec import decode_message
from schemas.errors import BadMessageError, FatalError
from schemas.messages import AnomalyEvent

PEAK_TOLERANCE = 1e-4
"""Scores of the same frames and bank agree to 1e-5."""


@dataclass(frozen=True, slots=True)
class Span:
    """What is compared of an event: its newest state. ``peak`` is an anomaly score in [0, 1]."""

    event_id: str
    camera_id: str
    session_id: str
    first: int
    last: int
    started_at: datetime
    last_at: datetime
    peak: float
    end_reason: str | None

    def overlap(self, other: "Span") -> float:
        """How much of their time both cover, above 0 if anything; frames of one session, else seconds."""
        if self.camera_id != other.camera_id:
            return 0.0
        if self.session_id == other.session_id:
            return float(max(0, min(self.last, other.last) - max(self.first, other.first) + 1))
        seconds = (min(self.last_at, other.last_at) - max(self.started_at, other.started_at)).total_seconds()
        return seconds + 1e-3 if seconds >= 0 else 0.0

    def is_like(self, other: "Span") -> bool:
        """Whether nothing of note differs."""
        mine = (self.first, self.last, self.end_reason, self.session_id)
        theirs = (other.first, other.last, other.end_reason, other.session_id)
        return mine == theirs and abs(self.peak - other.peak) <= PEAK_TOLERANCE


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the events after differ from those before; pairs are (before, after)."""

    appeared: tuple[Span, ...]
    vanished: tuple[Span, ...]
    changed: tuple[tuple[Span, Span], ...]
    same: tuple[tuple[Span, Span], ...]

    def facts(self) -> dict[str, object]:
        """For programs."""
        return {
            "appeared": [_facts(span) for span in self.appeared],
            "vanished": [_facts(span) for span in self.vanished],
            "changed": [{"before": _facts(before), "after": _facts(after)} for before, after in self.changed],
            "num_same": len(self.same),
        }


def spans_of(messages: Iterable[AnomalyEvent]) -> list[Span]:
    """One span an event, of its newest message, by camera and time."""
    newest: dict[str, AnomalyEvent] = {}
    for message in messages:
        known = newest.get(message.data.event_id)
        if known is None or message.sequence > known.sequence:
            newest[message.data.event_id] = message
    spans = [_span(message) for message in newest.values()]
    return sorted(spans, key=lambda span: (span.camera_id, span.started_at, span.session_id, span.first))


def compare(before: Sequence[Span], after: Sequence[Span]) -> Comparison:
    """Pair the events of two runs."""
    overlaps = [(old.overlap(new), i, j) for i, old in enumerate(before) for j, new in enumerate(after)]
    paired: dict[int, int] = {}
    taken: set[int] = set()
    for overlap, i, j in sorted(overlaps, key=lambda one: (-one[0], one[1], one[2])):
        if overlap > 0 and i not in paired and j not in taken:
            paired[i] = j
            taken.add(j)
    pairs = [(before[i], after[j]) for i, j in sorted(paired.items())]
    return Comparison(
        appeared=tuple(new for j, new in enumerate(after) if j not in taken),
        vanished=tuple(old for i, old in enumerate(before) if i not in paired),
        changed=tuple(pair for pair in pairs if not pair[0].is_like(pair[1])),
        same=tuple(pair for pair in pairs if pair[0].is_like(pair[1])),
    )


def read_events(path: Path) -> list[AnomalyEvent]:
    """The messages of a file of JSON lines, or of ``events.jsonl`` in a folder.

    Raises:
        FatalError: it cannot be read, or a line of it is no event.
    """
    file = path / "events.jsonl" if path.is_dir() else path
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        text = f"events to compare with must be in a file of JSON lines, '{file}' is none that can be read"
        raise FatalError(f"{text}: {error.strerror}") from error
    try:
        return [decode_message(AnomalyEvent, line) for line in lines if line.strip()]
    except BadMessageError as error:
        raise FatalError(
            f"'{file}' must have one event a line, as 'engram events -o json' prints it: {error}"
        ) from error


def _span(message: AnomalyEvent) -> Span:
    data = message.data
    return Span(
        event_id=data.event_id,
        camera_id=data.camera_id,
        session_id=data.session_id,
        first=data.frames.first,
        last=data.frames.last,
        started_at=data.started_at,
        last_at=data.last_at,
        peak=data.peak.anomaly_score,
        end_reason=data.end_reason,
    )


def _facts(span: Span) -> dict[str, object]:
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in asdict(span).items()}
