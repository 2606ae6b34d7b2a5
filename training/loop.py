"""The training loop: steps over shuffled clips, the bank carried along, checkpoints that resume to the same result.

Nothing depends on how often a run was interrupted: the order of clips follows from seed and epoch, the learning rate
from the step, and everything else is in the checkpoint.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from networks.losses import Losses, training_losses
from networks.memory import initial_items, updated
from networks.mnad import MnadPrediction, split_clip, to_unit_range
from training.dataset import FrameCache, Int64
from training.presets import Preset

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
"""Name of the file in the folder of a run."""
STEPS_BETWEEN_CHECKPOINTS = 250
STEPS_BETWEEN_RECORDS = 25


class Recorder(Protocol):
    """Where curves go; TensorBoard's ``SummaryWriter`` is one."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """One point of one curve."""


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How to run, as opposed to what to train.

    Attributes:
        run: folder of checkpoints.
        seed: of weights, items and the order of clips.
        device: torch device name.
        recorder: where losses go, if anywhere.
        steps_between_checkpoints: how much work a crash may cost.
    """

    run: Path
    seed: int = 0
    device: str = "cpu"
    recorder: Recorder | None = None
    steps_between_checkpoints: int = STEPS_BETWEEN_CHECKPOINTS


@dataclass(slots=True)
class TrainingState:
    """All that changes from step to step."""

    network: MnadPrediction
    optimizer: torch.optim.Adam
    items_MC: Tensor
    step: int = 0

    def save(self, path: Path) -> None:
        """Write to a new file and put it in place of the old one, so that a crash leaves a whole checkpoint."""
        content = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "items": self.items_MC,
            "step": self.step,
        }
        unfinished = path.with_suffix(".unfinished")
        torch.save(content, unfinished)
        unfinished.replace(path)

    def load(self, path: Path, device: str) -> None:
        """Take over a checkpoint's state."""
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        self.network.load_state_dict(content["network"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.items_MC, self.step = content["items"], content["step"]


def num_steps(num_clips: int, preset: Preset) -> int:
    """Steps of a whole training; the last, incomplete batch of an epoch is dropped."""
    return min(preset.epochs * (num_clips // preset.batch), preset.max_steps)


def run_training(
    footage: FrameCache, starts: Int64, preset: Preset, build: Callable[[], MnadPrediction], options: LoopOptions
) -> TrainingState:
    """Train to the end, from the checkpoint in ``options.run`` if there is one.

    Args:
        footage: decoded frames.
        starts: first frames of the clips to train on.
        preset: batch, schedule, loss weights.
        build: makes the network; called after seeding.
        options: where and how.
    """
    state = _begin(build, preset, options)
    checkpoint = options.run / CHECKPOINT
    options.run.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        state.load(checkpoint, options.device)
        log.info("going on from step %d of '%s'", state.step, checkpoint)
    total = num_steps(len(starts), preset)
    with tqdm(total=total, initial=state.step, desc="training", unit="step", mininterval=5) as bar:
        while state.step < total:
            epoch, position = divmod(state.step, len(starts) // preset.batch)
            order = torch.randperm(len(starts), generator=torch.Generator().manual_seed(options.seed * 100_003 + epoch))
            chosen = order[position * preset.batch : (position + 1) * preset.batch].numpy()
            clips = footage.clips(starts[chosen], state.network.parameters_of_shape.clip_length)
            set_learning_rate(state.optimizer, preset.learning_rate, state.step / total)
            losses = train_step(state, torch.from_numpy(clips).to(options.device), preset)
            bar.update()
            _record(losses, state.step, bar, options.recorder)
            if state.step % options.steps_between_checkpoints == 0 or state.step == total:
                state.save(checkpoint)
    return state


def train_step(state: TrainingState, clips_BTHWK: Tensor, preset: Preset) -> Losses:
    """One step on 8-bit clips: losses and read with the old items, then new items for the next step."""
    inputs, target = split_clip(to_unit_range(clips_BTHWK.permute(0, 1, 4, 2, 3)))
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    state.network.train()
    prediction = state.network(inputs, state.items_MC)
    losses = training_losses(prediction, target, preset.losses)
    state.optimizer.zero_grad(set_to_none=True)
    losses.total.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    state.items_MC = updated(state.items_MC, prediction.reading.statistics())
    state.step += 1
    return losses


def set_learning_rate(optimizer: torch.optim.Optimizer, start: float, progress: float) -> None:
    """Cosine from ``start`` to 0 as ``progress`` goes from 0 to 1."""
    for group in optimizer.param_groups:
        group["lr"] = start * 0.5 * (1.0 + math.cos(math.pi * progress))


def _begin(build: Callable[[], MnadPrediction], preset: Preset, options: LoopOptions) -> TrainingState:
    torch.manual_seed(options.seed)
    network = build().to(options.device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=preset.learning_rate, fused=True)
    generator = torch.Generator().manual_seed(options.seed)
    shape = network.parameters_of_shape
    return TrainingState(
        network, optimizer, initial_items(shape.num_items, shape.item_dim, generator).to(options.device)
    )


def _record(losses: Losses, step: int, bar: "tqdm[Any]", recorder: Recorder | None) -> None:
    if step % STEPS_BETWEEN_RECORDS:
        return
    bar.set_postfix(pixel=f"{losses.pixel.item():.5f}", compact=f"{losses.compactness.item():.5f}", refresh=False)
    if recorder is not None:
        for name in ("pixel", "compactness", "separateness", "total"):
            recorder.add_scalar(f"loss/{name}", getattr(losses, name).item(), step)
