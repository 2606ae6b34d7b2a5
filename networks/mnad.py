"""MNAD (Park et al., CVPR 2020): a U-Net that predicts the next frame, or rebuilds one, through an external memory.

As published, with width and depth as parameters; (64, 4) is the paper's. Left out is the encoder's last batch norm,
which the published code builds but never calls (1024 dead parameters). Modules are registered in forward order.

    loss = pixel error + compactness + separateness   (eq. 7), weighted

Dimensions: B samples, T frames of a clip, K colours, H x W pixels, M items, C channels of the query.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.blocks import ConvNormRelu, SkipLevel, UpNormRelu, cat_channels, conv, double_conv
from networks.memory import ItemStatistics, Maximum, Reading, UpdateOver, hold_against, updated
from networks.network import BankShape, PaperTest, Recipe, VideoNetwork, predict_last


@dataclass(frozen=True, slots=True)
class MnadParameters:
    """Shape of the network and rule of its memory; the defaults are the published code's.

    Attributes:
        width: channels of the first level; doubles with each level.
        depth: levels; height and width must be multiples of 2 ** (depth - 1).
        channels: 1 grey or 3 BGR.
        clip_length: frames of a clip; prediction: all but the last go in, the last is the target.
        num_items: M; 0 = no memory at all, the paper's baseline.
        temperature: of the softmax that reads.
        update_maximum: update weights are relative to the largest similarity among "all" queries, or only those
            "assigned" to the item, as the paper has it.
        update_over: that maximum is taken over the "batch", or for each "frame" by itself, as the paper has it.
        update_momentum: share of the old items that an update in training keeps, in [0, 1).

    Raises:
        ValueError: no level, no channel, no frame, fewer items than none, or numbers outside their range.
    """

    width: int = 64
    depth: int = 4
    channels: int = 3
    clip_length: int = 5
    num_items: int = 10
    temperature: float = 1.0
    update_maximum: Maximum = "all"
    update_over: UpdateOver = "batch"
    update_momentum: float = 0.0

    def __post_init__(self) -> None:
        sizes = (self.width, self.depth, self.clip_length)
        if min(sizes) < 1 or self.num_items < 0:
            text = f"width, depth and clip_length must be at least 1 and num_items at least 0, got {sizes}"
            raise ValueError(f"{text} and {self.num_items}")
        if not (self.temperature > 0 and 0 <= self.update_momentum < 1):
            text = f"temperature must be above 0 and update_momentum in [0, 1), got {self.temperature}"
            raise ValueError(f"{text} and {self.update_momentum}")

    @property
    def item_dim(self) -> int:
        """Channels of queries and items."""
        return self.width * self.size_multiple

    @property
    def size_multiple(self) -> int:
        """Height and width of the images must be multiples of this."""
        return 1 << (self.depth - 1)


@dataclass(frozen=True, slots=True)
class MnadOutcome:
    """What one forward pass gives.

    Attributes:
        image: (B, K, H, W) in [-1, 1].
        reading: the queries held against the banks; None without memory.
        grid: rows and columns of the query map.
        maximum: see ``MnadParameters.update_maximum``.
    """

    image: Tensor
    reading: Reading | None
    grid: tuple[int, int]
    maximum: Maximum

    def feature_map(self) -> Tensor:
        """Mean over channels of (query - nearest item)^2, (B, R, S); zero without memory."""
        if self.reading is None:
            return self.image.new_zeros(self.image.shape[0], *self.grid)
        return torch.unflatten(self.reading.distance_map(), 1, self.grid)

    def feature_distance(self) -> Tensor:
        """Mean over places and channels, (B,); zero without memory."""
        return self.image.new_zeros(self.image.shape[0]) if self.reading is None else self.reading.distance()

    def statistics(self) -> ItemStatistics | None:
        """What each sample contributes to an update; None without memory."""
        return None if self.reading is None else self.reading.statistics(self.maximum)


class Mnad(VideoNetwork):
    """Encoder, memory read, decoder; what prediction and reconstruction share."""

    parameters_type = MnadParameters
    shape: MnadParameters

    def __init__(self, parameters: MnadParameters, in_frames: int) -> None:
        super().__init__(parameters)
        widths = [parameters.width * 2**level for level in range(parameters.depth)]
        *levels, lowest = zip([in_frames * parameters.channels, *widths[:-1]], widths, strict=True)
        self.pool = nn.MaxPool2d(2)
        self.encoder = nn.ModuleList(double_conv(before, after) for before, after in levels)
        item_dim = widths[-1]
        self.query = nn.Sequential(ConvNormRelu(*lowest), conv(item_dim, item_dim))
        self.bottleneck = double_conv(2 * item_dim if parameters.num_items else item_dim, item_dim)
        self.decoder = nn.ModuleList(self._up_level(width) for width in reversed(widths[:-1]))
        self.head = conv(widths[0], parameters.channels)
        self.squash = nn.Tanh()

    @property
    def bank_shape(self) -> BankShape | None:
        """M x C; None without memory."""
        return BankShape(self.shape.num_items, self.shape.item_dim) if self.shape.num_items else None

    def forward(self, inputs: Tensor, items: Tensor | None = None) -> MnadOutcome:
        """Make an image out of the inputs, with what the banks hold.

        Args:
            inputs: of ``split``, in [-1, 1].
            items: banks (B, M, C), or one bank (M, C) for all samples. They are read, not changed. None where the
                parameters say that there is no memory.

        Raises:
            ValueError: the network has a memory and was given no items.
        """
        skips: list[Tensor] = []
        features = inputs
        for level in self.encoder:
            skips.append(level(features))
            features = self.pool(skips[-1])
        queries = self.query(features)
        grid = (queries.shape[2], queries.shape[3])
        reading = self._read(queries, items) if self.shape.num_items else None
        features = self.bottleneck(queries if reading is None else self._joined(reading, grid))
        for up in self.decoder:
            features = up(skips.pop(), features)
        return MnadOutcome(self.squash(self.head(features)), reading, grid, self.shape.update_maximum)

    def loss_terms(self, outcome: MnadOutcome, target: Tensor) -> dict[str, Tensor]:
        """Mean squared pixel error on [-1, 1]; compactness and separateness where there is a memory."""
        pixel = F.mse_loss(outcome.image, target)
        if outcome.reading is None:
            return {"pixel": pixel}
        compactness, separateness = outcome.reading.compactness(), outcome.reading.separateness()
        return {"pixel": pixel, "compactness": compactness, "separateness": separateness}

    def updated(self, items_MC: Tensor, statistics: ItemStatistics) -> Tensor:
        """New items after a training step, by the rule of ``MnadParameters``."""
        return updated(items_MC, statistics, self.shape.update_over, self.shape.update_momentum)

    def _read(self, queries: Tensor, items: Tensor | None) -> Reading:
        if items is None:
            shape = (self.shape.num_items, self.shape.item_dim)
            raise ValueError(f"'{self.name}' must be given items of shape {shape}, got none; pass a bank to read from")
        return hold_against(queries, items)

    def _joined(self, reading: Reading, grid: tuple[int, int]) -> Tensor:
        return torch.unflatten(cat_channels(reading.queries_BCN, reading.values(self.shape.temperature)), 2, grid)

    def _up_level(self, width: int) -> nn.Module:
        raise NotImplementedError


class MnadPrediction(Mnad):
    """Predicts the last frame of a clip from the others; the decoder sees the encoder's maps of each size."""

    name = "mnad-prediction"
    loss_weights: ClassVar = {"compactness": 0.1, "separateness": 0.1}
    paper_test = PaperTest("psnr-and-distance", frame=4, alpha=0.6, gate=0.01)
    recipes: ClassVar = {
        "paper": Recipe({}, 256, 256, "colour", epochs=60),
        "light": Recipe({"width": 16}, 192, 128, "source", epochs=24, max_steps=12_000, learning_rate=5e-4),
        "tiny": Recipe({"width": 16, "depth": 3}, 128, 96, "grey", epochs=20, max_steps=1800, learning_rate=6e-4),
    }

    def __init__(self, parameters: MnadParameters) -> None:
        super().__init__(parameters, parameters.clip_length - 1)

    def split(self, clip_BTKHW: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (B, (T - 1) * K, H, W) and target (B, K, H, W)."""
        return predict_last(clip_BTKHW)

    def _up_level(self, width: int) -> nn.Module:
        return SkipLevel(UpNormRelu(2 * width, width), double_conv(2 * width, width))


class MnadReconstruction(Mnad):
    """Rebuilds a single frame. No skip connections, or it would learn to copy; its decoder is wider instead."""

    name = "mnad-reconstruction"
    loss_weights: ClassVar = {"compactness": 0.01, "separateness": 0.01}
    paper_test = PaperTest("psnr-and-distance", frame=0, alpha=0.7, gate=0.015)
    recipes: ClassVar = {
        "paper": Recipe({"clip_length": 1}, 256, 256, "colour", epochs=60, learning_rate=2e-5),
        "light": Recipe(
            {"width": 16, "clip_length": 1}, 192, 128, "source", epochs=8, max_steps=4400, learning_rate=5e-4
        ),
    }

    def __init__(self, parameters: MnadParameters) -> None:
        super().__init__(parameters, 1)

    def split(self, clip_BTKHW: Tensor) -> tuple[Tensor, Tensor]:
        """The newest frame twice: as input and as target, (B, K, H, W)."""
        return clip_BTKHW[:, -1], clip_BTKHW[:, -1]

    def _up_level(self, width: int) -> nn.Module:
        return PlainLevel(width)


class PlainLevel(nn.Module):
    """One level of the rebuilding decoder: double the size, mix; the encoder's map is not used."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = UpNormRelu(2 * width, 2 * width)
        self.mix = double_conv(2 * width, width)

    def forward(self, _skip: Tensor, features: Tensor) -> Tensor:
        """(B, 2C, H/2, W/2) to (B, C, H, W)."""
        mixed: Tensor = self.mix(self.up(features))
        return mixed
