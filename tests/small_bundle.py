"""Bundles small enough to make in a test: random weights, calibrated on their own little scene."""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from bundles.bundle import Bundle
from bundles.calibration import Calibration
from bundles.manifest import Manifest
from inference.decode import DecodeLimits, decode_frame
from inference.engine import Predictor, weights_of
from inference.formats import FrameFormat
from inference.scoring import StatisticOptions
from networks.memory import initial_items
from networks.network import VideoNetwork
from networks.registry import build_network
from training.evaluation.measuring import calibrate

WIDTH, HEIGHT = 32, 24
FPS = 10.0
CALM_CAMERAS = ("calm", "a", "b")
CALM_FRAMES = 70
PARAMETERS: dict[str, dict[str, Any]] = {
    "mnad-prediction": {"width": 4, "depth": 3, "channels": 1, "clip_length": 5, "num_items": 6},
    "mnad-reconstruction": {"width": 4, "depth": 3, "channels": 1, "clip_length": 1, "num_items": 6},
    "memae": {"widths": [4, 6, 8], "channels": 1, "clip_length": 4, "num_items": 5, "shrink": 0.15},
    "mpn": {"width": 4, "depth": 3, "channels": 1, "clip_length": 5, "num_prototypes": 3},
}


def small_bundle(
    seed: int = 0, gate_threshold: float | None = None, model: str = "mnad-prediction", remembers: bool = False
) -> Bundle:
    """32 x 24 grey. Its scores mean nothing, but they are computed for real."""
    manifest = Manifest(
        model=model,
        parameters=PARAMETERS[model],
        clip_length=PARAMETERS[model]["clip_length"],
        width=WIDTH,
        height=HEIGHT,
        channels=1,
        fps=FPS,
        seed=seed,
        training_data_digest="0" * 64,
        software="tests",
    )
    calibration = _calibration(model, seed, remembers)
    if gate_threshold is not None:
        calibration = calibration.model_copy(update={"gate_threshold": gate_threshold})
    network = _network(model, seed)
    return Bundle(manifest, weights_of(network), _items(network, seed), calibration, digest=f"{seed:064x}")


def jpeg(camera: str, index: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A square that goes to and fro on noise; from 7 to 9 s of every 9 s the noise is much stronger: the anomaly."""
    random = np.random.default_rng([index, *camera.encode()])
    noise = 60 if index % 90 >= 70 else 6
    image = random.normal(110, noise, (size[1], size[0])).clip(0, 255).astype(np.uint8)
    reach = size[0] - 12
    x = reach - abs((3 * index + len(camera)) % (2 * reach) - reach)  # without a jump, which would count as speed
    image[10:22, x : x + 12] = 230
    ok, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    assert ok
    return encoded.tobytes()


@lru_cache
def _calibration(model: str, seed: int, remembers: bool) -> Calibration:
    """Fitted as the real one is: by the engine and the scorer, on calm frames."""
    network = _network(model, seed)
    predictor = Predictor(network, FrameFormat(WIDTH, HEIGHT, 1), device="cpu")
    videos = [_calm_clips(camera, predictor) for camera in CALM_CAMERAS]
    items_MC = _items(network, seed)
    results = [predictor.infer(clips, np.repeat(items_MC[None], len(clips), axis=0)) for clips in videos]
    statistic = StatisticOptions(speed="remembered") if remembers else StatisticOptions()
    return calibrate(results, FPS, statistic).calibration


def _calm_clips(camera: str, predictor: Predictor) -> list[NDArray[np.uint8]]:
    length = predictor.clip_format.length
    images = [decode_frame(jpeg(camera, n), predictor.frame_format, DecodeLimits()) for n in range(CALM_FRAMES)]
    return [np.stack(images[first : first + length]) for first in range(CALM_FRAMES - length + 1)]


def _network(model: str, seed: int) -> VideoNetwork:
    torch.manual_seed(seed)
    return build_network(model, PARAMETERS[model]).eval()


def _items(network: VideoNetwork, seed: int) -> NDArray[np.float32]:
    bank = network.bank_shape
    if bank is None:
        return np.zeros((0, 0), np.float32)
    generator = torch.Generator().manual_seed(seed)
    return np.asarray(initial_items(bank.num_items, bank.item_dim, generator).numpy(), np.float32)
