"""A bundle for another camera without training: the same network, judged by that camera's own normal video."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bundles.bundle import Bundle, load_bundle, save_bundle
from inference.engine import Predictor, network_of
from inference.formats import ClipFormat, FrameFormat
from inference.scoring import StatisticOptions, evidence
from inference.steadiness import steadied
from schemas.errors import FatalError
from training.evaluation.measuring import calibrate, measure_videos
from training.footage.cameras import common_rate
from training.footage.dataset import CacheFormat, open_cache
from training.footage.material import long_enough, normal_footage

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CalibrateOptions:
    """How to measure.

    Attributes:
        cache: folder of decoded footage.
        camera: name the calibration bears; None = it is for any.
        image_fps: rate of footage that comes as folders of images.
        jpeg_quality: of the round trip a live frame makes; None = none.
        device, threads: of torch.
    """

    cache: Path
    camera: str | None = None
    image_fps: float = 10.0
    jpeg_quality: int | None = 90
    device: str = "auto"
    threads: int | None = None


def calibrate_bundle(path: Path, data: Path, out: Path, options: CalibrateOptions) -> Bundle:
    """Write a bundle with the weights and items of another, and a memory of a camera's own normal video.

    All of the video is used: the network has not been trained on it, so none need be held back.

    Args:
        path: folder of the bundle whose network looks.
        data: normal video of the camera; of a data set its normal part.
        out: folder to make; must not exist.
        options: how.

    Raises:
        FatalError: no or too little footage, or ``out`` exists; BundleError: the bundle.
    """
    if out.exists():
        raise FatalError(f"'{out}' must not exist yet; remove it or choose another name for the bundle")
    bundle = load_bundle(path)
    manifest = bundle.manifest
    frame = FrameFormat(manifest.width, manifest.height, manifest.channels)
    wanted = CacheFormat(frame, manifest.fps, options.image_fps, options.jpeg_quality)
    footage = open_cache(normal_footage(data), wanted, options.cache)
    clip = ClipFormat(manifest.clip_length, manifest.frame_stride)
    videos = long_enough(footage.videos, clip)
    predictor = Predictor(
        network_of(bundle), frame, options.device, options.threads, manifest.frame_stride, steady=steadied
    )
    results = measure_videos(predictor, footage, videos, bundle.items_MC)
    fps = common_rate(videos, manifest.fps)
    calibration = calibrate(results, fps, StatisticOptions(speed="remembered")).calibration
    named = calibration.model_copy(update={"cameras": (options.camera,) if options.camera else "any"})
    log.info("the calibration rests on %s", evidence(named))
    return save_bundle(out, replace(bundle, calibration=named), half_weights=_are_halves(bundle))


def _are_halves(bundle: Bundle) -> bool:
    """Whether the weights lose nothing in float16, as they were stored so."""
    return all(np.array_equal(values, values.astype(np.float16)) for values in bundle.weights.values())
