"""The curves of a run: one JSON object a line in its folder, and TensorBoard if wanted."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from training.loop.state import room_on_disk

CURVES = "curves.jsonl"
"""Name of the file in the folder of a run. Each line has ``step`` and any of the tags that were recorded there."""


class Board(Protocol):
    """Where curves go besides; TensorBoard's ``SummaryWriter`` is one."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> object:
        """One point of one curve."""

    def close(self) -> None:
        """Write what is left."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Open curves of a run."""

    file: TextIO
    board: Board | None

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """A point on each of some curves.

        Raises:
            FatalError: the disk is full.
        """
        with room_on_disk(Path(self.file.name)):
            self.file.write(json.dumps({"step": step, **values}) + "\n")
            self.file.flush()
        if self.board is not None:
            for tag, value in values.items():
                self.board.add_scalar(tag, value, step)


@contextmanager
def open_curves(run: Path, step: int, tensorboard: Path | None = None) -> Iterator[Curves]:
    """Curves that go on after ``step``; what an interrupted run drew beyond it is drawn anew."""
    path = run / CURVES
    kept = [point for point in read_curves(run) if point["step"] <= step]
    path.write_text("".join(json.dumps(point) + "\n" for point in kept))
    board = None if tensorboard is None else _board(tensorboard, step)
    try:
        with path.open("a") as file:
            yield Curves(file, board)
    finally:
        if board is not None:
            board.close()


def read_curves(run: Path) -> list[dict[str, Any]]:
    """All points of a run, in order; none if it has not begun. A line cut off by a crash is passed over."""
    path = run / CURVES
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _board(folder: Path, step: int) -> Board:
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an optional dependency, slow to import

    board: Board = SummaryWriter(str(folder), purge_step=step + 1)
    return board
