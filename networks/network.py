"""What every network of the registry offers, so that training, evaluation, export and workers need not know which.

A network takes clips apart into inputs and a target, makes an image like the target, and says how far its features lie
from what it remembers. Its class carries all that is particular to it: shape, losses, the paper's test, and the recipes
it is trained by. A new network is one file with one such class, and one line in ``registry``.

Dimensions: B samples, T frames of a clip, K colours, H x W pixels, R x S places of a feature map, M items, C channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from networks.memory import ItemStatistics

Colour = Literal["grey", "colour", "source"]
"""``source`` is grey when the first video is."""

Schedule = Literal["cosine", "constant"]


@dataclass(frozen=True, slots=True)
class BankShape:
    """What a network needs from a bank: M items of C channels."""

    num_items: int
    item_dim: int


@dataclass(frozen=True, slots=True)
class Losses:
    """Scalars of one training step: each term as it is, and their weighted sum, which is what is minimised.

    The first term is the pixel error, with weight 1.
    """

    terms: Mapping[str, Tensor]
    total: Tensor


class Outcome(Protocol):
    """What one forward pass gives."""

    @property
    def image(self) -> Tensor:
        """Predicted or rebuilt, in the shape of the target: (B, K, H, W), or (B, K, T, H, W) for a whole clip."""
        ...

    def feature_map(self) -> Tensor:
        """Per place, (B, R, S), >= 0, high = irregular: how far a feature lies from what is remembered."""
        ...

    def feature_distance(self) -> Tensor:
        """Mean of the map, (B,), in one reduction where the paper's code does it in one."""
        ...

    def statistics(self) -> ItemStatistics | None:
        """What each sample contributes to an update of its bank; None where there is no bank to update."""
        ...


@dataclass(frozen=True, slots=True)
class PaperTest:
    """How the paper turns measures into a normality per frame; computed by ``training.evaluation.protocols``.

    Attributes:
        normality: "psnr-and-distance" (MNAD): alpha * PSNR' + (1 - alpha) * (1 - distance'); "clip-error" (MemAE):
            1 - error'; "smoothed-psnrs" (MPN): alpha * PSNR' + (1 - alpha) * PSNR' of the feature error, both smoothed
            over time. x' is x scaled to [0, 1] by the minimum and maximum of its video.
        frame: index within the clip of the frame that a clip's measures belong to.
        alpha: weight of the PSNR.
        gate: items are updated by frames whose regular score is below; None = items stay.
    """

    normality: Literal["psnr-and-distance", "clip-error", "smoothed-psnrs"]
    frame: int
    alpha: float = 1.0
    gate: float | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained and for how long.

    Attributes:
        parameters: of the network, over its defaults; ``channels`` is overruled when ``colour`` is "source".
        width, height: model size in pixels.
        colour: grey or colour.
        epochs: passes over the clips, ended early by ``max_steps``.
        max_steps: bound on steps, so that the time does not grow with the footage.
        batch: clips a step.
        learning_rate: of Adam at the start.
        schedule: "cosine" falls to 0; "constant" stays.
        loss_weights: of the terms after the pixel error; none given = the network's own.
        max_gradient_norm: gradients are scaled down to this length; None = never.
        stride: frames from one frame of a clip to the next.
    """

    parameters: Mapping[str, Any]
    width: int
    height: int
    colour: Colour
    epochs: int
    max_steps: int = 1_000_000
    batch: int = 4
    learning_rate: float = 2e-4
    schedule: Schedule = "cosine"
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    max_gradient_norm: float | None = None
    stride: int = 1


class Parameters(Protocol):
    """Shape of a network: a frozen dataclass of plain values, as a bundle's manifest stores them."""

    @property
    def channels(self) -> int:
        """1 grey or 3 BGR."""
        ...

    @property
    def clip_length(self) -> int:
        """Frames of a clip."""
        ...

    @property
    def size_multiple(self) -> int:
        """Height and width of the images must be multiples of this."""
        ...


class VideoNetwork(nn.Module):
    """Base of all networks. ``forward(inputs, items)`` gives an ``Outcome``.

    Modules are registered in the order of the forward pass.
    """

    name: ClassVar[str]
    parameters_type: ClassVar[type[Any]]
    loss_weights: ClassVar[Mapping[str, float]]
    paper_test: ClassVar[PaperTest]
    recipes: ClassVar[Mapping[str, Recipe]]

    def __init__(self, parameters: Parameters) -> None:
        super().__init__()
        self.shape = parameters

    @property
    def bank_shape(self) -> BankShape | None:
        """What this network needs from a bank; None = it keeps what it knows in its own weights."""
        return None

    def split(self, clip_BTKHW: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and target of clips with values in [-1, 1], oldest frame first."""
        raise NotImplementedError

    def loss_terms(self, outcome: Any, target: Tensor) -> dict[str, Tensor]:
        """Unweighted scalars by name, the pixel error first."""
        raise NotImplementedError

    def losses(self, outcome: Any, target: Tensor, weights: Mapping[str, float] | None = None) -> Losses:
        """The training loss of one forward pass in training mode.

        Args:
            outcome: of ``forward``; banks as they were read, before this step's update.
            target: of ``split``.
            weights: of the terms after the pixel error; those not named have the network's own.
        """
        terms = self.loss_terms(outcome, target)
        pixel, *others = terms
        factors = {**self.loss_weights, **(weights or {})}
        return Losses(terms, sum((factors[name] * terms[name] for name in others), start=terms[pixel]))

    def updated(self, items_MC: Tensor, statistics: ItemStatistics) -> Tensor:
        """New items after one training step; networks without a bank are never asked."""
        raise NotImplementedError


def predict_last(clip_BTKHW: Tensor) -> tuple[Tensor, Tensor]:
    """``split`` of networks that predict: inputs (B, (T - 1) * K, H, W) and target (B, K, H, W)."""
    return clip_BTKHW[:, :-1].flatten(1, 2), clip_BTKHW[:, -1]


def to_unit_range(images: Tensor) -> Tensor:
    """8-bit pixels to [-1, 1] as the published loaders do: x / 127.5 - 1."""
    return images.to(torch.float32).div_(127.5).sub_(1.0)
