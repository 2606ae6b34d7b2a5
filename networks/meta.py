"""MPN's meta phase (Lv et al., CVPR 2021, section 3.4): learn to adapt to a new camera from a few of its clips.

Only the network's ``tail`` adapts: the prototype unit and the layers after it, 7 tensors. The layers before it are
constants here and run once per clip, whatever the number of steps. One adaptation step is

    w' = w - alpha * gradient of the loss at w,

with a learned alpha for every scalar of w. What is learned, w and alpha, is what makes the loss at w' small.

Dimensions: B samples, T frames of a clip, K colours, H x W pixels.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from networks.mpn import Mpn

Tensors = Mapping[str, Tensor]
"""Tensors of ``Mpn.tail`` by their name there: weights, gradients, or step sizes."""

INITIAL_STEP_SIZE = 1e-6
LEARNING_RATE = 1e-6


@dataclass(frozen=True, slots=True)
class Task:
    """Clips of one scene, values in [-1, 1].

    Attributes:
        inner_BTKHW: to adapt on.
        outer_BTKHW: to be judged by after adapting.
    """

    inner_BTKHW: Tensor
    outer_BTKHW: Tensor


@dataclass(frozen=True, slots=True)
class MetaLosses:
    """Scalars: the loss before adapting, on the clips adapted on; the loss after it, on the others."""

    inner: Tensor
    outer: Tensor


def initial_step_sizes(network: Mpn, value: float = INITIAL_STEP_SIZE) -> dict[str, nn.Parameter]:
    """Step sizes before they were learned: one per scalar of each tensor that adapts."""
    return {name: nn.Parameter(torch.full_like(weights, value)) for name, weights in network.tail.named_parameters()}


def meta_optimizer(
    network: Mpn, step_sizes: Mapping[str, nn.Parameter], learning_rate: float = LEARNING_RATE
) -> torch.optim.Adam:
    """Adam over what the meta phase learns: the tail's weights and the step sizes."""
    return torch.optim.Adam([*network.tail.parameters(), *step_sizes.values()], learning_rate)


def meta_losses(
    network: Mpn, step_sizes: Tensors, task: Task, loss_weights: Mapping[str, float] | None = None
) -> MetaLosses:
    """One inner step, and the loss after it.

    Gradients of ``outer`` reach the tail's weights, also through the inner step's own gradient (second order), and the
    step sizes.
    """
    weights = dict(network.tail.named_parameters())
    inner = _Lesson.of(network, task.inner_BTKHW, loss_weights).loss_at(weights)
    gradients = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
    adapted = _stepped(weights, dict(zip(weights, gradients, strict=True)), step_sizes)
    return MetaLosses(inner, _Lesson.of(network, task.outer_BTKHW, loss_weights).loss_at(adapted))


def meta_step(
    network: Mpn,
    step_sizes: Tensors,
    tasks: Sequence[Task],
    optimizer: torch.optim.Optimizer,
    loss_weights: Mapping[str, float] | None = None,
) -> MetaLosses:
    """One step of the meta phase on the mean over tasks; returns the mean losses before it."""
    optimizer.zero_grad(set_to_none=True)
    inner, outer = [], []
    for task in tasks:
        losses = meta_losses(network, step_sizes, task, loss_weights)
        (losses.outer / len(tasks)).backward()  # type: ignore[no-untyped-call]
        inner.append(losses.inner.detach())
        outer.append(losses.outer.detach())
    optimizer.step()
    return MetaLosses(torch.stack(inner).mean(), torch.stack(outer).mean())


def adapt(
    network: Mpn,
    clips_BTKHW: Tensor,
    step_sizes: Tensors,
    steps: int = 1,
    loss_weights: Mapping[str, float] | None = None,
) -> Mpn:
    """A copy of the network, adapted to the camera that the clips are from.

    Args:
        network: is not changed.
        clips_BTKHW: a few clips of normal video, values in [-1, 1]; a step takes the mean of their gradients.
        step_sizes: learned by ``meta_step``, or ``initial_step_sizes`` of any value.
        steps: how many.
        loss_weights: see ``VideoNetwork.losses``.
    """
    adapted = copy.deepcopy(network)
    # one clip at a time: the gradient is the same, and ten full-size clips at once would need gigabytes
    lessons = [_Lesson.of(network, clip_BTKHW, loss_weights) for clip_BTKHW in torch.split(clips_BTKHW, 1)]
    weights: Tensors = dict(network.tail.named_parameters())
    for _ in range(steps):
        gradients = _mean_gradients(lessons, weights)
        with torch.no_grad():
            weights = _stepped(weights, gradients, step_sizes)
    adapted.tail.load_state_dict(weights)
    return adapted


@dataclass(frozen=True, slots=True)
class _Lesson:
    """Clips as the tail sees them."""

    network: Mpn
    features_BCHW: Tensor
    target_BKHW: Tensor
    loss_weights: Mapping[str, float] | None

    @classmethod
    def of(cls, network: Mpn, clips_BTKHW: Tensor, loss_weights: Mapping[str, float] | None) -> "_Lesson":
        inputs, target = network.split(clips_BTKHW)
        with torch.no_grad():
            features = network.features(inputs)
        return cls(network, features, target, loss_weights)

    def loss_at(self, weights: Tensors) -> Tensor:
        outcome = functional_call(self.network.tail, dict(weights), (self.features_BCHW,))
        return self.network.losses(outcome, self.target_BKHW, self.loss_weights).total


def _mean_gradients(lessons: Sequence[_Lesson], weights: Tensors) -> Tensors:
    leaves = {name: values.detach().requires_grad_() for name, values in weights.items()}
    sums = {name: torch.zeros_like(values) for name, values in weights.items()}
    for lesson in lessons:
        gradients = torch.autograd.grad(lesson.loss_at(leaves), list(leaves.values()))
        for name, gradient in zip(leaves, gradients, strict=True):
            sums[name] += gradient / len(lessons)
    return sums


def _stepped(weights: Tensors, gradients: Tensors, step_sizes: Tensors) -> Tensors:
    return {name: values - step_sizes[name] * gradients[name] for name, values in weights.items()}
