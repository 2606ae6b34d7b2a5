"""Shapes, folding and the registry, on networks small enough for milliseconds."""

import pytest
import torch

from networks.blocks import fold_batch_norm
from networks.losses import LossWeights, training_losses
from networks.memory import initial_items
from networks.mnad import MnadParameters, MnadPrediction, split_clip, to_unit_range
from networks.registry import build_network


def randomised(parameters: MnadParameters) -> MnadPrediction:
    """With running statistics that are not trivial, so that folding has something to get wrong."""
    torch.manual_seed(0)
    network = MnadPrediction(parameters)
    for name, values in [*network.named_buffers(), *network.named_parameters()]:
        if name.endswith("running_var") or name.endswith("1.weight"):
            values.data.uniform_(0.5, 1.5)
        elif name.endswith("running_mean"):
            values.data.normal_(0, 0.2)
    return network.eval()


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_depth_gives_an_image_of_the_same_size(depth: int, channels: int) -> None:
    shape = MnadParameters(width=4, depth=depth, channels=channels, clip_length=4, num_items=3)
    network = MnadPrediction(shape)
    items = initial_items(3, shape.item_dim)
    height, width = 2 * shape.size_multiple, 3 * shape.size_multiple
    prediction = network(torch.zeros(2, 3 * channels, height, width), items)
    assert prediction.image_BKHW.shape == (2, channels, height, width)
    assert prediction.reading.queries_BCN.shape == (2, shape.item_dim, 6)
    assert prediction.image_BKHW.abs().max() <= 1.0


def test_the_paper_size_has_the_papers_parameters() -> None:
    """15,651,843 as published, less the 1024 of the batch norm that is never called."""
    assert sum(values.numel() for values in MnadPrediction(MnadParameters()).parameters()) == 15_651_843 - 1024


def test_folding_changes_nothing() -> None:
    shape = MnadParameters(width=8, depth=3, channels=1, num_items=5)
    network = randomised(shape)
    inputs, items = torch.rand(2, 4, 32, 40) * 2 - 1, initial_items(5, shape.item_dim)
    with torch.inference_mode():
        before = network(inputs, items)
        fold_batch_norm(network)
        after = network(inputs, items)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    assert (before.image_BKHW - after.image_BKHW).abs().max() <= 1e-5
    assert (before.reading.distance() - after.reading.distance()).abs().max() <= 1e-6


def test_folding_twice_is_folding_once() -> None:
    network = randomised(MnadParameters(width=4, depth=2, num_items=3))
    fold_batch_norm(network)
    weights = [values.clone() for values in network.parameters()]
    fold_batch_norm(network)
    assert all(torch.equal(a, b) for a, b in zip(weights, network.parameters(), strict=True))


def test_a_clip_is_split_into_past_and_target() -> None:
    clip = torch.arange(2 * 5 * 3).reshape(2, 5, 3, 1, 1)
    inputs, target = split_clip(clip)
    assert inputs.shape == (2, 12, 1, 1)
    assert inputs[0].flatten().tolist() == list(range(12))
    assert target[1].flatten().tolist() == [27, 28, 29]


def test_pixels_span_minus_one_to_one() -> None:
    assert to_unit_range(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]


def test_total_loss_is_the_weighted_sum_and_trains() -> None:
    torch.manual_seed(1)
    shape = MnadParameters(width=4, depth=2, channels=1, num_items=3)
    network, items = MnadPrediction(shape), initial_items(3, shape.item_dim)
    inputs, target = torch.rand(4, 4, 16, 16) * 2 - 1, torch.zeros(4, 1, 16, 16) + 0.3
    weights = LossWeights(compactness=0.5, separateness=0.25)
    losses = training_losses(network(inputs, items), target, weights)
    total = losses.pixel + 0.5 * losses.compactness + 0.25 * losses.separateness
    assert torch.isclose(losses.total, total)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(15):
        optimizer.zero_grad()
        training_losses(network(inputs, items), target, weights).total.backward()
        optimizer.step()
    assert training_losses(network(inputs, items), target, weights).total < 0.7 * losses.total


def test_networks_are_found_by_name() -> None:
    network = build_network("mnad-prediction", {"width": 4, "depth": 2})
    assert network.parameters_of_shape == MnadParameters(width=4, depth=2)
    with pytest.raises(ValueError, match=r"mnad-prediction.*got 'nosuch'"):
        build_network("nosuch", {})
