"""Running a network over footage with one bank that does not change; for calibration and the live evaluation."""

from collections.abc import Iterator, Sequence

import numpy as np

from inference.engine import ClipResult, Predictor
from schemas.arrays import Float32
from training.footage.dataset import FrameCache, Video

BATCH = 8


def measure_video(predictor: Predictor, footage: FrameCache, video: Video, items_MC: Float32) -> list[ClipResult]:
    """Results of every clip of one video, in order; shorter than the video by the frames that fill the first clip."""
    return list(_results(predictor, footage, video, items_MC))


def measure_videos(
    predictor: Predictor, footage: FrameCache, videos: Sequence[Video], items_MC: Float32
) -> list[list[ClipResult]]:
    """``measure_video`` for each."""
    return [measure_video(predictor, footage, video, items_MC) for video in videos]


def _results(predictor: Predictor, footage: FrameCache, video: Video, items_MC: Float32) -> Iterator[ClipResult]:
    clip = predictor.clip_format
    starts = video.clip_starts(clip.length, clip.stride)
    for begin in range(0, len(starts), BATCH):
        clips = footage.clips(starts[begin : begin + BATCH], clip.length, clip.stride)
        yield from predictor.infer(list(clips), np.repeat(items_MC[None], len(clips), axis=0))
