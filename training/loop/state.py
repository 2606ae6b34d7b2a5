"""What a training is made of from step to step, and its checkpoints."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from networks.network import VideoNetwork
from schemas.errors import DamagedError, FatalError

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
"""Names of the files in the folder of a run: where to go on, and the best weights so far by validation."""

_UNREADABLE = (OSError, RuntimeError, EOFError, UnpicklingError, LookupError, ValueError, TypeError, AttributeError)


@dataclass(slots=True)
class Progress:
    """How far a training is, and how well it did by the clips held back.

    Attributes:
        step: steps done.
        best_error: least validation error so far.
        best_step: the step it was found at.
        worse_epochs: validations since.
    """

    step: int = 0
    best_error: float = float("inf")
    best_step: int = 0
    worse_epochs: int = 0


@dataclass(slots=True)
class TrainingState:
    """All that changes from step to step. ``items_MC`` is the bank; None where the network has none."""

    network: VideoNetwork
    optimizer: torch.optim.Adam
    items_MC: Tensor | None
    progress: Progress = field(default_factory=Progress)

    @property
    def step(self) -> int:
        """Steps done."""
        return self.progress.step

    def save(self, path: Path) -> None:
        """Write a checkpoint in place of the one before.

        Raises:
            FatalError: the disk is full; the checkpoint before is whole.
        """
        progress = self.progress
        content = {
            **self._learned(),
            "optimizer": self.optimizer.state_dict(),
            "progress": {name: getattr(progress, name) for name in Progress.__slots__},
        }
        write_whole(content, path)

    def load(self, path: Path) -> None:
        """Take over a checkpoint's state.

        Raises:
            DamagedError: it is not what was written.
        """
        with _as_written(path):
            content = self._loaded(path)
            self.optimizer.load_state_dict(content["optimizer"])
            self.progress = Progress(**content["progress"])

    def save_learned(self, path: Path) -> None:
        """Write network and items only.

        Raises:
            FatalError: the disk is full; the file before is whole.
        """
        write_whole(self._learned(), path)

    def load_learned(self, path: Path) -> None:
        """Take over network and items only.

        Raises:
            DamagedError: they are not what was written.
        """
        with _as_written(path):
            self._loaded(path)

    def is_finite(self) -> bool:
        """Whether every weight and item is a number."""
        tensors = [*self.network.parameters(), *([] if self.items_MC is None else [self.items_MC])]
        return bool(torch.stack([torch.isfinite(tensor).all() for tensor in tensors]).all())

    def _learned(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "items": self.items_MC}

    def _loaded(self, path: Path) -> dict[str, Any]:
        device = next(self.network.parameters()).device
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        self.network.load_state_dict(content["network"])
        self.items_MC = content["items"]
        return content


def write_whole(content: dict[str, Any], path: Path) -> None:
    """Write to a new file and put it in place of the old one, so that a crash leaves a whole checkpoint.

    Raises:
        FatalError: the disk is full.
    """
    unfinished = path.with_suffix(".unfinished")
    try:
        with room_on_disk(path):
            torch.save(content, unfinished)
            unfinished.replace(path)
    except FatalError:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def room_on_disk(path: Path) -> Iterator[None]:
    """Tell a failure to write in words that say what to do.

    Raises:
        FatalError: in place of what the libraries raise.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # PyTorch's writer raises RuntimeError for a full disk
        reason = str(error).splitlines()[0]
        text = f"there must be room for '{path}', writing it failed: {reason}; what was there before is untouched"
        raise FatalError(f"{text}: free space, then go on with --resume") from error


@contextmanager
def _as_written(path: Path) -> Iterator[None]:
    """Tell what PyTorch makes of a checkpoint that was cut off or overwritten in words that say what to do.

    Raises:
        DamagedError: in place of what the library raises.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except _UNREADABLE as error:
        reason = str(error).partition(".")[0].splitlines()
        text = f"a checkpoint must be as it was written, '{path}' is not: {reason[0] if reason else 'it is empty'}"
        raise DamagedError(f"{text}; remove the folder of the run, and train without --resume") from error
