"""Scores as a CSV file: one row a frame, empty numbers while a window fills."""

import csv
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from schemas.messages import FrameScore

COLUMNS = (
    "camera_id",
    "session_id",
    "frame_index",
    "captured_at",
    "psnr_db",
    "feature_distance",
    "regular_score",
    "anomaly_score",
    "bank_version",
    "memory_state",
)


class ScoreTable:
    """Writes rows as scores come; use it as a context manager.

    Args:
        path: file to write, replaced when it exists; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._writer.writerow(COLUMNS)
        self.num_rows = 0

    def add(self, scores: Iterable[FrameScore]) -> None:
        """Append one row a score, in the order given."""
        for score in scores:
            self._writer.writerow(row_of(score))
            self.num_rows += 1

    def close(self) -> None:
        """Write out and release."""
        self._file.close()

    def __enter__(self) -> "ScoreTable":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def row_of(score: FrameScore) -> tuple[str, ...]:
    """The cells of one frame; floats with all their digits, none = empty."""
    return tuple(_cell(getattr(score, column)) if column != "captured_at" else _time(score) for column in COLUMNS)


def _cell(value: object) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def _time(score: FrameScore) -> str:
    return score.captured_at.isoformat().replace("+00:00", "Z")
