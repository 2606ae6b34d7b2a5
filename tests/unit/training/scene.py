"""A miniature training in memory: a ramp that slides over 40 frames, and the parts a loop is started with."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from networks.mnad import MnadParameters, MnadPrediction
from networks.network import Recipe
from training.footage.dataset import FrameCache, Video
from training.footage.material import Clips
from training.loop.state import TrainingState
from training.options import TrainOptions

PARAMETERS = MnadParameters(width=4, depth=2, channels=1, num_items=3)
RECIPE = Recipe({}, 32, 24, "grey", epochs=2, max_steps=9, learning_rate=1e-3)


def ramp(num_frames: int = 40) -> FrameCache:
    """Frames of 24 x 32 grey."""
    rows = np.add.outer(np.arange(num_frames) * 3, np.arange(32)).astype(np.uint8)
    frames = np.repeat(rows[:, None, :, None], 24, axis=1)
    return FrameCache(frames, (Video("a", 0, num_frames, 10.0),), "0" * 64)


def build() -> MnadPrediction:
    """A fresh network, random as torch's generator stands."""
    return MnadPrediction(PARAMETERS)


def build_double() -> MnadPrediction:
    """In double precision."""
    return build().double()


def all_clips(footage: FrameCache) -> Clips:
    """36 clips to train on; the last 12 stand for those held back, too."""
    starts = footage.videos[0].clip_starts(5)
    return Clips(footage, starts, starts[-12:])


def loop_options(run: Path, **changes: Any) -> TrainOptions:
    """In single precision and not compiled, so that a run is the same on any machine."""
    plain = TrainOptions(run, run / "cache", device="cpu", precision="fp32", compiled=False)
    return replace(plain, **changes)


def items_of(state: TrainingState) -> torch.Tensor:
    """The items of a network that reads some."""
    assert state.items_MC is not None
    return state.items_MC


def process_environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What ``torchrun`` tells each of its processes."""
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {**os.environ, **{name: str(value) for name, value in told.items()}}


def learned(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights and running statistics that a bundle would hold."""
    return {name: values for name, values in network.state_dict().items() if not name.endswith("num_batches_tracked")}
