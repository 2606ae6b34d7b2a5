"""Layers that the networks share, and folding of batch norm into the convolution before it."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class ConvNormRelu(nn.Sequential):
    """3x3 convolution, batch norm, ReLU; keeps height and width."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)
        )


class UpNormRelu(nn.Sequential):
    """Transposed 3x3 convolution with stride 2, batch norm, ReLU; exactly doubles height and width."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two ``ConvNormRelu`` in a row."""
    return nn.Sequential(ConvNormRelu(in_channels, out_channels), ConvNormRelu(out_channels, out_channels))


@torch.no_grad()
def fold_batch_norm(network: nn.Module) -> None:
    """Replace, in place, each convolution + batch norm by one convolution that computes the same in evaluation mode.

    Saves a pass over memory per layer. The network must be in evaluation mode and is of no use for training afterwards.
    """
    for module in network.modules():
        if isinstance(module, ConvNormRelu | UpNormRelu) and isinstance(module[1], nn.BatchNorm2d):
            transposed = isinstance(module, UpNormRelu)
            convolution = cast(nn.Conv2d | nn.ConvTranspose2d, module[0])
            module[0] = fuse_conv_bn_eval(convolution, module[1], transpose=transposed)
            module[1] = nn.Identity()


def cat_channels(*maps: Tensor) -> Tensor:
    """Concatenate feature maps (B, C, H, W) along their channels."""
    return torch.cat(maps, dim=1)
