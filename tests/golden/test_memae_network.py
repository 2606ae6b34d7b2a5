"""MemAE against the published implementation: every layer, a training step, steps of Adam."""

from typing import Any

import pytest
import torch
from torch import Tensor

from networks.measures import clip_error
from networks.memae import Memae, MemaeOutcome
from networks.network import Losses
from tests.golden.networks_from_recipe import (
    ADAM,
    PRECISIONS,
    Observed,
    as_array,
    gradients,
    losses_of_adam_steps,
    network_from_recipe,
    running_statistics,
)
from tests.golden.reference import arrays, clip, compare, probe, probe_and_sum, recipe, section, stats

FILE = "memae_net"
SECTIONS = ("clip_", "eval_", "train_", "train64_", "adam_", "adam64_", "full_")


def network_of_recipe() -> Memae:
    told = recipe(FILE)
    network = network_from_recipe("memae", FILE, num_items=told["mem_size"], shrink=told["shrink"])
    assert isinstance(network, Memae)
    return network


def run(network: Memae, clips_BKTHW: Tensor) -> tuple[MemaeOutcome, Tensor]:
    inputs, target = network.split(clips_BKTHW.transpose(1, 2))
    return network(inputs), target


def weights(told: dict[str, Any]) -> dict[str, float]:
    return {"entropy": told["adam"]["entropy_weight"]}


@torch.inference_mode()
def test_evaluation_mode() -> None:
    network = network_of_recipe().eval()
    observed, wanted = Observed(network), section(FILE, "eval_")
    outcome, target = run(network, clip(**recipe(FILE)["clip"]))
    found = {
        **observed.found(wanted),
        "out": outcome.image,
        "att_stats": stats(outcome.reading.weights_BMN),
        "att_sample": outcome.reading.weights_BMN[:, :, : wanted["att_sample"].shape[2]],
        "att_nonzero": outcome.reading.num_items_read().flatten(),
        "entropy": outcome.reading.entropy(),
        "clip_error": clip_error(outcome.image, target),
        "mse": network.losses(outcome, target).terms["pixel"],
    }
    compare(found, wanted)


@torch.inference_mode()
def test_full_size() -> None:
    network = network_of_recipe().eval()
    told = recipe(FILE)
    observed, wanted = Observed(network), section(FILE, "full_")
    outcome, target = run(network, clip(**told["full_clip"]))
    frame, row, column, size = (told["full_crop"][key] for key in ("frame", "row", "col", "size"))
    found = {
        **observed.found(wanted),
        "out_crop": outcome.image[:, :, frame, row : row + size, column : column + size],
        "out_stats": stats(outcome.image),
        "entropy": outcome.reading.entropy(),
        "clip_error": clip_error(outcome.image, target),
    }
    compare(found, wanted)


@pytest.mark.parametrize(("dtype", "prefix", "tolerances"), PRECISIONS)
def test_training_step(dtype: torch.dtype, prefix: str, tolerances: dict[str, float]) -> None:
    network = network_of_recipe().to(dtype).train()
    told, wanted = recipe(FILE), section(FILE, prefix)
    outcome, target = run(network, clip(**told["clip"]).to(dtype))
    losses = network.losses(outcome, target, weights(told))
    losses.total.backward()
    found = {
        **gradients(network, told, wanted),
        **running_statistics(network, wanted),
        "losses": as_array(losses),
        "out_probe": probe(outcome.image, len(wanted["out_probe"])),
    }
    if "out_stats" in wanted:
        found["out_stats"] = stats(outcome.image)
    compare(found, wanted, tolerances)


@pytest.mark.parametrize(("dtype", "prefix", "tolerances"), ADAM)
def test_adam_steps(dtype: torch.dtype, prefix: str, tolerances: dict[str, float]) -> None:
    network = network_of_recipe().to(dtype).train()
    told = recipe(FILE)

    def losses_on(clips: Tensor) -> Losses:
        return network.losses(*run(network, clips), weights(told))

    found = losses_of_adam_steps(network, told, losses_on, dtype)
    compare({"losses": found}, section(FILE, prefix), tolerances)


def test_the_clip_is_the_reference_clip() -> None:
    wanted = section(FILE, "clip_")
    compare({"check": probe_and_sum(clip(**recipe(FILE)["clip"]), len(wanted["check"]) - 1)}, wanted)


def test_nothing_is_left_out() -> None:
    assert all(key.startswith(SECTIONS) for key in arrays(FILE))
