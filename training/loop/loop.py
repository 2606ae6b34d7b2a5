"""The training loop: steps over shuffled clips, the bank carried along, checkpoints that resume to the same result.

Nothing depends on how often a run was interrupted: the order of clips follows from seed and epoch, the learning rate
from the step, and everything else is in the checkpoint.
"""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from inference.formats import ClipFormat
from networks.blocks import channels_last, to_channels_last
from networks.memory import initial_items
from networks.network import Losses, Recipe, VideoNetwork
from schemas.arrays import Int64
from schemas.errors import FatalError
from training.footage.clip_stream import Stream, clip_stream
from training.footage.material import Clips
from training.loop.distributed import World, spread
from training.loop.run_folder import Curves, open_curves, precision_of
from training.loop.starting_items import clustered_items, warm_up_steps
from training.loop.state import BEST, CHECKPOINT, Progress, TrainingState
from training.loop.stepping import Stepper, unit_clips
from training.options import Precision, TrainOptions

log = logging.getLogger(__name__)

ALONE = World(0, 1, torch.device("cpu"))
STEPS_BETWEEN_RECORDS = 25
MOST_CLIPS = 256
"""So that looking back after each epoch costs little next to the epoch."""


def num_steps(num_clips: int, recipe: Recipe) -> int:
    """Steps of a whole training; the last, incomplete batch of an epoch is dropped."""
    return min(recipe.epochs * (num_clips // recipe.batch), recipe.max_steps)


def run_training(
    clips: Clips, recipe: Recipe, build: Callable[[], VideoNetwork], options: TrainOptions, world: World = ALONE
) -> TrainingState:
    """Train to the end, from the checkpoint in ``options.run`` if there is one.

    Args:
        clips: to train on, and held back.
        recipe: batch, schedule, loss weights.
        build: makes the network; called after seeding.
        options: where and how; footage, device and threads were settled before.
        world: the processes that share each batch, and this one's device.

    Raises:
        FatalError: the loss is no longer a number, or the disk is full; the last good checkpoint is kept.
    """
    options.run.mkdir(parents=True, exist_ok=True)
    torch.backends.cudnn.benchmark = world.device.type == "cuda"
    run = _begun(clips, recipe, build, options, world)
    drawn = open_curves(options.run, run.state.step, options.tensorboard) if world.is_first else nullcontext()
    with drawn as curves:
        run.to_the_end(curves)
    world.wait()
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
        clips: to train on, and held back.
        options: where and how.
        total: steps of the whole training.
        epoch_steps: steps of one epoch.
    """

    stepper: Stepper
    stream: Stream
    clips: Clips
    options: TrainOptions
    total: int
    epoch_steps: int

    @property
    def state(self) -> TrainingState:
        return self.stepper.state

    def to_the_end(self, curves: Curves | None) -> None:
        state, options, recipe = self.state, self.options, self.stepper.recipe
        steps = range(state.step, 0 if self._gives_up() else self.total)
        share = self.stepper.world.share(recipe.batch)
        batches = shuffled_batches(self.clips.training, recipe, options.seed, steps, share)
        bar = tqdm(
            total=self.total,
            initial=state.step,
            desc="training",
            unit="step",
            mininterval=5,
            disable=not self.stepper.world.is_first,
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
            self.state.items_MC = clustered_items(self.state, self.stream, self.clips.training, self.options.seed)

    def _record(self, losses: Losses, bar: "tqdm[Any]", curves: Curves | None) -> None:
        if self.state.step % STEPS_BETWEEN_RECORDS and self.state.step != self.total:
            return
        world = self.stepper.world
        values = torch.stack([*losses.terms.values(), losses.total]).detach().double()
        means = (world.sum(values) / world.size).tolist()
        told = dict(zip((f"loss/{name}" for name in (*losses.terms, "total")), means, strict=True))
        if not all(map(math.isfinite, means)):
            raise self._diverged(", ".join(f"{name} {value:.4g}" for name, value in told.items()))
        bar.set_postfix({name: f"{value:.5f}" for name, value in told.items()}, refresh=False)
        if curves is not None:
            curves.add(self.state.step, {**told, "learning_rate": self.state.optimizer.param_groups[0]["lr"]})

    def _validate(self, curves: Curves | None) -> None:
        state, options, world = self.state, self.options, self.stepper.world
        if state.step % self.epoch_steps and state.step != self.total:
            return
        batch = self.stepper.recipe.batch
        error = validation_error(state, self.stream, self.clips.held_back, batch, world, self.stepper.precision)
        if judged(state.progress, error) and options.patience is not None and world.is_first:
            state.save_learned(options.run / BEST)
        if curves is not None:
            curves.add(state.step, {"validation/pixel": error})

    def _save(self) -> None:
        step, options = self.state.step, self.options
        if step % options.steps_between_checkpoints and step != self.total and not self._gives_up():
            return
        if not self.state.is_finite():
            raise self._diverged("weights that are not numbers")
        if self.stepper.world.is_first:
            self.state.save(options.run / CHECKPOINT)

    def _diverged(self, what: str) -> FatalError:
        text = f"the loss must stay a number, got {what} at step {self.state.step} of {self.total}"
        kept = f"the last good checkpoint is kept in '{self.options.run}'"
        return FatalError(f"{text}; {kept}: train anew with a lower --learning-rate or with --precision fp32")


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


def _begun(
    clips: Clips, recipe: Recipe, build: Callable[[], VideoNetwork], options: TrainOptions, world: World
) -> _Run:
    state = _first_state(build, recipe, options.seed, world.device)
    if (options.run / CHECKPOINT).exists():
        state.load(options.run / CHECKPOINT)
        log.info("going on from step %d of '%s'", state.step, options.run)
    forward = spread(state.network, world)
    compiled = world.device.type == "cuda" if options.compiled == "auto" else options.compiled
    stepper = Stepper(state, torch.compile(forward) if compiled else forward, recipe, world, precision_of(options))
    stream = clip_stream(clips.footage, ClipFormat(state.network.shape.clip_length, recipe.stride), world.device)
    num_clips = len(clips.training)
    return _Run(stepper, stream, clips, options, num_steps(num_clips, recipe), num_clips // recipe.batch)


def _first_state(build: Callable[[], VideoNetwork], recipe: Recipe, seed: int, device: torch.device) -> TrainingState:
    torch.manual_seed(seed)
    network = build().to(device)
    to_channels_last(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate, fused=True)
    if network.bank_shape is None:
        return TrainingState(network, optimizer, None)
    shape, generator = network.bank_shape, torch.Generator().manual_seed(seed)
    items_MC = initial_items(shape.num_items, shape.item_dim, generator)
    return TrainingState(network, optimizer, items_MC.to(next(network.parameters())))


def _portions(starts: Int64, batch: int) -> Iterator[Int64]:
    return (starts[first : first + batch] for first in range(0, len(starts), batch))
