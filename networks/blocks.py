"""Layers that the networks share, and folding of batch norm into the convolution before it."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_eval


class NormedConvolution(nn.Sequential):
    """Convolution of any kind, batch norm, activation: what ``fold_batch_norm`` makes one convolution of."""

    def __init__(self, convolution: nn.Module, norm: nn.Module, activation: nn.Module) -> None:
        super().__init__(convolution, norm, activation)


class ConvNormRelu(NormedConvolution):
    """3x3 convolution, batch norm, ReLU; keeps height and width."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(conv(in_channels, out_channels), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class UpNormRelu(NormedConvolution):
    """Transposed 3x3 convolution with stride 2, batch norm, ReLU; exactly doubles height and width."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(doubling(in_channels, out_channels), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class SkipLevel(nn.Module):
    """One level of a predicting decoder: double the size, join the encoder's map of that size, mix."""

    def __init__(self, up: nn.Module, mix: nn.Module) -> None:
        super().__init__()
        self.up = up
        self.mix = mix

    def forward(self, skip: Tensor, features: Tensor) -> Tensor:
        """(B, C, H, W) and a map of half the size, to (B, C', H, W)."""
        mixed: Tensor = self.mix(cat_channels(skip, self.up(features)))
        return mixed


def conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """3x3 convolution that keeps height and width."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def doubling(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """Transposed 3x3 convolution that exactly doubles height and width."""
    return nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two ``ConvNormRelu`` in a row."""
    return nn.Sequential(ConvNormRelu(in_channels, out_channels), ConvNormRelu(out_channels, out_channels))


@torch.no_grad()
def fold_batch_norm(network: nn.Module) -> None:
    """Replace, in place, each convolution + batch norm by one convolution that computes the same in evaluation mode.

    Saves a pass over memory per layer. The network must be in evaluation mode and is of no use for training afterwards.
    """
    for module in network.modules():
        if isinstance(module, NormedConvolution) and isinstance(module[1], _BatchNorm):
            convolution = cast(_ConvNd, module[0])
            module[0] = fuse_conv_bn_eval(convolution, module[1], transpose=convolution.transposed)
            module[1] = nn.Identity()


def cat_channels(*maps: Tensor) -> Tensor:
    """Concatenate feature maps (B, C, H, W) along their channels."""
    return torch.cat(maps, dim=1)


def channels_last(values: Tensor) -> Tensor:
    """The memory order that convolutions are fastest in, for images, clips, and weights of either."""
    orders = {4: torch.channels_last, 5: torch.channels_last_3d}
    return values.contiguous(memory_format=orders[values.dim()]) if values.dim() in orders else values


def to_channels_last(network: nn.Module) -> None:
    """Bring all weights into that order, in place."""
    for weights in network.parameters():
        weights.data = channels_last(weights.data)
