"""MPN against the published implementation: every layer, a training step, steps of Adam."""

from typing import Any

import pytest
import torch
from torch import Tensor

from networks.measures import psnr_db, squared_error
from networks.mpn import Mpn, MpnOutcome
from networks.network import Losses
from tests.golden.networks_from_recipe import (
    ADAM,
    PRECISIONS,
    Observed,
    as_array,
    gradients,
    losses_of_adam_steps,
    network_from_recipe,
)
from tests.golden.reference import arrays, clip, compare, probe, probe_and_sum, recipe, section, stats

FILE = "mpn_net"
SECTIONS = ("clip_", "eval_", "train_", "train64_", "adam_", "adam64_", "full_")
OF_THE_META_TEST = ("meta_", "adapt_")


def network_of_recipe() -> Mpn:
    network = network_from_recipe("mpn", FILE)
    assert isinstance(network, Mpn)
    return network


def observed_layers(network: Mpn) -> Observed:
    """Attention is a product of matrices here, not a layer: it is computed again from the unit's input."""
    observed = Observed(network)
    heads = network.tail.unit.heads
    observed.listen(network.tail.unit, lambda inputs, _output: heads(inputs[0].permute(0, 2, 3, 1)))
    return observed


def run(network: Mpn, clips: Tensor) -> tuple[MpnOutcome, Tensor]:
    inputs, target = network.split(torch.unflatten(clips, 1, (-1, 3)))
    return network(inputs), target


def weights(told: dict[str, Any]) -> dict[str, float]:
    return {"feature": told["adam"]["weight_feature"], "distinct": told["adam"]["weight_distinct"]}


@torch.inference_mode()
def test_evaluation_mode() -> None:
    network = network_of_recipe().eval()
    observed, wanted = observed_layers(network), section(FILE, "eval_")
    heard: list[Tensor] = []
    network.tail.head.register_forward_pre_hook(lambda _module, inputs: heard.append(inputs[0].clone()))
    outcome, target = run(network, clip(**recipe(FILE)["clip"]))
    error = squared_error(outcome.image, target)
    found = {
        **observed.found(wanted),
        "out": outcome.image,
        "feature_error": outcome.pixel_errors().flatten(1),
        "prototypes": outcome.prototypes_BMC,
        "updated_probe": probe(heard[0], len(wanted["updated_probe"])),
        "mse01": error.mean(dim=(1, 2, 3)),
        "psnr_frame": psnr_db(error),
        "psnr_feature": -10 * torch.log10(outcome.feature_map().mean(dim=(1, 2))),
    }
    compare(found, wanted)


@torch.inference_mode()
def test_full_size() -> None:
    network = network_of_recipe().eval()
    told = recipe(FILE)
    observed, wanted = observed_layers(network), section(FILE, "full_")
    outcome, _ = run(network, clip(**told["full_clip"]))
    row, column, size = (told["full_crop"][key] for key in ("row", "col", "size"))
    found = {
        **observed.found(wanted),
        "out_crop": outcome.image[:, :, row : row + size, column : column + size],
        "out_stats": stats(outcome.image),
        "feature_error_mean": outcome.feature_map().mean(),
    }
    compare(found, wanted)


@pytest.mark.parametrize(("dtype", "prefix", "tolerances"), PRECISIONS)
def test_training_step(dtype: torch.dtype, prefix: str, tolerances: dict[str, float]) -> None:
    network = network_of_recipe().to(dtype).train()
    told, wanted = recipe(FILE), section(FILE, prefix)
    outcome, target = run(network, clip(**told["clip"]).to(dtype))
    losses = network.losses(outcome, target, weights(told))
    losses.total.backward()
    compare({**gradients(network, told, wanted), "losses": as_array(losses)}, wanted, tolerances)


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
    assert all(key.startswith(SECTIONS + OF_THE_META_TEST) for key in arrays(FILE))
