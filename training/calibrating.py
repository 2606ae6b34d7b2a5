"""From what a network measures on normal footage that was held back to the calibration of the live score."""

from collections.abc import Sequence
from dataclasses import dataclass

from bundles.calibration import Calibration
from inference.engine import ClipResult
from inference.irregularity import irregularity_of, speed_scale_of
from inference.scoring import FrameMeasures, StatisticOptions, fit_calibration


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
    results = [result for video in videos for result in video]
    scale = speed_scale_of(results) if results and statistic.speed == "weighed" else None
    measures = tuple(tuple(irregularity_of(result, scale).measures for result in video) for video in videos)
    return Calibrated(fit_calibration(measures, fps, statistic, scale), measures)
