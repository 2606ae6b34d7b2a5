"""Frames a second of each backend on the CPU: the shipped bundle, and the light MNAD network at 192 x 128.

Exports are made here; in 8 bits with ranges from invented clips, which is enough to know the time that it takes.
"""

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.timing import latencies, print_rates
from bundles.bundle import load_bundle
from engram.build.shipped import WALKWAY, shipped_bundle
from inference.backends.backend import Backend
from inference.backends.choose import export_backend
from inference.backends.torch import TorchBackend
from inference.engine import network_of
from inference.formats import FrameFormat
from networks.memory import initial_items
from networks.network import VideoNetwork
from networks.registry import NETWORKS, build_network
from schemas.arrays import Float32, UInt8
from training.export.footage import invented_clips
from training.export.formats import onnx_files, openvino_files, openvino_model
from training.export.quantising import quantised
from training.export.tracing import traced

THREADS = 1
BATCHES, ROUNDS, RANGE_CLIPS = (1, 8), 15, 20


def run() -> None:
    """One table per network and batch; each backend in turn, so that a drifting machine slows all alike."""
    bundle = load_bundle(shipped_bundle(WALKWAY))
    manifest = bundle.manifest
    frame = FrameFormat(manifest.width, manifest.height, manifest.channels)
    compare("shipped bundle", network_of(bundle), frame, bundle.items_MC)
    recipe = NETWORKS["mnad-prediction"].recipes["light"]
    network = build_network("mnad-prediction", {**recipe.parameters, "channels": 1}).eval()
    bank = network.bank_shape
    assert bank is not None, "MNAD reads a bank"
    items_MC = initial_items(bank.num_items, bank.item_dim).numpy()
    compare("light MNAD", network, FrameFormat(recipe.width, recipe.height, 1), items_MC)


def compare(name: str, network: VideoNetwork, frame: FrameFormat, items_MC: Float32, rounds: int = ROUNDS) -> None:
    """Print one table per batch, of a network in evaluation mode."""
    clips = invented_clips(frame, network.shape.clip_length, max(*BATCHES, RANGE_CLIPS))
    backends = _backends(network, frame, clips, items_MC)
    for batch in BATCHES:
        items_BMC = np.repeat(items_MC[None], batch, axis=0)
        contenders = {kind: _call(backend, clips[:batch], items_BMC) for kind, backend in backends.items()}
        title = f"{name}, {frame.width} x {frame.height} grey, batch of {batch}, {THREADS} thread(s)"
        print_rates(title, latencies(contenders, rounds), batch)


def _backends(network: VideoNetwork, frame: FrameFormat, clips: UInt8, items_MC: Float32) -> dict[str, Backend]:
    program = traced(network, frame)
    model = openvino_model(program)
    eight = quantised(model, clips[:RANGE_CLIPS], items_MC)
    return {
        "torch (baseline)": TorchBackend(network, torch.device("cpu"), THREADS),
        "onnx": export_backend("onnx", onnx_files(program), THREADS),
        "openvino": export_backend("openvino", openvino_files(model), THREADS),
        "openvino-int8": export_backend("openvino-int8", openvino_files(eight), THREADS),
    }


def _call(backend: Backend, clips: UInt8, items_BMC: Float32) -> Callable[[], object]:
    return lambda: backend(clips, items_BMC)
