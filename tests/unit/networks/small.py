"""One network of every name, small enough for milliseconds."""

from typing import Any

import torch
from torch import Tensor, nn

from networks.memory import initial_items
from networks.network import VideoNetwork
from networks.registry import build_network

SMALL: dict[str, dict[str, Any]] = {
    "mnad-prediction": {"width": 4, "depth": 3, "channels": 1, "num_items": 3},
    "mnad-reconstruction": {"width": 4, "depth": 3, "clip_length": 1, "num_items": 3},
    "memae": {"widths": [4, 6, 8], "clip_length": 4, "num_items": 5, "shrink": 0.15},
    "mpn": {"width": 4, "depth": 3, "channels": 1, "num_prototypes": 3},
}
NAMES = sorted(SMALL)


def small_network(name: str, **changed: Any) -> VideoNetwork:
    """With running statistics that are not trivial, so that folding has something to get wrong."""
    torch.manual_seed(0)
    network = build_network(name, {**SMALL[name], **changed})
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.weight.data.uniform_(0.5, 1.5)
            module.running_var.uniform_(0.5, 1.5)
            module.running_mean.normal_(0, 0.2)
    return network


def clips_for(network: VideoNetwork, samples: int = 2, seed: int = 0) -> Tensor:
    """Random clips (B, T, K, H, W) in [-1, 1] of a size that fits."""
    shape, side = network.shape, network.shape.size_multiple
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(samples, shape.clip_length, shape.channels, 2 * side, 3 * side, generator=generator) * 2 - 1


def items_for(network: VideoNetwork) -> Tensor | None:
    """A bank, for networks that read one."""
    bank = network.bank_shape
    return initial_items(bank.num_items, bank.item_dim, torch.Generator().manual_seed(1)) if bank else None
