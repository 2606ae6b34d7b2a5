"""MNAD's prediction network against the published implementation: every layer, a training step, five Adam steps."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from networks.losses import Losses, LossWeights, training_losses
from networks.measures import psnr_db, regular_score, squared_error
from networks.memory import updated
from networks.mnad import MnadPrediction, Prediction
from tests.golden.networks_from_recipe import prediction_network
from tests.golden.reference import TOLERANCE, Array, arrays, clip, close, items, probe, recipe, stats

LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.Tanh)


class Observed:
    """Statistics of every layer's output, in the order of the forward pass."""

    def __init__(self, network: nn.Module) -> None:
        self.stats: list[Array] = []
        self.probes: list[Array] = []
        for module in network.modules():
            if isinstance(module, LAYERS):
                module.register_forward_hook(self._note)

    def _note(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        self.stats.append(stats(output))
        self.probes.append(probe(output, 16))


def forward(network: MnadPrediction, clips: Tensor, items_MC: Tensor) -> tuple[Prediction, Tensor]:
    prediction = network(clips[:, :12], items_MC)
    return prediction, clips[:, 12:]


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    arrays("mnad_pred_net")
    return recipe("mnad_pred_net")


def reference_clip(told: dict[str, Any]) -> Tensor:
    clips = clip(**told["clip"])
    check = np.append(probe(clips, 15), clips.numpy().astype(np.float64).sum())
    close(check, arrays("mnad_pred_net")["clip_check"])
    return clips


@torch.inference_mode()
def test_evaluation_mode(told: dict[str, Any]) -> None:
    wanted = arrays("mnad_pred_net")
    network = prediction_network().eval()
    observed = Observed(network)
    prediction, target = forward(network, reference_clip(told), items(**told["items"]))
    assert len(observed.stats) == len(told["layers"])
    for name, found, layer in zip(told["layers"], observed.stats, wanted["eval_layer_stats"], strict=True):
        assert np.abs(found - layer).max() <= 1e-5 * np.abs(layer).max(), name
    for name, found, layer in zip(told["layers"], observed.probes, wanted["eval_layer_probe"], strict=True):
        assert np.abs(found - layer).max() <= 1e-5 * np.abs(layer).max(), name
    close(prediction.image_BKHW, wanted["eval_out"])
    check_memory(prediction, wanted)
    error = squared_error(prediction.image_BKHW, target)
    close(error.mean(dim=(1, 2, 3)), wanted["eval_mse01"])
    close(psnr_db(error), wanted["eval_psnr"])
    close(regular_score(error), wanted["eval_point_score"])


def check_memory(prediction: Prediction, wanted: dict[str, Array]) -> None:
    reading = prediction.reading
    similarity = reading.similarity_BMN.permute(0, 2, 1).flatten(0, 1)
    close(similarity.softmax(dim=0), wanted["eval_score_query"])
    close(similarity.softmax(dim=1), wanted["eval_score_memory"])
    close(probe(torch.cat([reading.queries_BCN, reading.values()], dim=1), 256), wanted["eval_updated_fea_probe"])
    close(reading.distance().mean(), wanted["eval_compact"])


@torch.inference_mode()
def test_query_map(told: dict[str, Any]) -> None:
    network = prediction_network().eval()
    maps: list[Tensor] = []
    network.query.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    forward(network, reference_clip(told), items(**told["items"]))
    close(probe(maps[0], 256), arrays("mnad_pred_net")["eval_fea_probe"])


@torch.inference_mode()
def test_full_size(told: dict[str, Any]) -> None:
    wanted = arrays("mnad_pred_net")
    network = prediction_network().eval()
    observed = Observed(network)
    prediction, _ = forward(network, clip(**told["full_clip"]), items(**told["items"]))
    close(np.stack(observed.stats), wanted["full_layer_stats"])
    close(np.stack(observed.probes), wanted["full_layer_probe"])
    row, column, size = (told["full_crop"][key] for key in ("row", "col", "size"))
    close(prediction.image_BKHW[:, :, row : row + size, column : column + size], wanted["full_out_crop"])
    close(stats(prediction.image_BKHW), wanted["full_out_stats"])
    close(prediction.reading.distance().mean(), wanted["full_compact"])
    similarity = prediction.reading.similarity_BMN.permute(0, 2, 1).flatten(0, 1)
    close(similarity.softmax(dim=1), wanted["full_score_memory"])


def loss_weights(told: dict[str, Any]) -> LossWeights:
    return LossWeights(told["adam"]["weight_compact"], told["adam"]["weight_separate"])


def as_array(losses: Losses) -> Tensor:
    return torch.stack([losses.pixel, losses.compactness, losses.separateness, losses.total])


TRAINING_TOLERANCES = [
    pytest.param(torch.float64, "train64_", (TOLERANCE,) * 4, id="double"),
    pytest.param(torch.float32, "train_", (2e-4, 1e-5, 5e-3, 1e-4), id="single"),
]


@pytest.mark.parametrize(("dtype", "prefix", "tolerances"), TRAINING_TOLERANCES)
def test_training_step(
    told: dict[str, Any], dtype: torch.dtype, prefix: str, tolerances: tuple[float, float, float, float]
) -> None:
    output, state, gradient, norm = tolerances
    network = prediction_network().to(dtype).train()
    items_MC = items(**told["items"]).to(dtype)
    prediction, target = forward(network, reference_clip(told).to(dtype), items_MC)
    losses = training_losses(prediction, target, loss_weights(told))
    losses.total.backward()
    wanted = {key[len(prefix) :]: v for key, v in arrays("mnad_pred_net").items() if key.startswith(prefix)}
    close(prediction.image_BKHW, wanted["out"], output)
    close(as_array(losses), wanted["losses"], state)
    close(updated(items_MC, prediction.reading.statistics()), wanted["items_after"], state)
    check_gradients(network, told, wanted, gradient)
    check_running_statistics(network, wanted, norm)


def check_gradients(network: MnadPrediction, told: dict[str, Any], wanted: dict[str, Array], tolerance: float) -> None:
    gradients = [parameter.grad for parameter in network.parameters()]
    assert len(gradients) == len(told["grad_names"])
    vanish = {name for name in told["grad_names"] if name.endswith("bias") and has_norm(name, told["grad_names"])}
    for name, grad, length in zip(told["grad_names"], gradients, wanted["grad_l2"], strict=True):
        if name in vanish:
            continue
        assert grad is not None
        assert abs(float(grad.norm()) - length) <= tolerance * length, name
    if tolerance <= TOLERANCE:  # single values carry more noise than lengths in single precision
        kept = [index for index, name in enumerate(told["grad_names"]) if name not in vanish]
        found = np.stack([probe(cast(Tensor, grad), 8) for grad in gradients])
        close(found[kept], wanted["grad_probe"][kept])


def has_norm(bias: str, names: list[str]) -> bool:
    """Whether the layer of this bias is followed by batch norm, so that its gradient is zero in exact arithmetic."""
    return bias.replace("deconv.bias", "bn.gamma").replace("conv_", "bn_").replace(".bias", ".gamma") in names


def check_running_statistics(network: MnadPrediction, wanted: dict[str, Array], tolerance: float) -> None:
    running = [values for name, values in network.named_buffers() if "running" in name]
    close(torch.stack([values.norm() for values in running]), wanted["bn_l2"], tolerance)
    close(np.stack([probe(values, 8) for values in running]), wanted["bn_probe"], tolerance)


@pytest.mark.parametrize(("dtype", "prefix"), [(torch.float64, "adam64_"), (torch.float32, "adam_")])
def test_five_adam_steps(told: dict[str, Any], dtype: torch.dtype, prefix: str) -> None:
    """In single precision a query near two items may flip from one to the other, so there only the losses are held."""
    wanted = arrays("mnad_pred_net")
    adam = told["adam"]
    network = prediction_network().to(dtype).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=adam["lr"], betas=tuple(adam["betas"]), eps=adam["eps"])
    items_MC = items(**told["items"]).to(dtype)
    for step, seed in enumerate(adam["seeds"]):
        prediction, target = forward(network, clip(seed, told["clip"]["shape"]).to(dtype), items_MC)
        losses = training_losses(prediction, target, loss_weights(told))
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        items_MC = updated(items_MC, prediction.reading.statistics())
        close(as_array(losses), wanted[prefix + "losses"][step], 1e-5 if dtype == torch.float64 else 1e-2)
        if dtype == torch.float64:
            close(items_MC, wanted["adam64_items"][step])
