"""MNAD's networks against the published implementation: every layer, a training step, steps of Adam."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from networks.measures import psnr_db, regular_score, squared_error
from networks.memory import Reading
from networks.mnad import Mnad, MnadOutcome
from tests.golden.networks_from_recipe import (
    ADAM,
    PRECISIONS,
    Observed,
    as_array,
    gradients,
    network_from_recipe,
    running_statistics,
)
from tests.golden.reference import arrays, clip, compare, items, probe, probe_and_sum, recipe, section, stats

SECTIONS = ("clip_", "eval_", "train_", "train64_", "adam_", "adam64_", "full_")


@dataclass(frozen=True)
class Family:
    """A network and where its numbers are."""

    name: str
    file: str

    def network(self) -> Mnad:
        network = network_from_recipe(self.name, self.file)
        assert isinstance(network, Mnad)
        return network

    def run(self, network: Mnad, clips: Tensor, items_MC: Tensor) -> tuple[MnadOutcome, Tensor]:
        """On clips (B, frames * 3, H, W): prediction has 5 frames, reconstruction 1."""
        inputs, target = network.split(torch.unflatten(clips, 1, (-1, 3)))
        return network(inputs, items_MC), target


FAMILIES = [
    pytest.param(Family("mnad-prediction", "mnad_pred_net"), id="prediction"),
    pytest.param(Family("mnad-reconstruction", "mnad_recon_net"), id="reconstruction"),
]


def reading_of(outcome: MnadOutcome) -> Reading:
    assert outcome.reading is not None
    return outcome.reading


def score_memory(outcome: MnadOutcome) -> Tensor:
    return reading_of(outcome).similarity_BMN.permute(0, 2, 1).flatten(0, 1).softmax(dim=1)


def weights(told: dict[str, Any]) -> dict[str, float]:
    return {"compactness": told["adam"]["weight_compact"], "separateness": told["adam"]["weight_separate"]}


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_evaluation_mode(family: Family) -> None:
    network = family.network().eval()
    told, wanted = recipe(family.file), section(family.file, "eval_")
    observed, maps = Observed(network), []
    network.query.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    outcome, target = family.run(network, clip(**told["clip"]), items(**told["items"]))
    reading = reading_of(outcome)
    error = squared_error(outcome.image, target)
    found = {
        **observed.found(wanted),
        "out": outcome.image,
        "fea_probe": probe(maps[0], len(wanted["fea_probe"])),
        "score_query": reading.similarity_BMN.permute(0, 2, 1).flatten(0, 1).softmax(dim=0),
        "score_memory": score_memory(outcome),
        "compact": outcome.feature_map().mean(),
        "updated_fea_probe": probe(
            torch.cat([reading.queries_BCN, reading.values()], dim=1), len(wanted["updated_fea_probe"])
        ),
        "point_score": regular_score(error),
        "mse01": error.mean(dim=(1, 2, 3)),
        "psnr": psnr_db(error),
    }
    compare(found, wanted)


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_full_size(family: Family) -> None:
    network = family.network().eval()
    told = recipe(family.file)
    observed, wanted = Observed(network), section(family.file, "full_")
    outcome, _ = family.run(network, clip(**told["full_clip"]), items(**told["items"]))
    row, column, size = (told["full_crop"][key] for key in ("row", "col", "size"))
    found = {
        **observed.found(wanted),
        "out_crop": outcome.image[:, :, row : row + size, column : column + size],
        "out_stats": stats(outcome.image),
        "compact": reading_of(outcome).distance().mean(),
        "score_memory": score_memory(outcome),
    }
    compare(found, wanted)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("dtype", "prefix", "tolerances"), PRECISIONS)
def test_training_step(family: Family, dtype: torch.dtype, prefix: str, tolerances: dict[str, float]) -> None:
    network = family.network().to(dtype).train()
    told, wanted = recipe(family.file), section(family.file, prefix)
    items_MC = items(**told["items"]).to(dtype)
    outcome, target = family.run(network, clip(**told["clip"]).to(dtype), items_MC)
    losses = network.losses(outcome, target, weights(told))
    losses.total.backward()
    statistics = outcome.statistics()
    assert statistics is not None
    found = {
        **gradients(network, told, wanted),
        **running_statistics(network, wanted),
        "out": outcome.image,
        "losses": as_array(losses),
        "items_after": network.updated(items_MC, statistics),
    }
    compare(found, wanted, tolerances)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("dtype", "prefix", "tolerances"), ADAM)
def test_adam_steps(family: Family, dtype: torch.dtype, prefix: str, tolerances: dict[str, float]) -> None:
    """In single precision a query near two items may flip from one to the other, so there only the losses are held."""
    wanted, told = section(family.file, prefix), recipe(family.file)
    adam = told["adam"]
    network = family.network().to(dtype).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=adam["lr"], betas=tuple(adam["betas"]), eps=adam["eps"])
    items_MC, losses, banks = items(**told["items"]).to(dtype), [], []
    for seed in adam["seeds"]:
        outcome, target = family.run(network, clip(seed, told["clip"]["shape"]).to(dtype), items_MC)
        losses.append(network.losses(outcome, target, weights(told)))
        optimizer.zero_grad()
        losses[-1].total.backward()
        optimizer.step()
        statistics = outcome.statistics()
        assert statistics is not None
        items_MC = network.updated(items_MC, statistics)
        banks.append(items_MC)
    found = {
        "losses": torch.stack([as_array(each) for each in losses]),
        "items": torch.stack(banks) if dtype == torch.float64 else wanted["items"],
    }
    compare(found, wanted, tolerances)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_clip_is_the_reference_clip(family: Family) -> None:
    wanted = section(family.file, "clip_")
    compare({"check": probe_and_sum(clip(**recipe(family.file)["clip"]), len(wanted["check"]) - 1)}, wanted)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_left_out(family: Family) -> None:
    assert all(key.startswith(SECTIONS) for key in arrays(family.file))
