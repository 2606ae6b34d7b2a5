"""MNAD's shapes and what its parameters change."""

import pytest
import torch

from networks.memory import initial_items, updated
from networks.mnad import MnadOutcome, MnadParameters, MnadPrediction, MnadReconstruction
from networks.network import to_unit_range
from tests.unit.networks.small import clips_for, items_for, small_network


@pytest.mark.parametrize("network_type", [MnadPrediction, MnadReconstruction])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_depth_gives_an_image_of_the_same_size(
    network_type: type[MnadPrediction] | type[MnadReconstruction], depth: int, channels: int
) -> None:
    shape = MnadParameters(width=4, depth=depth, channels=channels, clip_length=4, num_items=3)
    network = network_type(shape)
    outcome = network(network.split(clips_for(network))[0], items_for(network))
    assert outcome.image.shape == (2, channels, 2 * shape.size_multiple, 3 * shape.size_multiple)
    assert outcome.reading.queries_BCN.shape == (2, shape.item_dim, 6)
    assert outcome.image.abs().max() <= 1.0


def test_the_paper_size_has_the_papers_parameters() -> None:
    """As published, less the 1024 of the batch norm that is never called."""
    sizes = [
        sum(values.numel() for values in kind(MnadParameters()).parameters())
        for kind in (MnadPrediction, MnadReconstruction)
    ]
    assert sizes == [15_651_843 - 1024, 17_196_291 - 1024]


def test_a_clip_is_split_into_past_and_target() -> None:
    network = MnadPrediction(MnadParameters(width=4, depth=1))
    clip = torch.arange(2 * 5 * 3).reshape(2, 5, 3, 1, 1)
    inputs, target = network.split(clip)
    assert inputs.shape == (2, 12, 1, 1)
    assert inputs[0].flatten().tolist() == list(range(12))
    assert target[1].flatten().tolist() == [27, 28, 29]


def test_reconstruction_takes_the_newest_frame_for_both() -> None:
    network = MnadReconstruction(MnadParameters(width=4, depth=1))
    inputs, target = network.split(torch.arange(2 * 5 * 3).reshape(2, 5, 3, 1, 1))
    assert inputs[1].flatten().tolist() == target[1].flatten().tolist() == [27, 28, 29]


def test_reconstruction_cannot_pass_its_input_by_the_memory() -> None:
    """Whatever a decoder level is given as the encoder's map, it does not look at it."""
    level = MnadReconstruction(MnadParameters(width=4, depth=2)).decoder[0].eval()
    features = torch.rand(1, 8, 4, 4)
    assert torch.equal(level(torch.rand(1, 4, 8, 8), features), level(torch.rand(1, 4, 8, 8), features))


def test_pixels_span_minus_one_to_one() -> None:
    assert to_unit_range(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("name", ["mnad-prediction", "mnad-reconstruction"])
def test_without_items_there_is_no_memory(name: str) -> None:
    network = small_network(name, num_items=0)
    inputs, target = network.split(clips_for(network))
    outcome = network(inputs)
    assert network.bank_shape is None
    assert outcome.statistics() is None
    assert outcome.feature_map().shape == (2, 2, 3)
    assert not outcome.feature_map().any()
    losses = network.losses(outcome, target)
    assert list(losses.terms) == ["pixel"]
    assert losses.total == losses.terms["pixel"]


def test_a_memory_without_items_is_told_what_it_needs() -> None:
    network = small_network("mnad-prediction")
    with pytest.raises(ValueError, match=r"'mnad-prediction' must be given items of shape \(3, 16\), got none"):
        network(network.split(clips_for(network))[0])


def read_with(**changed: float) -> MnadOutcome:
    network = small_network("mnad-prediction", **changed).eval()
    outcome: MnadOutcome = network(network.split(clips_for(network))[0], items_for(network))
    return outcome


def test_temperature_changes_what_is_read_but_not_how_far_queries_are() -> None:
    warm, cold = read_with(temperature=1.0), read_with(temperature=0.05)
    assert (warm.image - cold.image).abs().max() > 1e-5
    assert torch.equal(warm.feature_map(), cold.feature_map())


def test_the_update_follows_its_parameters() -> None:
    network = small_network("mnad-prediction", update_maximum="assigned", update_over="frame", update_momentum=0.5)
    items = initial_items(3, 16)
    outcome = network(network.split(clips_for(network))[0], items)
    statistics = outcome.reading.statistics("assigned")
    assert torch.equal(outcome.statistics().running_max_BM, statistics.running_max_BM)
    assert torch.equal(network.updated(items, statistics), updated(items, statistics, "frame", 0.5))
    assert not torch.equal(network.updated(items, statistics), updated(items, statistics))
