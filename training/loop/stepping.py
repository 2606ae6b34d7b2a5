"""One training step: forward, losses, backward, and the update of the bank.

Dimensions: B samples, T frames of a clip, H x W pixels, K colours.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from networks.blocks import channels_last
from networks.network import Losses, Recipe, to_unit_range
from training.loop.distributed import World, gathered
from training.loop.state import TrainingState
from training.options import Precision


@dataclass(frozen=True, slots=True)
class Stepper:
    """Takes training steps.

    Attributes:
        state: what changes.
        forward: what to call instead of ``state.network``: compiled, or averaging gradients over processes.
        recipe: loss weights, learning rate and its schedule.
        world: the processes that share each batch.
        precision: of the activations.
    """

    state: TrainingState
    forward: Callable[..., Any]
    recipe: Recipe
    world: World
    precision: Precision = "fp32"

    def step(self, clips_BTHWK: Tensor, progress: float) -> Losses:
        """One step on 8-bit clips: losses and read with the old items, then new items for the next step.

        Args:
            clips_BTHWK: this process's share of the batch.
            progress: of the training, from 0 to 1.
        """
        state, network = self.state, self.state.network
        set_learning_rate(state.optimizer, self.recipe, progress)
        inputs, target = network.split(unit_clips(clips_BTHWK, network))
        network.train()
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            outcome = self.forward(channels_last(inputs), state.items_MC)
            losses = network.losses(outcome, target, self.recipe.loss_weights)
        state.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]
        if self.recipe.max_gradient_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), self.recipe.max_gradient_norm)
        state.optimizer.step()
        statistics = outcome.statistics()
        if state.items_MC is not None and statistics is not None:
            state.items_MC = network.updated(state.items_MC, gathered(statistics, self.world)).detach()
        state.progress.step += 1
        return losses


def unit_clips(clips_BTHWK: Tensor, network: nn.Module) -> Tensor:
    """8-bit clips as a network takes them, (B, T, K, H, W) in [-1, 1]."""
    return to_unit_range(clips_BTHWK.permute(0, 1, 4, 2, 3)).to(next(network.parameters()).dtype)


def set_learning_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, progress: float) -> None:
    """The recipe's rate: constant, or along a cosine to 0 as ``progress`` goes from 0 to 1."""
    share = 1.0 if recipe.schedule == "constant" else 0.5 * (1.0 + math.cos(math.pi * progress))
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate * share
