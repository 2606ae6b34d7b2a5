"""Networks with the parameters of the reference recipe, and what the files say of their layers and gradients."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from networks.mnad import MnadPrediction
from networks.network import Losses, VideoNetwork
from networks.registry import build_network, load_in_forward_order
from tests.golden.reference import Array, arrays, clip, parameter, probe, recipe, stats, warm_up_tanh

SINGLE = {"out": 2e-4, "out_probe": 2e-4, "out_stats": 2e-4, "grad_l2": 5e-3, "grad_probe": 2e-2}
SINGLE |= {"bn_l2": 1e-4, "bn_probe": 1e-4}
"""Single elements of a gradient depend on the convolution kernels that a CPU has (7.4e-3 off with AVX2 alone). Their
norms do not, and in double precision all agree to 1e-5."""
PRECISIONS = [
    pytest.param(torch.float64, "train64_", {}, id="double"),
    pytest.param(torch.float32, "train_", SINGLE, id="single"),
]
"""Of one training step: type, prefix of the arrays, tolerances."""
ADAM = [
    pytest.param(torch.float64, "adam64_", {}, id="double"),
    pytest.param(torch.float32, "adam_", {"losses": 1e-2}, id="single"),
]
"""Of a few steps of Adam."""
LAYERS = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.ReLU,
    nn.LeakyReLU,
    nn.MaxPool2d,
    nn.Tanh,
)


def network_from_recipe(name: str, file: str, seed: int | None = None, **changed: Any) -> VideoNetwork:
    """The published size; parameters are filled in the order of the forward pass. Skips where there is no recipe."""
    arrays(file)
    warm_up_tanh()
    network = build_network(name, changed)
    load_in_forward_order(network, drawn(file, seed))
    return network


@lru_cache(maxsize=2)
def drawn(file: str, seed: int | None) -> list[Tensor]:
    """All parameters by the recipe; of its own seed, checked against the sums it gives."""
    told = recipe(file)
    tensors = [parameter(entry, told["seed"] if seed is None else seed) for entry in told["parameters"]]
    if seed is None:
        wanted = [entry["sum"] for entry in told["parameters"]]
        assert np.allclose([values.astype(np.float64).sum() for values in tensors], wanted, rtol=1e-9, atol=1e-6)
    return [torch.from_numpy(values) for values in tensors]


def prediction_network(seed: int | None = None) -> MnadPrediction:
    """MNAD's, of the published size."""
    network = network_from_recipe("mnad-prediction", "mnad_pred_net", seed)
    assert isinstance(network, MnadPrediction)
    return network


class Observed:
    """Statistics of every layer's output, in the order of the forward pass."""

    def __init__(self, network: nn.Module) -> None:
        self.outputs: list[Tensor] = []
        for module in network.modules():
            if isinstance(module, LAYERS):
                self.listen(module, lambda _inputs, output: output)

    def listen(self, module: nn.Module, seen: Callable[[Any, Any], Tensor]) -> None:
        """Note what ``seen`` makes of a module's inputs and output."""

        def note(_module: nn.Module, inputs: Any, output: Any) -> None:
            values = seen(inputs, output)
            self.outputs.append(values.detach().clone())

        module.register_forward_hook(note)

    def found(self, wanted: dict[str, Array]) -> dict[str, Array]:
        """As the files name them, with as many values of each layer as ``wanted`` has."""
        count = wanted["layer_probe"].shape[1]
        probes = [probe(values, count) for values in self.outputs]
        return {"layer_stats": np.stack([stats(values) for values in self.outputs]), "layer_probe": np.stack(probes)}


def gradients(network: nn.Module, told: dict[str, Any], wanted: dict[str, Array]) -> dict[str, Array]:
    """Length and probe of each parameter's gradient.

    Those that are zero in exact arithmetic, of biases right before a batch norm, are taken from ``wanted``.
    """
    names: list[str] = told["grad_names"]
    found = [values.grad for values in network.parameters()]
    assert len(found) == len(names)
    lengths, probes = wanted["grad_l2"].astype(np.float64), wanted["grad_probe"].astype(np.float64)
    for index, (name, grad) in enumerate(zip(names, found, strict=True)):
        assert grad is not None, name
        if not precedes_norm(name, names):
            lengths[index], probes[index] = float(grad.norm()), probe(grad, probes.shape[1])
    return {"grad_l2": lengths, "grad_probe": probes}


def precedes_norm(bias: str, names: list[str]) -> bool:
    """Whether this is the bias of a layer that batch norm follows."""
    norm = bias.replace("deconv.bias", "bn.gamma").replace("conv.bias", "bn.gamma")
    return bias.endswith("bias") and norm.replace("conv_", "bn_").replace(".bias", ".gamma") in names


def running_statistics(network: nn.Module, wanted: dict[str, Array]) -> dict[str, Array]:
    """Length and probe of each batch norm's running mean and variance."""
    running = [values for name, values in network.named_buffers() if "running" in name]
    return {
        "bn_l2": np.array([float(values.norm()) for values in running]),
        "bn_probe": np.stack([probe(values, wanted["bn_probe"].shape[1]) for values in running]),
    }


def as_array(losses: Losses) -> Tensor:
    """Terms in their order, then the total."""
    return torch.stack([*losses.terms.values(), losses.total])


def losses_of_adam_steps(
    network: nn.Module, told: dict[str, Any], losses_on: Callable[[Tensor], Losses], dtype: torch.dtype
) -> Tensor:
    """One row per step on a fresh clip, ``as_array`` of what it began with."""
    optimizer = torch.optim.Adam(network.parameters(), lr=told["adam"]["lr"])
    rows = []
    for seed in told["adam"]["seeds"]:
        losses = losses_on(clip(seed, told["clip"]["shape"]).to(dtype))
        rows.append(as_array(losses).detach())
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    return torch.stack(rows)
