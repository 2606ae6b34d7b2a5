"""What holds for each network of the registry: the contract of ``networks.network``, folding, training, export."""

import json
from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from networks.blocks import fold_batch_norm
from networks.network import VideoNetwork
from networks.registry import NETWORKS, build_network, load_in_forward_order
from tests.unit.networks.small import NAMES, clips_for, items_for, small_network


def test_each_is_here() -> None:
    assert sorted(NETWORKS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_image_is_like_the_target_and_places_are_a_grid(name: str) -> None:
    network = small_network(name)
    inputs, target = network.split(clips_for(network))
    outcome = network(inputs, items_for(network))
    places = outcome.feature_map()
    assert outcome.image.shape == target.shape
    assert places.shape[0] == 2
    assert places.shape[2] / places.shape[1] == 3 / 2
    assert (places >= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_samples_do_not_mix_in_evaluation(name: str) -> None:
    network = small_network(name).eval()
    inputs, _ = network.split(clips_for(network, samples=3))
    items = items_for(network)
    with torch.inference_mode():
        together = network(inputs, items)
        alone = [network(sample, items) for sample in inputs.split(1)]
    assert torch.allclose(together.image, torch.cat([each.image for each in alone]), atol=1e-6)
    assert torch.allclose(together.feature_map(), torch.cat([each.feature_map() for each in alone]), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_statistics_come_exactly_where_there_is_a_bank(name: str) -> None:
    network = small_network(name)
    outcome = network(network.split(clips_for(network))[0], items_for(network))
    statistics, bank = outcome.statistics(), network.bank_shape
    assert (statistics is None) == (bank is None)
    items_MC = items_for(network)
    if statistics is not None and bank is not None and items_MC is not None:
        assert statistics.sums_BMC.shape == (2, bank.num_items, bank.item_dim)
        assert network.updated(items_MC, statistics).shape == (bank.num_items, bank.item_dim)


@pytest.mark.parametrize("name", NAMES)
def test_total_is_the_weighted_sum_and_trains_everything(name: str) -> None:
    network = small_network(name).train()
    inputs, target = network.split(clips_for(network))
    losses = network.losses(network(inputs, items_for(network)), target)
    first, *others = losses.terms
    weighted = sum(network.loss_weights[term] * losses.terms[term] for term in others)
    assert first == "pixel"
    assert set(others) == set(network.loss_weights)
    assert torch.isclose(losses.total, losses.terms["pixel"] + weighted)
    losses.total.backward()
    assert all(values.grad is not None and torch.isfinite(values.grad).all() for values in network.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_losses_can_be_given_by_name(name: str) -> None:
    network = small_network(name).train()
    inputs, target = network.split(clips_for(network))
    outcome = network(inputs, items_for(network))
    term = next(iter(network.loss_weights))
    usual, without = network.losses(outcome, target), network.losses(outcome, target, {term: 0.0})
    assert torch.isclose(usual.total - without.total, network.loss_weights[term] * usual.terms[term], atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_the_loss(name: str) -> None:
    network = small_network(name).train()
    items = items_for(network)
    inputs, target = network.split(clips_for(network) * 0.1 + 0.5)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    seen = []
    for _ in range(15):
        losses = network.losses(network(inputs, items), target)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        seen.append(losses.total.item())
    assert seen[-1] < 0.7 * seen[0]


@pytest.mark.parametrize("name", NAMES)
def test_folding_changes_nothing(name: str) -> None:
    network = small_network(name).eval()
    inputs, _ = network.split(clips_for(network))
    items = items_for(network)
    with torch.inference_mode():
        before = network(inputs, items)
        fold_batch_norm(network)
        after = network(inputs, items)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
    assert (before.image - after.image).abs().max() <= 1e-5
    assert (before.feature_map() - after.feature_map()).abs().max() <= 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_folding_twice_is_folding_once(name: str) -> None:
    network = small_network(name).eval()
    fold_batch_norm(network)
    weights = [values.clone() for values in network.parameters()]
    fold_batch_norm(network)
    assert all(torch.equal(a, b) for a, b in zip(weights, network.parameters(), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_parameters_survive_a_manifest(name: str) -> None:
    network = small_network(name)
    shape: Any = network.shape
    again = build_network(name, json.loads(json.dumps(asdict(shape))))
    assert again.shape == network.shape
    again.load_state_dict(network.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_recipes_fit_their_network(name: str) -> None:
    for recipe in NETWORKS[name].recipes.values():
        shape = NETWORKS[name].parameters_type(**recipe.parameters)
        assert recipe.width % shape.size_multiple == recipe.height % shape.size_multiple == 0
        assert NETWORKS[name].paper_test.frame < shape.clip_length
        assert set(recipe.loss_weights) <= set(NETWORKS[name].loss_weights)
    assert {"paper", "light"} <= NETWORKS[name].recipes.keys()


@pytest.mark.parametrize("name", NAMES)
def test_parameters_load_in_forward_order(name: str) -> None:
    network, other = small_network(name), small_network(name)
    state = {key: values for key, values in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    for values in other.parameters():
        values.data.zero_()
    load_in_forward_order(other, list(state.values()))
    assert all(torch.equal(other.state_dict()[key], values) for key, values in state.items())
    with pytest.raises(
        ValueError, match=f"{len(state)} of '{name}' in forward order, got {len(state) - 1}; .*number 0"
    ):
        load_in_forward_order(other, list(state.values())[1:])


class Exported(nn.Module):
    """An exported program has tensors for results."""

    def __init__(self, network: VideoNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, items: Tensor | None) -> tuple[Tensor, Tensor]:
        outcome = self.network(inputs, items)
        return outcome.image, outcome.feature_map()


@pytest.mark.parametrize("name", NAMES)
def test_export_computes_the_same(name: str) -> None:
    network = small_network(name).eval()
    fold_batch_norm(network)
    module, items = Exported(network), items_for(network)
    inputs, _ = network.split(clips_for(network))
    batch = {"inputs": {0: torch.export.Dim.DYNAMIC}, "items": None}
    with torch.inference_mode(False), torch.no_grad():
        program = torch.export.export(module, (inputs, items), dynamic_shapes=batch).module()
        for samples in (2, 3):
            fresh, _ = network.split(clips_for(network, samples, seed=7))
            for wanted, found in zip(module(fresh, items), program(fresh, items), strict=True):
                assert torch.allclose(wanted, found, atol=1e-6)
