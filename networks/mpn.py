"""MPN (Lv et al., CVPR 2021): a U-Net that predicts the next frame with prototypes made anew from each input.

As published, with width and depth as parameters; (64, 4) is the paper's. No batch norm anywhere. Nothing is remembered
between frames: what a frame's own features have in common is its normality, and each pixel is held against it.
``tail`` is the part that adapts to a new camera, see ``networks.meta``. Modules are registered in forward order.

    loss = pixel error + feature + 0.0001 * distinct   (eq. 6), weighted

Dimensions: B samples, K colours, H x W pixels (N of them), R x S places, M prototypes, C channels of the feature map.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.blocks import SkipLevel, conv, doubling
from networks.memory import MIN_LENGTH, Reading, full_precision
from networks.network import PaperTest, Recipe, VideoNetwork, predict_last

DISTINCT_MARGIN = 1.0


@dataclass(frozen=True, slots=True)
class MpnParameters:
    """Shape of the network; the defaults are the published code's.

    Attributes:
        width: channels of the first level; doubles with each level. The feature map has twice as many.
        depth: levels, at least 2; height and width must be multiples of 2 ** (depth - 1).
        channels: 1 grey or 3 BGR.
        clip_length: frames of a clip: all but the last go in, the last is the target.
        num_prototypes: M, made from each input; at least 2.

    Raises:
        ValueError: too few levels or prototypes.
    """

    width: int = 64
    depth: int = 4
    channels: int = 3
    clip_length: int = 5
    num_prototypes: int = 10

    def __post_init__(self) -> None:
        if min(self.depth, self.num_prototypes) < 2:
            raise ValueError(f"depth and num_prototypes must be at least 2, got {self.depth} and {self.num_prototypes}")

    @property
    def size_multiple(self) -> int:
        """Height and width of the images must be multiples of this."""
        return 1 << (self.depth - 1)


@dataclass(frozen=True, slots=True)
class MpnOutcome:
    """What one forward pass gives.

    Attributes:
        image: (B, K, H, W) in [-1, 1].
        reading: every pixel's feature held against the prototypes of its frame; carries gradients.
        prototypes_BMC: before they were scaled to unit length.
        size: height and width in pixels.
        cell_px: height and width of a cell of ``feature_map``.
    """

    image: Tensor
    reading: Reading
    prototypes_BMC: Tensor
    size: tuple[int, int]
    cell_px: int

    def pixel_errors(self) -> Tensor:
        """Mean over channels of (feature - nearest prototype)^2 for every pixel, (B, H, W); >= 0, high = irregular."""
        return torch.unflatten(self.reading.distance_map(), 1, self.size)

    def feature_map(self) -> Tensor:
        """Mean of ``pixel_errors`` over square cells, (B, H / cell_px, W / cell_px); its mean is theirs."""
        return F.avg_pool2d(self.pixel_errors().unsqueeze(1), self.cell_px).squeeze(1)

    def feature_distance(self) -> Tensor:
        """Mean of ``pixel_errors``, (B,)."""
        return self.pixel_errors().mean(dim=(1, 2))

    def statistics(self) -> None:
        """Prototypes live for one frame; there is no bank to update."""
        return


class Mpn(VideoNetwork):
    """Predicts the last frame of a clip from the others."""

    name = "mpn"
    parameters_type = MpnParameters
    shape: MpnParameters
    loss_weights: ClassVar = {"feature": 1.0, "distinct": 1e-4}
    paper_test = PaperTest("smoothed-psnrs", frame=4, alpha=0.5)
    recipes: ClassVar = {
        "paper": Recipe({}, 256, 256, "colour", epochs=60, learning_rate=1e-4, schedule="constant"),
        "light": Recipe({"width": 16}, 192, 128, "source", epochs=8, max_steps=4400, learning_rate=5e-4),
    }

    def __init__(self, parameters: MpnParameters) -> None:
        super().__init__(parameters)
        widths = [parameters.width * 2**level for level in range(parameters.depth)]
        in_channels = (parameters.clip_length - 1) * parameters.channels
        *levels, lowest = zip([in_channels, *widths[:-1]], widths, strict=True)
        self.pool = nn.MaxPool2d(2)
        self.encoder = nn.ModuleList(_double_conv(before, after) for before, after in levels)
        self.query = _conv_conv(*lowest)
        self.bottleneck = _double_conv(widths[-1], widths[-1])
        mixing = [SkipLevel(_up(2 * width), _double_conv(2 * width, width)) for width in reversed(widths[1:-1])]
        self.decoder = nn.ModuleList([*mixing, SkipLevel(_up(2 * widths[0]), nn.Identity())])
        self.tail = PrototypeTail(parameters)

    def forward(self, inputs: Tensor, _items: Tensor | None = None) -> MpnOutcome:
        """Predict from the inputs of ``split``, in [-1, 1]. Banks are not used."""
        outcome: MpnOutcome = self.tail(self.features(inputs))
        return outcome

    def features(self, inputs: Tensor) -> Tensor:
        """A feature of unit length for every pixel, (B, C, H, W)."""
        skips: list[Tensor] = []
        features = inputs
        for level in self.encoder:
            skips.append(level(features))
            features = self.pool(skips[-1])
        features = self.bottleneck(self.query(features))
        for up in self.decoder:
            features = up(skips.pop(), features)
        return F.normalize(features, dim=1, eps=MIN_LENGTH)

    def split(self, clip_BTKHW: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (B, (T - 1) * K, H, W) and target (B, K, H, W)."""
        return predict_last(clip_BTKHW)

    def loss_terms(self, outcome: MpnOutcome, target: Tensor) -> dict[str, Tensor]:
        """Mean squared pixel error on [-1, 1]; feature error; how much prototypes resemble each other."""
        return {
            "pixel": F.mse_loss(outcome.image, target),
            "feature": outcome.reading.compactness(),
            "distinct": distinctness(outcome.reading.items_BMC),
        }


class PrototypeTail(nn.Module):
    """Prototypes and the layers after them: from the feature map to the image."""

    def __init__(self, parameters: MpnParameters) -> None:
        super().__init__()
        width = parameters.width
        self.unit = PrototypeUnit(2 * width, parameters.num_prototypes)
        self.head = nn.Sequential(*_double_conv(2 * width, width), conv(width, parameters.channels))
        self.squash = nn.Tanh()
        self._cell_px = parameters.size_multiple

    def forward(self, features_BCHW: Tensor) -> MpnOutcome:
        """Hold the features against the prototypes they make, add what these say, and draw the image."""
        reading, prototypes_BMC = self.unit(features_BCHW)
        size = (features_BCHW.shape[2], features_BCHW.shape[3])
        recalled_BCN = F.normalize(reading.values(), dim=1, eps=MIN_LENGTH)
        image = self.squash(self.head(torch.unflatten(reading.queries_BCN + recalled_BCN, 2, size)))
        return MpnOutcome(image, reading, prototypes_BMC, size, self._cell_px)


class PrototypeUnit(nn.Module):
    """Dynamic prototype unit: M prototypes out of each sample's own features (eq. 1-3).

    Written as products of matrices: the largest temporary is the feature map itself, not B x N x M x C.
    """

    def __init__(self, channels: int, num_prototypes: int) -> None:
        super().__init__()
        self.heads = nn.Linear(channels, num_prototypes, bias=False)

    def forward(self, features_BCHW: Tensor) -> tuple[Reading, Tensor]:
        """The features held against their prototypes, and the prototypes before they were scaled, (B, M, C).

        Args:
            features_BCHW: of unit length per pixel.
        """
        heads_MC = self.heads.weight
        with full_precision(heads_MC):
            features_BCN = features_BCHW.to(heads_MC.dtype).flatten(2)
            # a matrix per sample: a single one would make the product copy the features, which takes ten times as long
            heads_BMC = heads_MC.expand(features_BCN.shape[0], *heads_MC.shape)
            attention_BMN = torch.softmax(heads_BMC @ features_BCN, dim=2)
            prototypes_BMC = attention_BMN @ features_BCN.mT
            items_BMC = F.normalize(prototypes_BMC, dim=2, eps=MIN_LENGTH)
            similarity_BMN = items_BMC @ features_BCN
            nearest_BN = similarity_BMN.max(dim=1).indices  # argmax is slower over so many places
        return Reading(features_BCN, items_BMC, similarity_BMN, nearest_BN), prototypes_BMC


def distinctness(items_BMC: Tensor) -> Tensor:
    """Mean over pairs of prototypes of max(0, 1 - squared distance) (eq. 8): low = they differ; in [0, 1]."""
    M = items_BMC.shape[1]
    with full_precision(items_BMC):
        products_BMM = items_BMC @ items_BMC.mT
    lengths_BM = products_BMM.diagonal(dim1=1, dim2=2)
    distance_BMM = lengths_BM.unsqueeze(2) + lengths_BM.unsqueeze(1) - 2 * products_BMM
    pairs_BMM = F.relu(DISTINCT_MARGIN - distance_BMM).triu(diagonal=1)
    return 2 / (M * (M - 1)) * pairs_BMM.sum(dim=(1, 2)).mean()


def consistency(items_BMC: Tensor) -> Tensor:
    """Mean squared distance of a sample's prototypes to the next sample's; needs two samples.

    The published code computes it and uses it in no loss. It means something only where samples follow each other.
    """
    return (items_BMC[1:] - items_BMC[:-1]).square().sum(dim=2).mean()


def _conv_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(conv(in_channels, out_channels), nn.ReLU(inplace=True), conv(out_channels, out_channels))


def _double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(*_conv_conv(in_channels, out_channels), nn.ReLU(inplace=True))


def _up(in_channels: int) -> nn.Sequential:
    """Double height and width, halve the channels."""
    return nn.Sequential(doubling(in_channels, in_channels // 2), nn.ReLU(inplace=True))
