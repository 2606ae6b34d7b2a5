"""MemAE's shapes, its start, and where its items live."""

import pytest
import torch
from torch import nn

from networks.memae import Memae, MemaeParameters
from tests.unit.networks.small import clips_for, small_network


def test_the_paper_size_has_the_papers_parameters() -> None:
    assert sum(values.numel() for values in Memae(MemaeParameters()).parameters()) == 6_492_801


@pytest.mark.parametrize(("widths", "clip_length"), [((4,), 3), ((4, 6), 4), ((4, 6, 8), 8), ((4, 6, 8, 8), 16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_number_of_levels_rebuilds_a_clip(widths: tuple[int, ...], clip_length: int, channels: int) -> None:
    network = Memae(MemaeParameters(widths, channels, clip_length, num_items=5))
    inputs, target = network.split(clips_for(network))
    outcome = network(inputs)
    assert outcome.image.shape == target.shape == (2, channels, clip_length, *target.shape[3:])
    assert outcome.grid == (clip_length >> (len(widths) - 1), 2, 3)
    assert outcome.feature_map().shape == (2, 2, 3)


def test_a_clip_length_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ValueError, match="clip_length must be a multiple of 8, got 12"):
        MemaeParameters(clip_length=12)


def test_the_map_is_the_mean_over_time_and_channels() -> None:
    network = small_network("memae", clip_length=8).eval()
    outcome = network(network.split(clips_for(network))[0])
    reading = outcome.reading
    assert outcome.grid[0] == 2
    error = (reading.queries_BCN - reading.rebuilt_BCN).square().reshape(2, 8, *outcome.grid)
    assert torch.allclose(outcome.feature_map(), error.mean(dim=(1, 2)), atol=1e-7)


def test_initialised_as_published() -> None:
    torch.manual_seed(0)
    network = Memae(MemaeParameters((16, 24, 32), num_items=400))
    convolution, norm, *_ = network.encoder[1].children()
    assert isinstance(convolution, nn.Conv3d)
    assert isinstance(norm, nn.BatchNorm3d)
    assert convolution.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert norm.weight.mean().item() == pytest.approx(1.0, abs=0.02)
    assert not norm.bias.any()
    items = network.memory.items_MC
    assert items.abs().max().item() == pytest.approx(32**-0.5, rel=0.01)
    assert abs(items.mean().item()) < 0.01


def dead_share(**changed: float) -> float:
    network = small_network("memae", num_items=500, shrink=5 / 500, **changed).train()
    outcome = network(network.split(clips_for(network))[0])
    return (outcome.reading.num_items_read() == 0).float().mean().item()


def test_longer_items_prevent_a_dead_start() -> None:
    assert dead_share() > 0.5
    assert dead_share(item_scale=6.0) < 0.2
    assert dead_share(temperature=0.1) < 0.2


def test_items_are_weights() -> None:
    network = small_network("memae")
    assert network.bank_shape is None
    assert "memory.items_MC" in dict(network.named_parameters())
