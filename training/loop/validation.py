"""How well a network does on normal clips that were held back, and when to stop for it."""

from collections.abc import Iterator

import numpy as np
import torch

from networks.blocks import channels_last
from schemas.arrays import Int64
from training.footage.clip_stream import Stream
from training.loop.distributed import World
from training.loop.state import Progress, TrainingState
from training.loop.stepping import unit_clips
from training.options import Precision

MOST_CLIPS = 256
"""So that looking back after each epoch costs little next to the epoch."""


@torch.no_grad()
def validation_error(
    state: TrainingState, stream: Stream, starts: Int64, batch: int, world: World, precision: Precision = "fp32"
) -> float:
    """Mean squared pixel error on [-1, 1] in evaluation mode, over clips that begin at ``starts``.

    At most ``MOST_CLIPS`` are taken, evenly spaced. Every process gets the same number.
    """
    network = state.network.eval()
    chosen = starts[np.unique(np.linspace(0, len(starts) - 1, min(len(starts), MOST_CLIPS)).round().astype(int))]
    total = torch.zeros(2, dtype=torch.float64, device=world.device)
    with torch.autocast(world.device.type, torch.bfloat16, enabled=precision == "bf16"):
        for clips_BTHWK in stream(_portions(chosen[world.rank :: world.size], batch)):
            inputs, target = network.split(unit_clips(clips_BTHWK, network))
            terms = network.loss_terms(network(channels_last(inputs), state.items_MC), target)
            total += torch.stack([next(iter(terms.values())).double() * len(target), total.new_tensor(len(target))])
    error, count = world.sum(total).tolist()
    return float(error / count)


def judged(progress: Progress, error: float) -> bool:
    """Note a validation error; whether it is the best so far."""
    if error < progress.best_error:
        progress.best_error, progress.best_step, progress.worse_epochs = error, progress.step, 0
        return True
    progress.worse_epochs += 1
    return False


def _portions(starts: Int64, batch: int) -> Iterator[Int64]:
    return (starts[first : first + batch] for first in range(0, len(starts), batch))
