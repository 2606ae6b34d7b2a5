"""Networks by the name a bundle gives them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from networks.memae import Memae
from networks.mnad import MnadPrediction, MnadReconstruction
from networks.mpn import Mpn
from networks.network import VideoNetwork

NETWORKS: dict[str, type[VideoNetwork]] = {
    network.name: network
    for network in (
        MnadPrediction,
        MnadReconstruction,
        Memae,
        Mpn,
    )
}

NOT_STORED = "num_batches_tracked"
"""Batch norm's step counter: of no use once trained."""


def network_class(name: str) -> type[VideoNetwork]:
    """The class of a network.

    Raises:
        ValueError: no network of this name.
    """
    if name not in NETWORKS:
        raise ValueError(f"model must be one of {sorted(NETWORKS)}, got '{name}'; train the bundle with this version")
    return NETWORKS[name]


def build_network(name: str, parameters: Mapping[str, Any] | None = None) -> VideoNetwork:
    """A freshly initialised network.

    Args:
        name: a key of ``NETWORKS``.
        parameters: keyword arguments of the family's parameter class, as stored in a bundle's manifest; those not
            given are the paper's.

    Raises:
        ValueError: no network of this name.
        TypeError: a parameter it does not have.
    """
    network = network_class(name)
    return network(network.parameters_type(**(parameters or {})))


@torch.no_grad()
def load_in_forward_order(network: VideoNetwork, tensors: Sequence[Tensor]) -> None:
    """Fill all parameters and running statistics, in the order of the forward pass.

    A batch norm's are weight, bias, running mean, running variance.

    Raises:
        ValueError: not as many tensors, or not of the shapes, that the network has.
    """
    targets = {name: values for name, values in network.state_dict().items() if not name.endswith(NOT_STORED)}
    found, wanted = [tuple(values.shape) for values in tensors], [tuple(values.shape) for values in targets.values()]
    if found != wanted:
        wrong = next((n for n, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), len(wanted))
        text = f"tensors must be the {len(wanted)} of '{network.name}' in forward order, got {len(found)}"
        raise ValueError(f"{text}; the first that does not fit is number {wrong}")
    for target, values in zip(targets.values(), tensors, strict=True):
        target.copy_(values)
