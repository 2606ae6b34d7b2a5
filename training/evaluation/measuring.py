"""Running a network over footage: with a memory that stays, as calibration needs it, or one that its frames may teach.

Dimensions: M items, C channels, R x S patches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from bundles.calibration import Calibration
from inference.engine import ClipResult, Predictor
from inference.error_map import Irregularity, patch_means, speed_scale_of, weigh_errors
from inference.scoring import FrameMeasures, StatisticOptions, fit_calibration
from inference.standard import ByMemory, counts_of, seen_of, standard_of
from schemas.arrays import Float32
from schemas.errors import FatalError
from training.footage.dataset import FrameCache, Video
from training.worth.learning import learn
from training.worth.scenes import Take

BATCH = 8


def measure_video(predictor: Predictor, footage: FrameCache, video: Video, items_MC: Float32) -> list[ClipResult]:
    """Results of every clip of one video, in order; shorter than the video by the frames that fill the first clip."""
    return list(_results(predictor, footage, video, items_MC))


def measure_videos(
    predictor: Predictor, footage: FrameCache, videos: Sequence[Video], items_MC: Float32
) -> list[list[ClipResult]]:
    """``measure_video`` for each."""
    return [measure_video(predictor, footage, video, items_MC) for video in videos]


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredClip:
    """What is kept of one network input for scoring.

    Attributes:
        irregularity: the newest frame's measures and map, as a worker would have them.
        clip_error: of all frames.
        error_map_RS: plain squared error of the same patches as the map's.
    """

    irregularity: Irregularity
    clip_error: float
    error_map_RS: Float32


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A network's way through the footage.

    Attributes:
        videos: what was measured, by video.
        updated: whether each frame, all videos end to end, was let into the memory after it was scored.
        items_MC: the memory at the end.
    """

    videos: tuple[tuple[MeasuredClip, ...], ...]
    updated: tuple[bool, ...]
    items_MC: Float32

    @property
    def num_frames(self) -> int:
        """How many were scored."""
        return len(self.updated)


@dataclass(frozen=True, slots=True)
class Measuring:
    """A network, and what its errors are judged by.

    Attributes:
        predictor: the network.
        calibration: that frames are judged by; None = errors as they are.
    """

    predictor: Predictor
    calibration: Calibration | None = None

    def fixed(self, footage: FrameCache, videos: Sequence[Video], items_MC: Float32) -> Run:
        """Measure all videos against one memory.

        Raises:
            FatalError: the network makes something that is not a number.
        """
        measured: list[tuple[MeasuredClip, ...]] = []
        with _progress("memory as trained", self._num_frames(videos)) as bar:
            for video in videos:
                results = measure_video(self.predictor, footage, video, items_MC)
                measured.append(tuple(self._kept(result, video, index) for index, result in enumerate(results)))
                bar.update(len(results))
        return Run(tuple(measured), (False,) * sum(map(len, measured)), items_MC)

    def carried(self, footage: FrameCache, videos: Sequence[Video], items_MC: Float32, gate: float) -> Run:
        """MNAD's test loop: score a frame, then let it update the memory if its regular score is below ``gate``.

        Items carry over from video to video, as in the published test script.

        Raises:
            FatalError: the network makes something that is not a number.
        """
        clip = self.predictor.clip_format
        measured: list[tuple[MeasuredClip, ...]] = []
        updated: list[bool] = []
        with _progress("memory updated", self._num_frames(videos)) as bar:
            for video in videos:
                kept: list[MeasuredClip] = []
                for index, start in enumerate(video.clip_starts(clip.length, clip.stride)):
                    frames = footage.clips(np.array([start]), clip.length, clip.stride)[0]
                    (result,) = self.predictor.infer([frames], items_MC[None])
                    kept.append(self._kept(result, video, index))
                    updated.append(result.regular_score < gate)
                    items_MC = result.sums.updated(items_MC) if updated[-1] else items_MC
                    bar.update()
                measured.append(tuple(kept))
        return Run(tuple(measured), tuple(updated), items_MC)

    def _kept(self, result: ClipResult, video: Video, index: int) -> MeasuredClip:
        if not result.finite:
            frame = video.offset + index + self.predictor.clip_format.span - 1
            text = f"a network must give finite numbers, it does not at frame {frame} of '{video.name}'"
            raise FatalError(f"{text}; train the bundle again")
        judged = standard_of(self.calibration).look(result) if self.calibration else weigh_errors(result, None)
        return MeasuredClip(judged, result.clip_error, patch_means(result.cell_errors_RS))

    def _num_frames(self, videos: Sequence[Video]) -> int:
        clip = self.predictor.clip_format
        return sum(len(video.clip_starts(clip.length, clip.stride)) for video in videos)


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """The calibration, and the measures of the frames it was fitted on, by video."""

    calibration: Calibration
    measures: tuple[tuple[FrameMeasures, ...], ...]


def calibrate(videos: Sequence[Sequence[ClipResult]], fps: float, statistic: StatisticOptions) -> Calibrated:
    """Fit with the code that scores live.

    Args:
        videos: results of consecutive clips of each video.
        fps: frames a second.
        statistic: form of the live score.

    Raises:
        FatalError: too few frames.
    """
    if statistic.speed == "remembered":
        return _with_memory(videos, fps, statistic)
    results = [result for video in videos for result in video]
    scale = speed_scale_of(results) if results and statistic.speed == "weighed" else None
    measures = tuple(tuple(weigh_errors(result, scale).measures for result in video) for video in videos)
    return Calibrated(fit_calibration(measures, fps, statistic, scale), measures)


def _with_memory(videos: Sequence[Sequence[ClipResult]], fps: float, statistic: StatisticOptions) -> Calibrated:
    """Counts of all videos to judge by, and the numbers that people and the gate look at."""
    takes = [Take(f"held back {number}", fps, seen_of(video)) for number, video in enumerate(videos) if video]
    if not takes:
        fit_calibration([], fps, statistic)  # says how much is missing
    memory = learn(takes)
    by = ByMemory.of(memory, fps)
    measures = tuple(tuple(by.look(result).measures for result in video) for video in videos)
    fitted = fit_calibration(measures, fps, statistic)
    return Calibrated(fitted.model_copy(update={"memory": counts_of(memory)}), measures)


def _results(predictor: Predictor, footage: FrameCache, video: Video, items_MC: Float32) -> Iterator[ClipResult]:
    clip = predictor.clip_format
    starts = video.clip_starts(clip.length, clip.stride)
    for begin in range(0, len(starts), BATCH):
        clips = footage.clips(starts[begin : begin + BATCH], clip.length, clip.stride)
        yield from predictor.infer(list(clips), np.repeat(items_MC[None], len(clips), axis=0))


def _progress(what: str, total: int) -> "tqdm[None]":
    return tqdm(total=total, desc=what, unit="frame", mininterval=1, disable=None)
