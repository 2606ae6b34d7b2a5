"""Time of MPN's prototype unit against the plain formulation, and of one frame through each light network."""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import Figure, latencies
from networks.blocks import fold_batch_norm
from networks.memory import initial_items
from networks.mpn import PrototypeUnit
from networks.network import VideoNetwork
from networks.registry import NETWORKS, build_network

UNIT_SIZES = {"light, 32 x 128 x 192": (32, 128, 192), "paper, 128 x 256 x 256": (128, 256, 256)}
PROTOTYPES = 10
UNIT_ROUNDS, NETWORK_ROUNDS = 7, 15


def run() -> None:
    """The sizes of the README."""
    compare(UNIT_SIZES, tuple(NETWORKS), UNIT_ROUNDS, NETWORK_ROUNDS)


def compare(sizes: Mapping[str, tuple[int, int, int]], names: Sequence[str], unit_rounds: int, rounds: int) -> None:
    """On one thread, so that figures do not depend on what else the machine does with the others.

    Args:
        sizes: C, H, W of the prototype unit, by what is printed.
        names: of the networks to time.
        unit_rounds: calls of each form of the unit.
        rounds: calls of each network.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for name, (channels, height, width) in sizes.items():
                _compare_units(name, F.normalize(torch.rand(1, channels, height, width), dim=1), unit_rounds)
            _compare_networks(names, rounds)
    finally:
        torch.set_num_threads(threads)


def _compare_units(size: str, features_BCHW: Tensor, rounds: int) -> None:
    unit = PrototypeUnit(features_BCHW.shape[1], PROTOTYPES)
    contenders = {
        "plain: B x N x M x C temporaries": lambda: plain_unit(features_BCHW, unit.heads.weight),
        "products of matrices": lambda: _recall(unit, features_BCHW),
    }
    worst = max(float((a - b).abs().max()) for a, b in zip(*(call() for call in contenders.values()), strict=True))
    _print(f"MPN's prototype unit, {size}; results differ by {worst:.0e}", latencies(contenders, rounds))


def _compare_networks(chosen: Sequence[str], rounds: int) -> None:
    prepared = {name: _prepared(name) for name in chosen}
    names = {name: f"{name}, {_gmac(call):.2f} GMAC" for name, call in prepared.items()}
    figures = latencies({names[name]: call for name, call in prepared.items()}, rounds)
    _print("One scored frame, light preset, grey, batch norm folded", figures)


def _prepared(name: str) -> Callable[[], Tensor]:
    recipe = NETWORKS[name].recipes["light"]
    network = build_network(name, {**recipe.parameters, "channels": 1}).eval()
    fold_batch_norm(network)
    inputs, _ = network.split(torch.rand(1, network.shape.clip_length, 1, recipe.height, recipe.width) * 2 - 1)
    if inputs.dim() == 4:
        network.to(memory_format=torch.channels_last)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    items = _bank(network)
    return lambda: network(inputs, items).feature_map()


def _bank(network: VideoNetwork) -> Tensor | None:
    bank = network.bank_shape
    return initial_items(bank.num_items, bank.item_dim) if bank else None


def _gmac(call: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops()) / 2e9


def _recall(unit: PrototypeUnit, features_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    reading, _ = unit(features_BCHW)
    return reading.values(), reading.distance_map()


def plain_unit(features_BCHW: Tensor, heads_MC: Tensor) -> tuple[Tensor, Tensor]:
    """What is recalled (B, C, N) and the error of each pixel (B, N), with two B x N x M x C temporaries."""
    x_BNC = features_BCHW.flatten(2).mT
    attention_BNM = torch.softmax(x_BNC @ heads_MC.T, dim=1)
    prototypes_BMC = F.normalize((attention_BNM.unsqueeze(3) * x_BNC.unsqueeze(2)).sum(dim=1), dim=2)
    score_BNM = x_BNC @ prototypes_BMC.mT
    recalled_BNC = (torch.softmax(score_BNM, dim=2).unsqueeze(3) * prototypes_BMC.unsqueeze(1)).sum(dim=2)
    nearest_BNC = torch.gather(prototypes_BMC, 1, score_BNM.argmax(dim=2, keepdim=True).expand_as(x_BNC))
    return recalled_BNC.mT, (x_BNC - nearest_BNC).square().mean(dim=2)


def _print(title: str, figures: list[Figure]) -> None:
    table = Table("what", "median ms", "ratio", title=title, title_justify="left")
    for figure in figures:
        table.add_row(figure.name, f"{figure.median_s * 1e3:.1f}", f"{figure.median_s / figures[0].median_s:.2f}")
    Console().print(table)
