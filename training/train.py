"""From a folder of normal video to a bundle: decode, train, calibrate on what was held back, write, report."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from bundles.bundle import Bundle, half_rounded, save_bundle
from bundles.manifest import Manifest
from inference.engine import Predictor, weights_of
from inference.evidence import PARENT_FRAMES
from inference.formats import ClipFormat, FrameFormat
from inference.scoring import evidence
from inference.steadiness import steadier
from networks.mpn import Mpn
from networks.network import VideoNetwork
from networks.registry import build_network
from schemas.arrays import Float32
from schemas.errors import FatalError, SettingsError
from schemas.version import software_version
from training.evaluation.measuring import Calibrated, calibrate, measure_videos
from training.footage.cameras import common_rate, footage_of, require_one_rate
from training.footage.dataset import CacheFormat, camera_names, open_cache
from training.footage.material import Material, long_enough, split_videos
from training.footage.sources import Source, is_grey
from training.footage.timing import Rate
from training.loop.distributed import World, joined_world
from training.loop.loop import num_steps, run_training
from training.loop.meta import MetaOptions, meta_train
from training.loop.run_folder import claim_run, precision_of
from training.loop.state import TrainingState, room_on_disk
from training.options import Precision, TrainOptions
from training.presets import Preset, parameter_values, with_channels
from training.report import Outcome, sample_predictions, write_report

log = logging.getLogger(__name__)

STEP_SIZES = "step_sizes.safetensors"
"""Name of the file in the folder of a run that MPN's meta phase leaves."""


def train(data: Sequence[Path], out: Path, preset: Preset, options: TrainOptions) -> Path:
    """Train on the normal footage of one data set or several and write a bundle; the report goes to the run folder.

    Args:
        data: folders laid out as ``training.footage.layouts`` knows them; a plain one shows normal scenes only.
            Where there are several, each is one camera's, and all of them get one network.
        out: folder to make.
        preset: what to train.
        options: how.

    Returns:
        ``out``.

    Raises:
        FatalError: no or too little footage, of one camera or of all, or at several rates; ``out`` exists, the run
            folder is another training's, the loss is no longer a number, or the disk is full.
    """
    if out.exists():
        raise FatalError(f"'{out}' must not exist yet; remove it or choose another name for the bundle")
    if options.meta_steps and preset.model != Mpn.name:
        raise SettingsError(f"the meta phase is {Mpn.name}'s, got {preset.model}; leave out --meta-steps")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    with joined_world(options.device) as world:
        material = gather_material(footage_of(data), preset, options, world)
        state = _trained(material, options, world)
    if world.is_first:
        _finish(state, material, out, options)
    return out


def gather_material(sources: Sequence[Source], preset: Preset, options: TrainOptions, world: World) -> Material:
    """Decode footage and hold some back. One process decodes, the others wait for it.

    Raises:
        FatalError: see ``train``.
    """
    recipe = preset.recipe
    preset = with_channels(preset, _are_grey(sources))
    multiple = preset.parameters.size_multiple
    if recipe.width % multiple or recipe.height % multiple:
        text = f"width and height must be multiples of {multiple}, got {recipe.width} x {recipe.height}"
        raise FatalError(f"{text}; choose less depth")
    frame = FrameFormat(recipe.width, recipe.height, preset.parameters.channels)
    wanted = CacheFormat(frame, options.fps, options.image_fps, options.jpeg_quality)
    require_one_rate(sources, Rate(options.fps, options.image_fps))
    if not world.is_first:
        world.wait()
    footage = open_cache(sources, wanted, options.cache)
    if world.is_first:
        world.wait()
    clip = ClipFormat(preset.parameters.clip_length, recipe.stride)
    videos = long_enough(footage.videos, clip)
    fps = common_rate(videos, options.fps)
    return Material(preset, footage, split_videos(videos), clip, fps, camera_names(sources))


def run_settings(material: Material, options: TrainOptions, precision: Precision) -> dict[str, Any]:
    """All that decides the result of a run."""
    told = {"data": material.footage.digest, "seed": options.seed, "precision": precision, "items": options.items}
    cameras = {"cameras": list(material.cameras)} if material.cameras else {}
    return {**asdict(material.preset), **told, "patience": options.patience, **cameras}


def _are_grey(sources: Sequence[Source]) -> bool:
    """Whether no camera has colours, by the first source of each; one that has is enough to learn them."""
    first = {source.camera: source for source in reversed(sources)}
    return all(is_grey(source) for source in first.values())


def _trained(material: Material, options: TrainOptions, world: World) -> TrainingState:
    preset, clips, precision = material.preset, material.clips(), precision_of(options)
    if world.is_first:
        claim_run(options.run, run_settings(material, options, precision), options.resume)
    world.wait()
    if world.is_first:
        steps = num_steps(len(clips.training), preset.recipe)
        log.info("%d clips, %d held back, %d steps, %s", len(clips.training), len(clips.held_back), steps, precision)
    return run_training(clips, preset.recipe, lambda: _fresh(preset), options, world)


def _fresh(preset: Preset) -> VideoNetwork:
    return build_network(preset.model, parameter_values(preset))


def _finish(state: TrainingState, material: Material, out: Path, options: TrainOptions) -> None:
    preset = material.preset
    network = _fresh(preset)  # without what compiling and several processes added
    network.load_state_dict(state.network.state_dict())
    if isinstance(network, Mpn) and options.meta_steps:
        _learn_to_adapt(network.to(next(state.network.parameters()).device), material, options)
    weights = half_rounded(weights_of(network)) if preset.half_weights else weights_of(network)
    network.load_state_dict({name: torch.from_numpy(values) for name, values in weights.items()}, strict=False)
    bank = np.zeros((0, 0), np.float32) if state.items_MC is None else state.items_MC.float().cpu().numpy()
    items_MC = np.ascontiguousarray(bank)
    found = _calibrated(network, items_MC, material, options)
    log.info("the calibration rests on %s", evidence(found.calibration))
    bundle = Bundle(_manifest(material, options), weights, items_MC, found.calibration, digest="")
    with room_on_disk(out):
        save_bundle(out, bundle, preset.half_weights)
    if options.reported:
        samples = sample_predictions(network, items_MC, material.footage, material.clips().held_back, material.clip)
        path = write_report(options.run, Outcome(preset, out, samples, found, material.split.held_back))
        log.info("report: '%s'", path)


def _learn_to_adapt(network: Mpn, material: Material, options: TrainOptions) -> None:
    """The step sizes go to the run folder: they are of use where a network adapts, not where it scores."""
    wanted = MetaOptions(options.meta_steps, options.seed)
    step_sizes = meta_train(network, material.footage, material.split.training, material.clip, wanted)
    with room_on_disk(options.run / STEP_SIZES):
        save_file({name: values.cpu().contiguous() for name, values in step_sizes.items()}, options.run / STEP_SIZES)


def _calibrated(network: VideoNetwork, items_MC: Float32, material: Material, options: TrainOptions) -> Calibrated:
    steady = steadier(material.preset.statistic.speed == "remembered")
    predictor = Predictor(network, material.frame, options.device, options.threads, material.clip.stride, steady=steady)
    results = measure_videos(predictor, material.footage, material.split.held_back, items_MC)
    found = calibrate(results, material.fps, material.preset.statistic)
    told: dict[str, object] = {"cameras": material.cameras or "any"}
    if len(material.cameras) > 1 and found.calibration.memory is not None:
        told["memory_frames"] = PARENT_FRAMES  # of several cameras, so of each it knows little
    return replace(found, calibration=found.calibration.model_copy(update=told))


def _manifest(material: Material, options: TrainOptions) -> Manifest:
    preset, frame = material.preset, material.frame
    return Manifest(
        model=preset.model,
        parameters=parameter_values(preset),
        clip_length=material.clip.length,
        frame_stride=material.clip.stride,
        width=frame.width,
        height=frame.height,
        channels=1 if frame.channels == 1 else 3,
        fps=material.fps,
        jpeg_quality=options.jpeg_quality,
        seed=options.seed,
        training_data_digest=material.footage.digest,
        cameras=material.cameras,
        software=f"engram {software_version()}",
    )
