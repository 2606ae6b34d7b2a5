"""MemAE (Gong et al., ICCV 2019): rebuilds a clip by 3D convolutions, through a memory of items trained like weights.

As published, with the widths of the levels as a parameter; (96, 128, 256, 256) are the paper's. What it cannot build
from its items it cannot rebuild, which is what makes the unusual stand out. Modules are registered in forward order.

    loss = mean squared error + 0.0002 * entropy   (eq. 10)

Dimensions: B samples, K colours, T frames, H x W pixels, R x S places of a map, M items, C channels of the query.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.blocks import NormedConvolution
from networks.network import PaperTest, Recipe, VideoNetwork
from networks.sparse_memory import Addressing, ReadRule, Shrinking, SparseReading, sparse_read

LEAK = 0.2
INITIAL_STD = 0.02


@dataclass(frozen=True, slots=True)
class MemaeParameters:
    """Shape of the network and its memory; the defaults are the published code's.

    Attributes:
        widths: channels of each level. Every level halves height and width, every one but the first the frames too.
        channels: 1 grey or 3 BGR.
        clip_length: frames of a clip, a multiple of 2 ** (levels - 1).
        num_items: M.
        shrink: weights up to this are cut to 0. The published 0.0025 is 5 / M; the paper advises 1 / M to 3 / M. Cosine
            addressing at temperature 1 makes no weight larger than e^2 / M: there it must be about 1 / M.
        addressing: "dot" product, as the published code, or "cosine", as the paper.
        temperature: of the softmax over items.
        shrinking: "quotient", as published, or "step", without its gradient's spikes; see ``sparse_memory.Shrinking``.
        item_scale: items start uniform in +-item_scale / sqrt(C). At the published 1 weights differ so little that none
            may exceed ``shrink``; such places read 0 and pass no gradient: a dead start. On Ped2 at the paper's size
            81 % of places start dead at 1, 21 % at 2, 0.2 % at 3; with a shrink of 1.25 / M, none at 1.

    Raises:
        ValueError: ``clip_length`` does not fit the number of levels.
    """

    widths: tuple[int, ...] = (96, 128, 256, 256)
    channels: int = 1
    clip_length: int = 16
    num_items: int = 2000
    shrink: float = 0.0025
    addressing: Addressing = "dot"
    temperature: float = 1.0
    shrinking: Shrinking = "quotient"
    item_scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))  # JSON has lists only
        multiple = 1 << (len(self.widths) - 1)
        if self.clip_length % multiple:
            text = f"clip_length must be a multiple of {multiple}, got {self.clip_length}"
            raise ValueError(f"{text}; every width after the first halves the frames: {self.widths}")

    @property
    def item_dim(self) -> int:
        """Channels of queries and items."""
        return self.widths[-1]

    @property
    def size_multiple(self) -> int:
        """Height and width of the images must be multiples of this."""
        return 1 << len(self.widths)


@dataclass(frozen=True, slots=True)
class MemaeOutcome:
    """What one forward pass gives.

    Attributes:
        image: the rebuilt clip, (B, K, T, H, W); trained towards [-1, 1], not bounded.
        reading: the queries and what the items make of them.
        grid: frames, rows and columns of the query map.
    """

    image: Tensor
    reading: SparseReading
    grid: tuple[int, int, int]

    def feature_map(self) -> Tensor:
        """Mean over channels and the map's frames of (query - rebuilt query)^2, (B, R, S) with R x S = H/16 x W/16."""
        return torch.unflatten(self.reading.distance_map(), 1, self.grid).mean(dim=1)

    def feature_distance(self) -> Tensor:
        """Mean of the map, (B,)."""
        return self.feature_map().mean(dim=(1, 2))

    def statistics(self) -> None:
        """Items are weights; there is no bank to update."""
        return


class Memae(VideoNetwork):
    """Rebuilds a whole clip from the items nearest to its features."""

    name = "memae"
    parameters_type = MemaeParameters
    shape: MemaeParameters
    loss_weights: ClassVar = {"entropy": 0.0002}
    paper_test = PaperTest("clip-error", frame=8)
    recipes: ClassVar = {
        "paper": Recipe({}, 256, 256, "grey", epochs=100, batch=10, learning_rate=1e-4, schedule="constant"),
        "light": Recipe(
            {"widths": (32, 48, 96, 96), "num_items": 500, "shrinking": "step"},
            192,
            128,
            "grey",
            epochs=8,
            max_steps=2400,
            learning_rate=5e-4,
        ),
    }

    def __init__(self, parameters: MemaeParameters) -> None:
        super().__init__(parameters)
        inner = list(zip(parameters.widths[:-1], parameters.widths[1:], strict=True))
        self.encoder = nn.Sequential(
            Down3d(parameters.channels, parameters.widths[0], 1), *(Down3d(before, after, 2) for before, after in inner)
        )
        self.memory = ItemMemory(parameters)
        self.decoder = nn.Sequential(*(Up3d(before, after) for after, before in reversed(inner)))
        self.head = _doubling3d(parameters.widths[0], parameters.channels, 1)
        self.apply(_initialise)

    def forward(self, inputs: Tensor, _items: Tensor | None = None) -> MemaeOutcome:
        """Rebuild clips (B, K, T, H, W) with values in [-1, 1]. Banks are not used."""
        queries = self.encoder(inputs)
        reading: SparseReading = self.memory(queries)
        grid = (queries.shape[2], queries.shape[3], queries.shape[4])
        rebuilt = self.head(self.decoder(torch.unflatten(reading.rebuilt_BCN, 2, grid)))
        return MemaeOutcome(rebuilt, reading, grid)

    def split(self, clip_BTKHW: Tensor) -> tuple[Tensor, Tensor]:
        """The clip twice, as input and as target, (B, K, T, H, W)."""
        clip_BKTHW = clip_BTKHW.transpose(1, 2)
        return clip_BKTHW, clip_BKTHW

    def loss_terms(self, outcome: MemaeOutcome, target: Tensor) -> dict[str, Tensor]:
        """Mean squared pixel error on [-1, 1], and entropy."""
        return {"pixel": F.mse_loss(outcome.image, target), "entropy": outcome.reading.entropy()}


class ItemMemory(nn.Module):
    """The trained items and how they are read."""

    def __init__(self, parameters: MemaeParameters) -> None:
        super().__init__()
        self.rule = ReadRule(parameters.shrink, parameters.addressing, parameters.temperature, parameters.shrinking)
        bound = parameters.item_scale * parameters.item_dim**-0.5
        self.items_MC = nn.Parameter(torch.empty(parameters.num_items, parameters.item_dim).uniform_(-bound, bound))

    def forward(self, queries_BCTRS: Tensor) -> SparseReading:
        """Rebuild each place of the query map."""
        return sparse_read(queries_BCTRS, self.items_MC, self.rule)


class Down3d(NormedConvolution):
    """3x3x3 convolution that halves height and width, and frames by ``frame_stride``; batch norm, LeakyReLU."""

    def __init__(self, in_channels: int, out_channels: int, frame_stride: int) -> None:
        convolution = nn.Conv3d(in_channels, out_channels, 3, stride=(frame_stride, 2, 2), padding=1)
        super().__init__(convolution, nn.BatchNorm3d(out_channels), nn.LeakyReLU(LEAK, inplace=True))


class Up3d(NormedConvolution):
    """Transposed 3x3x3 convolution that doubles frames, height and width; batch norm, LeakyReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        convolution = _doubling3d(in_channels, out_channels, 2)
        super().__init__(convolution, nn.BatchNorm3d(out_channels), nn.LeakyReLU(LEAK, inplace=True))


def _doubling3d(in_channels: int, out_channels: int, frame_stride: int) -> nn.ConvTranspose3d:
    stride, extra = (frame_stride, 2, 2), (frame_stride - 1, 1, 1)
    return nn.ConvTranspose3d(in_channels, out_channels, 3, stride=stride, padding=1, output_padding=extra)


def _initialise(module: nn.Module) -> None:
    """As published: weights N(0, 0.02), batch norm N(1, 0.02) and 0; biases are PyTorch's."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.normal_(module.weight, 0.0, INITIAL_STD)
    elif isinstance(module, nn.BatchNorm3d):
        nn.init.normal_(module.weight, 1.0, INITIAL_STD)
        nn.init.zeros_(module.bias)
