"""Normal video for an export: to measure ranges on, to compare on, and to calibrate with.

Dimensions: B clips, T frames, H x W pixels, K colours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bundles.bundle import Bundle
from bundles.calibration import Calibration
from inference.engine import Predictor
from inference.formats import ClipFormat, FrameFormat
from inference.scoring import MIN_FRAMES, StatisticOptions
from schemas.arrays import UInt8
from training.evaluation.measuring import calibrate, measure_videos
from training.footage.cameras import common_rate, footage_of
from training.footage.dataset import CacheFormat, FrameCache, open_cache
from training.footage.material import Split, clip_starts, long_enough, split_videos


@dataclass(frozen=True, slots=True)
class NormalFootage:
    """Decoded as the bundle's network takes it, and split as for a training; ``fps`` stands for all of it."""

    frames: FrameCache
    split: Split
    clip: ClipFormat
    fps: float

    def spread_clips(self, count: int) -> UInt8:
        """Up to ``count`` clips (B, T, H, W, K), evenly spread over the part that is not held back."""
        starts = clip_starts(self.split.training, self.clip, at_least=1)
        chosen = np.unique(np.linspace(0, len(starts) - 1, count).round().astype(np.int64))
        return self.frames.clips(starts[chosen], self.clip.length, self.clip.stride)

    def calibration(self, predictor: Predictor, bundle: Bundle) -> Calibration:
        """Fitted on the part held back, through ``predictor``, in the form of the bundle's own."""
        own = bundle.calibration
        results = measure_videos(predictor, self.frames, self.split.held_back, bundle.items_MC)
        form = StatisticOptions(own.smoothing_s, own.feature_weight, "weighed" if own.speed_scale else "ignored")
        fitted = calibrate(results, self.fps, form).calibration
        return fitted.model_copy(update={"cameras": own.cameras})


def normal_footage_for(bundle: Bundle, data: Sequence[Path], cache: Path) -> NormalFootage:
    """Decode the normal part of a data set, or of one for each camera, at the bundle's size and rate.

    Raises:
        FatalError: there is none, or too little to calibrate with.
    """
    manifest = bundle.manifest
    frame = FrameFormat(manifest.width, manifest.height, manifest.channels)
    frames = open_cache(footage_of(data), CacheFormat(frame, manifest.fps, manifest.fps), cache)
    clip = ClipFormat(manifest.clip_length, manifest.frame_stride)
    videos = long_enough(frames.videos, clip)
    split = split_videos(videos)
    clip_starts(split.held_back, clip, at_least=MIN_FRAMES)
    return NormalFootage(frames, split, clip, common_rate(videos, manifest.fps))


def invented_clips(frame: FrameFormat, clip_length: int, count: int) -> UInt8:
    """Clips (B, T, H, W, K) of coarse random patterns, where there is no video."""
    coarse = (count, clip_length, -(-frame.height // 8), -(-frame.width // 8), frame.channels)
    patterns = np.random.default_rng(0).integers(0, 256, coarse, dtype=np.uint8)
    fine = patterns.repeat(8, axis=2).repeat(8, axis=3)
    return np.ascontiguousarray(fine[:, :, : frame.height, : frame.width])
