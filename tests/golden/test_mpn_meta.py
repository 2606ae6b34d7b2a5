"""MPN's meta phase against the published implementation: second-order gradients, adaptation at a new camera."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from networks.meta import Task, adapt, initial_step_sizes, meta_losses
from tests.golden.reference import Array, clip, compare, probe, recipe, section
from tests.golden.test_mpn_network import network_of_recipe

FILE = "mpn_net"


def clips(told: dict[str, Any]) -> Tensor:
    return torch.unflatten(clip(told["seed"], told["shape"]), 1, (-1, 3))


def lengths_and_probes(gradients: list[Tensor | None], wanted: Array) -> tuple[Array, Array]:
    there = [values for values in gradients if values is not None]
    return np.array([float(values.norm()) for values in there]), np.stack(
        [probe(values, wanted.shape[1]) for values in there]
    )


def loss_weights(told: dict[str, Any]) -> dict[str, float]:
    return {name: told["weights"][name] for name in ("feature", "distinct")}


def test_inner_step_and_outer_gradients() -> None:
    network, told = network_of_recipe(), recipe(FILE)["meta"]
    step_sizes = initial_step_sizes(network, told["alpha"])
    clips_BTKHW = clips(told)
    half, wanted = len(clips_BTKHW) // 2, section(FILE, "meta_")
    losses = meta_losses(network, step_sizes, Task(clips_BTKHW[:half], clips_BTKHW[half:]), loss_weights(told))
    losses.outer.backward()
    of_weights = lengths_and_probes([values.grad for values in network.tail.parameters()], wanted["init_grad_probe"])
    of_step_sizes = lengths_and_probes([values.grad for values in step_sizes.values()], wanted["alpha_grad_probe"])
    found = {
        "losses": torch.stack([losses.inner, losses.outer]),
        "init_grad_l2": of_weights[0],
        "init_grad_probe": of_weights[1],
        "alpha_grad_l2": of_step_sizes[0],
        "alpha_grad_probe": of_step_sizes[1],
    }
    compare(found, wanted)


def test_adaptation() -> None:
    network, told = network_of_recipe(), recipe(FILE)["meta"]
    clips_BTKHW = clips(told)
    step_sizes = initial_step_sizes(network, told["alpha"])
    adapted = adapt(network, clips_BTKHW[:-1], step_sizes, told["adapt_steps"], loss_weights(told)).eval()
    before, after = dict(network.tail.named_parameters()), dict(adapted.tail.named_parameters())
    with torch.inference_mode():
        outcome = adapted(adapted.split(clips_BTKHW[-1:])[0])
    found = {
        "delta_l2": np.array([float((after[name] - values).detach().norm()) for name, values in before.items()]),
        "out": outcome.image,
        "feature_error": outcome.pixel_errors().flatten(1),
    }
    compare(found, section(FILE, "adapt_"))
