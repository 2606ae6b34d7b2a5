"""From a folder of normal video to a bundle: decode, train, calibrate on what was held back, write."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bundles.bundle import Bundle, half_rounded, save_bundle
from bundles.calibration import Calibration
from bundles.manifest import Manifest
from memory_store.proposal import Float32
from networks.mnad import MnadPrediction
from networks.registry import build_network
from schemas.errors import FatalError
from training.dataset import CacheFormat, FrameCache, open_cache
from training.decoding import is_grey
from training.inspection import measure_videos
from training.loop import CHECKPOINT, LoopOptions, Recorder, TrainingState, num_steps, run_training
from training.presets import Preset
from training.sources import find_sources
from training.split import Split, clip_starts, split_videos
from workers.decode import FrameFormat
from workers.engine import Predictor, weights_of
from workers.scoring import StatisticOptions, fit_calibration

log = logging.getLogger(__name__)

MODEL = "mnad-prediction"
SETTINGS = "settings.json"


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How to run a training, as opposed to what to train (that is the preset).

    Attributes:
        run: folder of checkpoints; a run that was broken off goes on from there.
        cache: folder of decoded footage.
        seed: of weights, items and the order of clips.
        device: "auto" or a torch device name.
        threads: of torch; None = its own choice.
        fps: frames a second to keep of the footage; None = all.
        image_fps: rate of footage that comes as folders of images.
        jpeg_quality: at which producers will send; None = frames are used as they are.
        cameras: ids of the cameras the footage is from; none = "any".
        tensorboard: folder for loss curves; None = none.
    """

    run: Path
    cache: Path
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    fps: float | None = None
    image_fps: float = 10.0
    jpeg_quality: int | None = 90
    cameras: tuple[str, ...] = ()
    tensorboard: Path | None = None


def train(data: Path, out: Path, preset: Preset, options: TrainOptions) -> Path:
    """Train on all footage under ``data`` and write a bundle.

    Args:
        data: folder of videos, or of folders of images, that show normal scenes only.
        out: folder to make.
        preset: what to train.
        options: how.

    Returns:
        ``out``.

    Raises:
        FatalError: no or too little footage, ``out`` exists, or the run folder belongs to other settings.
    """
    if out.exists():
        raise FatalError(f"'{out}' must not exist yet; remove it or choose another name for the bundle")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    preset = with_channels(preset, data)
    frame = FrameFormat(preset.width, preset.height, preset.network.channels)
    wanted = CacheFormat(frame, options.fps, options.image_fps, options.jpeg_quality)
    footage = open_cache(find_sources(data), wanted, options.cache)
    split = split_videos(footage.videos)
    starts = clip_starts(split.training, preset.network.clip_length, at_least=preset.batch)
    clip_starts(split.held_back, preset.network.clip_length, at_least=2)
    claim_run(options.run, preset, footage.digest, options)
    log.info("%d clips, %d steps, held back %s", len(starts), num_steps(len(starts), preset), split.held_back)
    parameters = asdict(preset.network)
    loop = LoopOptions(options.run, options.seed, device, _recorder(options.tensorboard))
    state = run_training(footage, starts, preset, lambda: build_network(MODEL, parameters), loop)
    bundle = _bundle(state, footage, split, preset, options, device)
    save_bundle(out, bundle, preset.half_weights)
    return out


def with_channels(preset: Preset, data: Path) -> Preset:
    """The preset with its number of channels settled; "source" looks at the first video."""
    grey = is_grey(find_sources(data)[0]) if preset.colour == "source" else preset.colour == "grey"
    return replace(preset, network=replace(preset.network, channels=1 if grey else 3))


def claim_run(run: Path, preset: Preset, data_digest: str, options: TrainOptions) -> None:
    """Note what a run folder is for, so that nobody goes on from another training's checkpoint.

    Raises:
        FatalError: the folder holds a training with other settings.
    """
    told = {"preset": asdict(preset), "data": data_digest, "seed": options.seed}
    settings: Mapping[str, Any] = json.loads(json.dumps(told))
    path = run / SETTINGS
    if not path.exists():
        if (run / CHECKPOINT).exists():
            raise FatalError(f"a checkpoint must have its '{SETTINGS}' beside it, '{run}' has none; remove that folder")
        run.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings, indent=1))
        return
    found = json.loads(path.read_text())
    differ = sorted(name for name in settings.keys() | found.keys() if settings.get(name) != found.get(name))
    if differ:
        text = f"a run must go on with the settings it began with, '{run}' differs in {', '.join(differ)}"
        raise FatalError(f"{text}; remove it or choose another run folder")


def _bundle(
    state: TrainingState, footage: FrameCache, split: Split, preset: Preset, options: TrainOptions, device: str
) -> Bundle:
    weights = weights_of(state.network)
    if preset.half_weights:
        weights = half_rounded(weights)
        half = {name: torch.from_numpy(values).to(device) for name, values in weights.items()}
        state.network.load_state_dict(half, strict=False)
    items_MC = np.ascontiguousarray(state.items_MC.cpu().numpy())
    calibration = calibrate(state.network, items_MC, footage, split, preset.statistic, options)
    manifest = Manifest(
        model=MODEL,
        parameters=asdict(preset.network),
        clip_length=preset.network.clip_length,
        width=preset.width,
        height=preset.height,
        channels=1 if preset.network.channels == 1 else 3,
        fps=calibration.fps,
        seed=options.seed,
        training_data_digest=footage.digest,
        software=f"engram {software_version()}",
    )
    return Bundle(manifest, weights, items_MC, calibration, digest="")


def calibrate(
    network: MnadPrediction,
    items_MC: Float32,
    footage: FrameCache,
    split: Split,
    statistic: StatisticOptions,
    options: TrainOptions,
) -> Calibration:
    """Fit the calibration on the held-back footage with the code that scores live."""
    _, height, width, channels = footage.frames_FHWC.shape
    predictor = Predictor(network, FrameFormat(width, height, channels), options.device, options.threads)
    results = measure_videos(predictor, footage, split.held_back, items_MC)
    measures = [[result.measures for result in video] for video in results]
    fitted = fit_calibration(measures, split.held_back[0].fps, statistic)
    return fitted.model_copy(update={"cameras": options.cameras}) if options.cameras else fitted


def software_version() -> str:
    """Version of the installed package; "unknown" when run from a bare checkout."""
    try:
        return version("engram")
    except PackageNotFoundError:
        return "unknown"


def _recorder(folder: Path | None) -> Recorder | None:
    if folder is None:
        return None
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an optional dependency, slow to import

    writer: Recorder = SummaryWriter(str(folder))
    return writer
