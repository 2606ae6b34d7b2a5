"""The whole fleet as topics and groups show it: how far groups are, who owns what, the newest score of each camera.

Nothing here asks a process: what a worker that hangs would say of itself is not what its scores say.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from messaging.ports import Record
from schemas.codec import decode_message
from schemas.errors import BadMessageError
from schemas.messages import FrameScore

if TYPE_CHECKING:
    from messaging.kafka.groups import GroupView

MAX_CAMERAS = 10_000
"""Anybody can make up a camera; those whose scores are oldest go."""
SILENT_S = 30.0
LATE_S = 10.0


@dataclass(frozen=True, slots=True)
class CameraRow:
    """A camera by its newest score.

    Attributes:
        partition: of scores, the same as of frames.
        worker_id: who scored it.
        anomaly_score: None while its window fills.
        captured_at: when the frame was taken.
        scored_at: when it was scored.
        bank: id and version that were read.
        memory_state: of that copy.
    """

    camera_id: str
    partition: int
    worker_id: str
    anomaly_score: float | None
    captured_at: datetime
    scored_at: datetime
    bank: tuple[str, int]
    memory_state: str

    @property
    def late_s(self) -> float:
        """From capture to score; by two clocks, so it may be negative."""
        return (self.scored_at - self.captured_at).total_seconds()

    def silent_s(self, now: datetime) -> float:
        """Since its last score."""
        return max(0.0, (now - self.scored_at).total_seconds())

    def state(self, now: datetime) -> str:
        """In words: ok, late, silent."""
        if (silent_s := self.silent_s(now)) > SILENT_S:
            return f"no score for {spoken(silent_s)}"
        return f"late by {spoken(self.late_s)}" if self.late_s > LATE_S else "ok"


@dataclass(frozen=True, slots=True)
class BankRow:
    """A bank as the store has it."""

    bank_id: str
    version: int
    committed_at: datetime
    frozen: bool


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything at one moment. ``trouble``: what could not be asked, by what it is about."""

    at: datetime
    groups: Sequence["GroupView"]
    cameras: Sequence[CameraRow]
    banks: Sequence[BankRow]
    trouble: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "at": self.at.isoformat(),
            "groups": {group.name: {**asdict(group), "lag": group.lag} for group in self.groups},
            "cameras": {row.camera_id: _camera_json(row, self.at) for row in self.cameras},
            "banks": {row.bank_id: asdict(replace(row)) for row in self.banks},
            "trouble": dict(self.trouble),
        }


class NewestScores:
    """The newest score of each camera, from records in any order. What cannot be read is passed over."""

    def __init__(self) -> None:
        self._rows: dict[str, CameraRow] = {}

    def take(self, records: Iterable[Record]) -> None:
        """Take in records of the topic of scores."""
        for record in records:
            try:
                row = camera_row(decode_message(FrameScore, record.value), record.partition)
            except BadMessageError:
                continue
            known = self._rows.get(row.camera_id)
            if known is None or row.scored_at >= known.scored_at:
                self._rows[row.camera_id] = row
        if len(self._rows) > MAX_CAMERAS:
            kept = sorted(self._rows.values(), key=lambda row: row.scored_at)[-MAX_CAMERAS:]
            self._rows = {row.camera_id: row for row in kept}

    def rows(self) -> list[CameraRow]:
        """By camera."""
        return sorted(self._rows.values(), key=lambda row: row.camera_id)


def camera_row(score: FrameScore, partition: int) -> CameraRow:
    """What of a score is shown."""
    return CameraRow(
        score.camera_id,
        partition,
        score.worker_id,
        score.anomaly_score,
        score.captured_at,
        score.scored_at,
        (score.bank_id, score.bank_version),
        score.memory_state,
    )


def spoken(seconds: float) -> str:
    """A length of time for people, to the unit that matters."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def _camera_json(row: CameraRow, now: datetime) -> dict[str, object]:
    return asdict(row) | {
        "late_s": round(row.late_s, 3),
        "silent_s": round(row.silent_s(now), 3),
        "state": row.state(now),
    }
