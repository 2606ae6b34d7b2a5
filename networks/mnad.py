"""MNAD's prediction network (Park et al., CVPR 2020): a U-Net that predicts the next frame through a memory.

As published, with width and depth as parameters; (64, 4) is the paper's. Left out is the encoder's last batch norm,
which the published code builds but never calls (1024 dead parameters). Modules are registered in forward order.

Dimensions: B samples, T frames of a clip, K colours, H x W pixels, M items, C channels of the query.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from networks.blocks import ConvNormRelu, UpNormRelu, cat_channels, double_conv
from networks.memory import Reading, hold_against


@dataclass(frozen=True, slots=True)
class MnadParameters:
    """Shape of the network.

    Attributes:
        width: channels of the first level; doubles with each level.
        depth: levels; height and width must be multiples of 2 ** (depth - 1).
        channels: 1 grey or 3 BGR.
        clip_length: frames of a clip; all but the last go in, the last is the target.
        num_items: M.
        temperature: of the softmax that reads; 1 in the published code.
    """

    width: int = 64
    depth: int = 4
    channels: int = 3
    clip_length: int = 5
    num_items: int = 10
    temperature: float = 1.0

    @property
    def item_dim(self) -> int:
        """Channels of queries and items."""
        return self.width * self.size_multiple

    @property
    def size_multiple(self) -> int:
        """Height and width of the images must be multiples of this."""
        return 1 << (self.depth - 1)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one forward pass gives: the frame (B, K, H, W) in [-1, 1], and the queries held against the bank."""

    image_BKHW: Tensor
    reading: Reading


class MnadPrediction(nn.Module):
    """Encoder, memory read, decoder with skip connections."""

    def __init__(self, parameters: MnadParameters) -> None:
        super().__init__()
        self.parameters_of_shape = parameters
        widths = [parameters.width * 2**level for level in range(parameters.depth)]
        in_channels = (parameters.clip_length - 1) * parameters.channels
        *levels, lowest = zip([in_channels, *widths[:-1]], widths, strict=True)
        self.pool = nn.MaxPool2d(2)
        self.encoder = nn.ModuleList(double_conv(before, after) for before, after in levels)
        item_dim = widths[-1]
        self.query = nn.Sequential(ConvNormRelu(*lowest), nn.Conv2d(item_dim, item_dim, 3, padding=1))
        self.bottleneck = double_conv(2 * item_dim, item_dim)
        self.decoder = nn.ModuleList(UpLevel(width) for width in reversed(widths[:-1]))
        self.head = nn.Conv2d(widths[0], parameters.channels, 3, padding=1)
        self.squash = nn.Tanh()

    def forward(self, inputs: Tensor, items: Tensor) -> Prediction:
        """Predict the last frame of each clip from the others.

        Args:
            inputs: (B, (T - 1) * K, H, W) in [-1, 1], oldest frame first.
            items: banks (B, M, C), or one bank (M, C) for all samples. They are read, not changed.
        """
        skips: list[Tensor] = []
        features = inputs
        for level in self.encoder:
            skips.append(level(features))
            features = self.pool(skips[-1])
        queries = self.query(features)
        reading = hold_against(queries, items)
        values = reading.values(self.parameters_of_shape.temperature)
        joined = cat_channels(reading.queries_BCN, values)
        features = self.bottleneck(joined.view(*joined.shape[:2], *queries.shape[2:]))
        for up in self.decoder:
            features = up(skips.pop(), features)
        return Prediction(self.squash(self.head(features)), reading)


class UpLevel(nn.Module):
    """One level of the decoder: double the size, join the encoder's map of that size, mix."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = UpNormRelu(2 * width, width)
        self.mix = double_conv(2 * width, width)

    def forward(self, skip: Tensor, features: Tensor) -> Tensor:
        """(B, C, H, W) and (B, 2C, H/2, W/2) to (B, C, H, W)."""
        mixed: Tensor = self.mix(cat_channels(skip, self.up(features)))
        return mixed


def split_clip(clip_BTKHW: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs (B, (T - 1) * K, H, W) and target (B, K, H, W) of clips."""
    return clip_BTKHW[:, :-1].flatten(1, 2), clip_BTKHW[:, -1]


def to_unit_range(images: Tensor) -> Tensor:
    """8-bit pixels to [-1, 1] as the published loader does: x / 127.5 - 1."""
    return images.to(torch.float32).div_(127.5).sub_(1.0)
