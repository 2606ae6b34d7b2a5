"""Networks by name; a network of one's own is one class and one line."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.mnad import MnadParameters
from networks.network import PaperTest, Recipe, VideoNetwork, predict_last
from networks.registry import NETWORKS, build_network, load_in_forward_order
from tests.unit.networks.small import clips_for


@dataclass(frozen=True, slots=True)
class LastFrameParameters:
    """All that a network must say of its shape."""

    channels: int = 1
    clip_length: int = 2
    size_multiple: int = 1


@dataclass(frozen=True, slots=True)
class LastFrameOutcome:
    image: Tensor

    def feature_map(self) -> Tensor:
        return torch.zeros(self.image.shape[0], 1, 1)

    def feature_distance(self) -> Tensor:
        return self.feature_map().mean(dim=(1, 2))

    def statistics(self) -> None:
        return


class LastFrame(VideoNetwork):
    """Predicts that the next frame is the last one, but for brightness and contrast."""

    name = "last-frame"
    parameters_type = LastFrameParameters
    loss_weights: ClassVar[Mapping[str, float]] = {"contrast": 0.5}
    paper_test = PaperTest("clip-error", frame=1)
    recipes: ClassVar[Mapping[str, Recipe]] = {"light": Recipe({}, 32, 32, "grey", epochs=1)}

    def __init__(self, parameters: LastFrameParameters) -> None:
        super().__init__(parameters)
        self.mix = nn.Conv2d(parameters.channels * (parameters.clip_length - 1), parameters.channels, 1)

    def forward(self, inputs: Tensor, _items: Tensor | None = None) -> LastFrameOutcome:
        return LastFrameOutcome(self.mix(inputs))

    def split(self, clip_BTKHW: Tensor) -> tuple[Tensor, Tensor]:
        return predict_last(clip_BTKHW)

    def loss_terms(self, outcome: LastFrameOutcome, target: Tensor) -> dict[str, Tensor]:
        pixel = F.mse_loss(outcome.image, target)
        return {"pixel": pixel, "contrast": (outcome.image.std() - target.std()).square()}


def test_a_network_of_ones_own_is_a_class_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, LastFrame.name, LastFrame)
    network = build_network("last-frame", {"channels": 3})
    load_in_forward_order(network, [torch.zeros(3, 3, 1, 1), torch.full((3,), 0.25)])
    inputs, target = network.split(clips_for(network))
    losses = network.losses(network(inputs), target)
    assert torch.isclose(losses.total, losses.terms["pixel"] + 0.5 * losses.terms["contrast"])
    losses.total.backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    assert network.losses(network(inputs), target).total < losses.total


def test_networks_are_found_by_name() -> None:
    network = build_network("mnad-prediction", {"width": 4, "depth": 2})
    assert network.shape == MnadParameters(width=4, depth=2)
    with pytest.raises(ValueError, match=r"model must be one of .*'mnad-prediction'.*got 'nosuch'"):
        build_network("nosuch")


def test_a_parameter_that_it_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match="no_such"):
        build_network("mpn", {"no_such": 1})


def test_tensors_that_do_not_fit_are_refused_and_nothing_is_filled() -> None:
    network = build_network("mpn", {"width": 2, "depth": 2})
    tensors = [values.clone() for values in network.state_dict().values()]
    before = [values.clone() for values in tensors]
    tensors[0] += 1
    tensors[5] = tensors[5][:1]
    with pytest.raises(ValueError, match="first that does not fit is number 5"):
        load_in_forward_order(network, tensors)
    assert all(torch.equal(a, b) for a, b in zip(before, network.state_dict().values(), strict=True))
