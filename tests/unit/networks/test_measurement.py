"""One graph of measures for every network: the numbers are those of its parts."""

import pytest
import torch
from torch import Tensor

from networks.measurement import Measurement
from networks.measures import cell_errors, clip_error, psnr_db, regular_score, squared_error
from networks.network import VideoNetwork, to_unit_range
from tests.unit.networks.small import NAMES, clips_for, items_for, small_network


def pixels_for(network: VideoNetwork) -> Tensor:
    """Clips as workers have them: uint8 (B, T, H, W, K)."""
    return ((clips_for(network) + 1) * 127.5).round().to(torch.uint8).permute(0, 1, 3, 4, 2)


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_measures_are_those_of_the_newest_frame(name: str) -> None:
    network = small_network(name).eval()
    pixels, items = pixels_for(network), items_for(network)
    inputs, target = network.split(to_unit_range(pixels.permute(0, 1, 4, 2, 3)))
    outcome = network(inputs, items)
    whole = outcome.image.ndim == 5
    error = squared_error(outcome.image[:, :, -1], target[:, :, -1]) if whole else squared_error(outcome.image, target)
    found = Measurement(network)(pixels, items)
    assert torch.allclose(found.psnr_db_B, psnr_db(error), atol=1e-4)
    assert torch.allclose(found.regular_score_B, regular_score(error), atol=1e-6)
    assert torch.allclose(found.cell_errors_BRS, cell_errors(error), atol=1e-6)
    assert torch.allclose(found.feature_distance_B, outcome.feature_map().mean(dim=(1, 2)), rtol=1e-5)
    if whole:
        assert torch.allclose(found.clip_error_B, clip_error(outcome.image, target), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_what_an_update_needs_comes_where_there_is_a_bank(name: str) -> None:
    network = small_network(name).eval()
    found, bank = Measurement(network)(pixels_for(network), items_for(network)), network.bank_shape
    assert (found.sums_BMC is None) == (found.counts_BM is None) == (found.running_max_BM is None) == (bank is None)
    if bank is not None and found.sums_BMC is not None:
        assert found.sums_BMC.shape == (2, bank.num_items, bank.item_dim)
