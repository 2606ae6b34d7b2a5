"""The training loop: steps over shuffled clips, the bank carried along, checkpoints that resume to the same result.

Nothing depends on how often a run was interrupted: the order of clips follows from seed and epoch, the learning rate
from the step, and everything else is in the checkpoint.
"""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from inference.formats import ClipFormat
from networks.blocks import to_channels_last
from networks.memory import initial_items
from networks.network import Losses, Recipe, VideoNetwork
from schemas.arrays import Int64
from schemas.errors import FatalError
from training.footage.clip_stream import Stream, clip_stream
from training.footage.dataset import FrameCache
from training.loop.curves import Curves, open_curves
from training.loop.distributed import World, spread
from training.loop.starting_items import StartingItems, clustered_items, warm_up_steps
from training.loop.state import BEST, CHECKPOINT, TrainingState
from training.loop.stepping import Precision, Stepper
from training.loop.validation import judged, validation_error

log = logging.getLogger(__name__)

ALONE = World(0, 1, torch.device("cpu"))
STEPS_BETWEEN_CHECKPOINTS = 250
STEPS_BETWEEN_RECORDS = 25


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How to run, as opposed to what to train.

    Attributes:
        run: folder of checkpoints and curves.
        seed: of weights, items and the order of clips.
        world: the processes that share each batch, and this one's device.
        precision: of activations.
        compiled: whether the network is compiled.
        items: what the bank starts from.
        patience: epochs without a better validation error after which to stop, with the best weights; None = never.
        tensorboard: folder for curves besides the run's own; None = none.
        steps_between_checkpoints: how much work a crash may cost.
    """

    run: Path
    seed: int = 0
    world: World = ALONE
    precision: Precision = "fp32"
    compiled: bool = False
    items: StartingItems = "random"
    patience: int | None = None
    tensorboard: Path | None = None
    steps_between_checkpoints: int = STEPS_BETWEEN_CHECKPOINTS


@dataclass(frozen=True, slots=True)
class ClipStarts:
    """First frames of the clips to train on, and of those held back."""

    training: Int64
    held_back: Int64


def num_steps(num_clips: int, recipe: Recipe) -> int:
    """Steps of a whole training; the last, incomplete batch of an epoch is dropped."""
    return min(recipe.epochs * (num_clips // recipe.batch), recipe.max_steps)


def run_training(
    footage: FrameCache, starts: ClipStarts, recipe: Recipe, build: Callable[[], VideoNetwork], options: LoopOptions
) -> TrainingState:
    """Train to the end, from the checkpoint in ``options.run`` if there is one.

    Args:
        footage: decoded frames.
        starts: clips.
        recipe: batch, schedule, loss weights.
        build: makes the network; called after seeding.
        options: where and how.

    Raises:
        FatalError: the loss is no longer a number, or the disk is full; the last good checkpoint is kept.
    """
    options.run.mkdir(parents=True, exist_ok=True)
    run = _begun(footage, starts, recipe, build, options)
    drawn = open_curves(options.run, run.state.step, options.tensorboard) if options.world.is_first else nullcontext()
    with drawn as curves:
        run.to_the_end(curves)
    options.world.wait()
    if options.patience is not None and run.state.progress.best_step:
        run.state.load_learned(options.run / BEST)
    return run.state


def shuffled_batches(starts: Int64, recipe: Recipe, seed: int, steps: range, share: slice) -> Iterator[Int64]:
    """First frames of the clips of each step: ``share`` of its batch, in an order that follows from seed and epoch."""
    epoch_steps = len(starts) // recipe.batch
    order = torch.empty(0, dtype=torch.long)
    for step in steps:
        epoch, position = divmod(step, epoch_steps)
        if position == 0 or not len(order):
            order = torch.randperm(len(starts), generator=torch.Generator().manual_seed(seed * 100_003 + epoch))
        chosen = order[position * recipe.batch : (position + 1) * recipe.batch]
        yield starts[chosen[share].numpy()]


@dataclass(frozen=True, slots=True)
class _Run:
    """A training on its way.

    Attributes:
        stepper: takes the steps.
        stream: brings the clips.
        starts: of the clips.
        options: where and how.
        total: steps of the whole training.
        epoch_steps: steps of one epoch.
    """

    stepper: Stepper
    stream: Stream
    starts: ClipStarts
    options: LoopOptions
    total: int
    epoch_steps: int

    @property
    def state(self) -> TrainingState:
        return self.stepper.state

    def to_the_end(self, curves: Curves | None) -> None:
        state, options, recipe = self.state, self.options, self.stepper.recipe
        steps = range(state.step, 0 if self._gives_up() else self.total)
        share = options.world.share(recipe.batch)
        batches = shuffled_batches(self.starts.training, recipe, options.seed, steps, share)
        bar = tqdm(
            total=self.total,
            initial=state.step,
            desc="training",
            unit="step",
            mininterval=5,
            disable=not options.world.is_first,
        )
        with bar, closing(self.stream(batches)) as clips:
            for clips_BTHWK in clips:
                self._start_items()
                losses = self.stepper.step(clips_BTHWK, state.step / self.total)
                bar.update()
                self._record(losses, bar, curves)
                self._validate(curves)
                self._save()
                if self._gives_up():
                    break

    def _gives_up(self) -> bool:
        patience = self.options.patience
        return patience is not None and self.state.progress.worse_epochs >= patience

    def _start_items(self) -> None:
        if self.options.items == "kmeans" and self.state.step == warm_up_steps(self.total):
            self.state.items_MC = clustered_items(self.state, self.stream, self.starts.training, self.options.seed)

    def _record(self, losses: Losses, bar: "tqdm[Any]", curves: Curves | None) -> None:
        if self.state.step % STEPS_BETWEEN_RECORDS and self.state.step != self.total:
            return
        world = self.options.world
        values = torch.stack([*losses.terms.values(), losses.total]).detach().double()
        means = (world.sum(values) / world.size).tolist()
        told = dict(zip((f"loss/{name}" for name in (*losses.terms, "total")), means, strict=True))
        if not all(map(math.isfinite, means)):
            raise self._diverged(", ".join(f"{name} {value:.4g}" for name, value in told.items()))
        bar.set_postfix({name: f"{value:.5f}" for name, value in told.items()}, refresh=False)
        if curves is not None:
            curves.add(self.state.step, {**told, "learning_rate": self.state.optimizer.param_groups[0]["lr"]})

    def _validate(self, curves: Curves | None) -> None:
        state, options = self.state, self.options
        if state.step % self.epoch_steps and state.step != self.total:
            return
        batch = self.stepper.recipe.batch
        error = validation_error(
            state, self.stream, self.starts.held_back, batch, options.world, self.stepper.precision
        )
        if judged(state.progress, error) and options.patience is not None and options.world.is_first:
            state.save_learned(options.run / BEST)
        if curves is not None:
            curves.add(state.step, {"validation/pixel": error})

    def _save(self) -> None:
        step, options = self.state.step, self.options
        if step % options.steps_between_checkpoints and step != self.total and not self._gives_up():
            return
        if not self.state.is_finite():
            raise self._diverged("weights that are not numbers")
        if options.world.is_first:
            self.state.save(options.run / CHECKPOINT)

    def _diverged(self, what: str) -> FatalError:
        text = f"the loss must stay a number, got {what} at step {self.state.step} of {self.total}"
        kept = f"the last good checkpoint is kept in '{self.options.run}'"
        return FatalError(f"{text}; {kept}: train anew with a lower --learning-rate or with --precision fp32")


def _begun(
    footage: FrameCache, starts: ClipStarts, recipe: Recipe, build: Callable[[], VideoNetwork], options: LoopOptions
) -> _Run:
    state = _first_state(build, recipe, options)
    if (options.run / CHECKPOINT).exists():
        state.load(options.run / CHECKPOINT)
        log.info("going on from step %d of '%s'", state.step, options.run)
    forward = spread(state.network, options.world)
    stepper = Stepper(
        state,
        torch.compile(forward) if options.compiled else forward,
        recipe,
        options.world,
        options.precision,
    )
    stream = clip_stream(footage, ClipFormat(state.network.shape.clip_length, recipe.stride), options.world.device)
    num_clips = len(starts.training)
    return _Run(stepper, stream, starts, options, num_steps(num_clips, recipe), num_clips // recipe.batch)


def _first_state(build: Callable[[], VideoNetwork], recipe: Recipe, options: LoopOptions) -> TrainingState:
    torch.manual_seed(options.seed)
    network = build().to(options.world.device)
    to_channels_last(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate, fused=True)
    if network.bank_shape is None:
        return TrainingState(network, optimizer, None)
    shape, generator = network.bank_shape, torch.Generator().manual_seed(options.seed)
    items_MC = initial_items(shape.num_items, shape.item_dim, generator)
    return TrainingState(network, optimizer, items_MC.to(next(network.parameters())))
