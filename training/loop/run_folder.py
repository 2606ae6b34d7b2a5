"""The folder of a run: what it is for, so that nobody goes on from another training's checkpoint, and its curves."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import torch

from schemas.errors import DamagedError, FatalError
from training.loop.state import CHECKPOINT, room_on_disk
from training.options import Precision, TrainOptions

log = logging.getLogger(__name__)

SETTINGS = "settings.json"
MOST_NAMED = 4
CURVES = "curves.jsonl"
"""Name of the file in the folder of a run. Each line has ``step`` and any of the tags that were recorded there."""


def claim_run(run: Path, settings: Mapping[str, Any], resume: bool) -> None:
    """Note what a run folder is for, or make sure that it is for the same.

    Args:
        run: folder; is made if it does not exist.
        settings: all that decides the result.
        resume: whether an earlier run is wanted to go on; with none there, a run begins.

    Raises:
        FatalError: the folder holds a training that is not wanted to go on, or one with other settings.
    """
    begun = (run / CHECKPOINT).exists()
    if begun and not (run / SETTINGS).exists():
        raise FatalError(f"a checkpoint must have its '{SETTINGS}' beside it, '{run}' has none; remove that folder")
    if begun and not resume:
        text = f"the run folder must be new, '{run}' holds a training that was begun"
        raise FatalError(f"{text}; give --resume to go on with it, or remove the folder")
    if begun:
        _compare(run, settings)
        return
    if resume:
        log.warning("nothing to go on from in '%s': the training begins", run)
    run.mkdir(parents=True, exist_ok=True)
    (run / SETTINGS).write_text(json.dumps(settings, indent=1))


def read_settings(run: Path) -> dict[str, Any]:
    """What a run folder is for; empty if it has not begun.

    Raises:
        DamagedError: it is not what was written there.
    """
    path = run / SETTINGS
    try:
        settings = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(settings, dict):
        raise _damaged(path, "it is no table of settings")
    return settings


def _damaged(path: Path, why: str) -> DamagedError:
    text = f"the settings of a run must be as they were written, '{path}' is not: {why}"
    return DamagedError(f"{text}; remove the folder of the run, or give another --run folder")


def precision_of(options: TrainOptions) -> Precision:
    """What was asked for; left open, that with which a run that goes on began, or the fastest here."""
    if options.precision != "auto":
        return options.precision
    begun: Precision | None = read_settings(options.run).get("precision") if options.resume else None
    return begun or fastest_precision(options.device)


def fastest_precision(device: str) -> Precision:
    """bfloat16 where the hardware multiplies it for certain: on GPUs, and on CPUs with AMX."""
    if device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()):
        return "bf16"
    processor = Path("/proc/cpuinfo")
    return "bf16" if processor.exists() and "amx_bf16" in processor.read_text() else "fp32"


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings without nesting: names are joined by dots."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


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
    """All points of a run, in order; none if it has not begun. A line cut off by a crash, or lost, is passed over."""
    path = run / CURVES
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [point for point in map(_point, lines) if point is not None]


def _point(line: bytes) -> dict[str, Any] | None:
    try:
        point = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return point if isinstance(point, dict) and isinstance(point.get("step"), int) else None


def _compare(run: Path, settings: Mapping[str, Any]) -> None:
    before, now = flat(read_settings(run)), flat(json.loads(json.dumps(settings)))
    differ = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if differ:
        told = ", ".join(f"{name} (was {before.get(name)}, now {now.get(name)})" for name in differ[:MOST_NAMED])
        text = f"a run must go on with the settings it began with, '{run}' differs in {told}"
        raise FatalError(f"{text}; give the same settings, or another --run folder")


def _board(folder: Path, step: int) -> Board:
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an optional dependency, slow to import

    board: Board = SummaryWriter(str(folder), purge_step=step + 1)
    return board
