"""MPN's shapes, its prototypes against the plain formulation, its losses."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from networks.mpn import Mpn, MpnParameters, PrototypeUnit, consistency, distinctness
from tests.unit.networks.small import clips_for, small_network


def test_the_paper_size_has_the_papers_parameters() -> None:
    assert sum(values.numel() for values in Mpn(MpnParameters()).parameters()) == 13_285_251


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_depth_gives_an_image_of_the_same_size(depth: int, channels: int) -> None:
    network = Mpn(MpnParameters(width=4, depth=depth, channels=channels, clip_length=4, num_prototypes=3))
    clips = clips_for(network)
    outcome = network(network.split(clips)[0])
    assert outcome.image.shape == (2, channels, *clips.shape[3:])
    assert outcome.pixel_errors().shape == (2, *clips.shape[3:])
    assert outcome.feature_map().shape == (2, 2, 3)
    assert outcome.image.abs().max() <= 1.0


@pytest.mark.parametrize("changed", [{"depth": 1}, {"num_prototypes": 1}])
def test_too_small_a_shape_is_refused(changed: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="depth and num_prototypes must be at least 2, got"):
        MpnParameters(**changed)


def test_there_is_no_batch_norm() -> None:
    assert not any(isinstance(module, nn.BatchNorm2d) for module in small_network("mpn").modules())


def test_features_have_unit_length() -> None:
    network = small_network("mpn")
    assert isinstance(network, Mpn)
    features = network.features(network.split(clips_for(network))[0])
    lengths = features.norm(dim=1)
    assert torch.allclose(lengths[lengths > 0], torch.ones(1), atol=1e-5)


def naive(features_BCHW: Tensor, heads_MC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Prototypes, sums and errors with every temporary written out."""
    x_BNC = features_BCHW.flatten(2).mT
    attention_BNM = torch.softmax(x_BNC @ heads_MC.T, dim=1)
    prototypes_BMC = (attention_BNM.unsqueeze(3) * x_BNC.unsqueeze(2)).sum(dim=1)
    p_BMC = prototypes_BMC / prototypes_BMC.norm(dim=2, keepdim=True)
    score_BNM = (x_BNC.unsqueeze(2) * p_BMC.unsqueeze(1)).sum(dim=3)
    recalled_BNC = (torch.softmax(score_BNM, dim=2).unsqueeze(3) * p_BMC.unsqueeze(1)).sum(dim=2)
    squares_BNM = (x_BNC.unsqueeze(2) - p_BMC.unsqueeze(1)).square().mean(dim=3)
    return prototypes_BMC, recalled_BNC.mT, squares_BNM.amin(dim=2)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), samples=st.integers(1, 3), num_prototypes=st.integers(2, 6))
def test_products_of_matrices_are_the_plain_formulation(seed: int, samples: int, num_prototypes: int) -> None:
    torch.manual_seed(seed)
    features = F.normalize(torch.rand(samples, 8, 5, 6), dim=1)
    unit = PrototypeUnit(8, num_prototypes)
    reading, prototypes = unit(features)
    wanted = naive(features, unit.heads.weight)
    for found, value in zip((prototypes, reading.values(), reading.distance_map()), wanted, strict=True):
        assert torch.allclose(found, value, atol=1e-6)


def test_prototypes_are_made_from_the_sample_alone() -> None:
    unit = PrototypeUnit(8, 3)
    features = F.normalize(torch.rand(2, 8, 5, 6), dim=1)
    assert torch.allclose(unit(features)[1][1], unit(features[1:])[1][0], atol=1e-6)


def test_a_pixel_unlike_the_others_is_far_from_every_prototype() -> None:
    torch.manual_seed(0)
    features = torch.zeros(1, 8, 4, 4)
    features[:, 0] = 1.0
    features[0, :, 1, 2] = torch.eye(8)[5]
    reading, _ = PrototypeUnit(8, 3)(features)
    error = reading.distance_map().reshape(4, 4)
    assert error.argmax().item() == 6
    assert error[1, 2] > 10 * error.flatten().median()


def test_cells_average_pixels() -> None:
    network = small_network("mpn").eval()
    outcome = network(network.split(clips_for(network))[0])
    pixels = outcome.pixel_errors()
    assert torch.allclose(outcome.feature_map()[0, 1, 2], pixels[0, 4:8, 8:12].mean(), atol=1e-7)
    assert torch.allclose(outcome.feature_map().mean(dim=(1, 2)), pixels.mean(dim=(1, 2)), atol=1e-7)


def test_distinctness_is_zero_apart_and_one_together() -> None:
    apart = torch.eye(4).unsqueeze(0)
    together = torch.eye(4)[:1].expand(1, 4, 4)
    assert distinctness(apart).item() == 0.0
    assert distinctness(together).item() == pytest.approx(1.0)
    half = torch.cat([together[:, :2], apart[:, 1:2]], dim=1)
    assert distinctness(half).item() == pytest.approx(1 / 3)


def test_losses_pull_on_features_and_prototypes() -> None:
    unit = PrototypeUnit(8, 3)
    features = F.normalize(torch.rand(2, 8, 4, 4), dim=1).requires_grad_()
    reading, _ = unit(features)
    (reading.compactness() + distinctness(reading.items_BMC)).backward()
    assert features.grad is not None
    assert unit.heads.weight.grad is not None
    assert unit.heads.weight.grad.any()


def test_consistency_is_zero_for_a_scene_that_stands_still() -> None:
    items = F.normalize(torch.rand(1, 3, 8), dim=2)
    assert consistency(items.expand(4, 3, 8)).item() == 0.0
    assert consistency(torch.cat([items, -items])).item() == pytest.approx(4.0)
