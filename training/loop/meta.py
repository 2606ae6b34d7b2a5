"""MPN's meta phase as a training: many small tasks of one scene each, after the network has learned to predict.

Dimensions: B clips, T frames, H x W pixels, K colours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from inference.formats import ClipFormat
from networks.meta import Task, initial_step_sizes, meta_optimizer, meta_step
from networks.mpn import Mpn
from schemas.arrays import Int64
from schemas.errors import FatalError
from training.footage.clip_stream import DirectStream
from training.footage.dataset import FrameCache, Video
from training.loop.stepping import unit_clips

NUM_INNER = 2
NUM_OUTER = 2
TASKS_A_STEP = 4
SEGMENT_CLIPS = 32
"""A task's clips begin within so many frames, so that they show one situation."""


@dataclass(frozen=True, slots=True)
class MetaOptions:
    """How long, and in which order of tasks."""

    steps: int
    seed: int = 0


def meta_train(
    network: Mpn, footage: FrameCache, videos: Sequence[Video], clip: ClipFormat, options: MetaOptions
) -> dict[str, Tensor]:
    """Train the tail to adapt, in place.

    Args:
        network: trained to predict.
        footage: decoded frames.
        videos: that may be learned; those too short for a task are passed over.
        clip: which frames make a clip.
        options: how long.

    Returns:
        the learned step sizes, by the names of the tail's weights; ``networks.meta.adapt`` takes them.

    Raises:
        FatalError: no video is long enough.
    """
    network.train()
    step_sizes = initial_step_sizes(network)
    optimizer = meta_optimizer(network, step_sizes)
    stream = DirectStream(footage, clip)
    clips = stream(task_starts(videos, clip, options))
    for _ in tqdm(range(options.steps), desc="meta phase", unit="step", mininterval=5):
        tasks = [_task(next(clips), network) for _ in range(TASKS_A_STEP)]
        losses = meta_step(network, step_sizes, tasks, optimizer)
        if not torch.isfinite(losses.outer):
            raise FatalError(f"the meta phase's loss must stay a number, got {losses.outer}; give fewer --meta-steps")
    return {name: values.detach() for name, values in step_sizes.items()}


def task_starts(videos: Sequence[Video], clip: ClipFormat, options: MetaOptions) -> Iterator[Int64]:
    """First frames of the clips of each task, without end: of one video, from one stretch of ``SEGMENT_CLIPS``.

    Raises:
        FatalError: no video is long enough.
    """
    random = np.random.default_rng(options.seed)
    every = [video.clip_starts(clip.length, clip.stride) for video in videos]
    usable = [starts for starts in every if len(starts) >= NUM_INNER + NUM_OUTER]
    if not usable:
        text = f"a video must have at least {NUM_INNER + NUM_OUTER} clips of {clip.span} frames for the meta phase"
        raise FatalError(f"{text}, got none; give longer videos")
    while True:
        starts = usable[random.integers(len(usable))]
        first = random.integers(max(1, len(starts) - SEGMENT_CLIPS + 1))
        segment = starts[first : first + SEGMENT_CLIPS]
        yield random.choice(segment, NUM_INNER + NUM_OUTER, replace=False)


def _task(clips_BTHWK: Tensor, network: Mpn) -> Task:
    clips = unit_clips(clips_BTHWK.to(next(network.parameters()).device), network)
    return Task(clips[:NUM_INNER], clips[NUM_INNER:])
