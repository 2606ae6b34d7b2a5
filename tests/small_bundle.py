"""A bundle small enough to make in a test: random weights, calibrated on its own little scene."""

from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from bundles.bundle import Bundle
from bundles.calibration import Calibration
from bundles.manifest import Manifest
from networks.memory import initial_items
from networks.mnad import MnadParameters, MnadPrediction
from workers.decode import DecodeLimits, FrameFormat, decode_frame
from workers.engine import Predictor, weights_of
from workers.scoring import fit_calibration

WIDTH, HEIGHT = 32, 24
PARAMETERS: dict[str, int] = {"width": 4, "depth": 3, "channels": 1, "clip_length": 5, "num_items": 6}


def small_bundle(seed: int = 0, gate_threshold: float | None = None) -> Bundle:
    """Width 4, depth 3, 32 x 24 grey. Its scores mean nothing, but they are computed for real."""
    manifest = Manifest(
        model="mnad-prediction",
        parameters=PARAMETERS,
        clip_length=5,
        width=WIDTH,
        height=HEIGHT,
        channels=1,
        fps=10,
        seed=seed,
        training_data_digest="0" * 64,
        software="tests",
    )
    calibration = _calibration(seed)
    if gate_threshold is not None:
        calibration = calibration.model_copy(update={"gate_threshold": gate_threshold})
    digest = f"{seed:064x}"
    return Bundle(manifest, weights_of(_network(seed)), _items(seed), calibration, digest)


def jpeg(camera: str, index: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A moving square on noise; from 7 to 9 s of every 9 s the noise is much stronger, which is the anomaly."""
    random = np.random.default_rng([index, *camera.encode()])
    noise = 60 if index % 90 >= 70 else 6
    image = random.normal(110, noise, (size[1], size[0])).clip(0, 255).astype(np.uint8)
    x = (3 * index + len(camera)) % (size[0] - 12)
    image[10:22, x : x + 12] = 230
    ok, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    assert ok
    return encoded.tobytes()


@lru_cache
def _calibration(seed: int) -> Calibration:
    """Fitted as the real one is: by the engine and the scorer, on calm frames."""
    network = _network(seed)
    predictor = Predictor(network, FrameFormat(WIDTH, HEIGHT, 1), device="cpu")
    images = [decode_frame(jpeg("calm", index), predictor.frame_format, DecodeLimits()) for index in range(70)]
    clips = [np.stack(images[index : index + 5]) for index in range(66)]
    items_BMC = np.repeat(_items(seed)[None], len(clips), axis=0)
    return fit_calibration([[result.measures for result in predictor.infer(clips, items_BMC)]], fps=10)


def _network(seed: int) -> MnadPrediction:
    torch.manual_seed(seed)
    return MnadPrediction(MnadParameters(**PARAMETERS)).eval()


def _items(seed: int) -> NDArray[np.float32]:
    shape = MnadParameters(**PARAMETERS)
    items: NDArray[np.float32] = initial_items(
        shape.num_items, shape.item_dim, torch.Generator().manual_seed(seed)
    ).numpy()
    return items
