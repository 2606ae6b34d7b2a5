"""The live score: causal, from the measures of one frame and a small smoothing state, against a calibration.

    x = log(worst patch of the error map) as z-score + w * (feature distance as z-score)
    level <- level + a * (x - level),          a = 1 - exp(-1 / (fps * smoothing time))
    p = share of normal frames with a level at least as high; an exponential tail where there were too few to count
    anomaly score = s / (s + 4),               s = -log10 p

so the score is 0.5 where one normal frame in 10 000 would be. Calibration is fitted by this same code.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from bundles.calibration import TAIL_SHARE, Calibration, Distribution, Moments, SpeedScale
from schemas.arrays import Float64
from schemas.errors import FatalError

HALF_SCORE_AT = 4.0
"""-log10 p at which the anomaly score is 0.5."""
EXIT_SHARE = 0.6
"""An event closes below this share of the -log10 p that opens one."""
GATE_QUANTILE = 0.99
"""Share of normal frames that may teach the memory."""
MAX_LEVEL = 1e9
"""Far beyond what any frame gives; what travels must stay a number."""
MIN_PATCH_ERROR = 1e-10
MIN_STD = 1e-9
MIN_TAIL_SCALE = 1e-3
NUM_QUANTILES = 96
MIN_FRAMES = 20
SECONDS_PER_DAY = 86_400.0
BLOCK_S = 10.0
"""Stretches of so long are taken for independent of each other."""
MOST_EXPECTED = 3.0
"""What was not seen once is expected less often than this, with 95 % confidence: exp(-3) = 5 %, the rule of three."""


@dataclass(frozen=True, slots=True)
class FrameMeasures:
    """What the network said about one frame, see ``schemas.messages.FrameScore`` for units and directions.

    ``place_error`` and ``background`` are evidences of ``inference.evidence``; 0 where there is no memory to ask.
    """

    psnr_db: float
    feature_distance: float
    regular_score: float
    patch_error: float
    place_error: float = 0.0
    background: float = 0.0


@dataclass(frozen=True, slots=True)
class Smoothing:
    """All that the score remembers of earlier frames; travels as JSON to the next owner of a camera."""

    level: Annotated[float, Field(ge=-MAX_LEVEL, le=MAX_LEVEL)]


@dataclass(frozen=True, slots=True)
class LiveScore:
    """Outcome for one frame: the score in [0, 1], log10 of the p-value, and the state for the next frame."""

    anomaly_score: float
    log10_p: float
    smoothing: Smoothing


@dataclass(frozen=True, slots=True)
class StatisticOptions:
    """Form of the live statistic, stored in the calibration.

    Attributes:
        smoothing_s: time constant of the moving average; 0 = none.
        feature_weight: of the feature distance's z-score; the patch error's has weight 1.
        speed: whether errors are "weighed" by how fast they move against a line, see ``inference.error_map``, or by
            what is "remembered" of speeds, places and background, see ``inference.standard`` (which has its own
            constants for the rest), or it is "ignored".
    """

    smoothing_s: float = 0.3
    feature_weight: float = 0.0
    speed: Literal["weighed", "remembered", "ignored"] = "weighed"


def speed_of(calibration: Calibration) -> Literal["weighed", "remembered", "ignored"]:
    """What a calibration makes of speeds, see ``StatisticOptions``."""
    if calibration.memory is not None:
        return "remembered"
    return "weighed" if calibration.speed_scale else "ignored"


def live_score(measures: FrameMeasures, smoothing: Smoothing | None, calibration: Calibration) -> LiveScore:
    """Score one frame.

    Args:
        measures: of this frame.
        smoothing: state after the frame before; None at the start of a session or after a gap.
        calibration: of the bundle.
    """
    x = frame_statistic(measures, calibration.log_patch_error, calibration.feature_distance, calibration.feature_weight)
    after = smoothed(smoothing, x, smoothing_weight(calibration.fps, calibration.smoothing_s))
    log10_p = log10_exceedance(after.level, calibration.statistic)
    return LiveScore(score_of(log10_p), log10_p, after)


def frame_statistic(measures: FrameMeasures, patch: Moments, feature: Moments, feature_weight: float) -> float:
    """One frame's value before smoothing; 0 is average, high = irregular."""
    value = (log_patch_error(measures) - patch.mean) / patch.std
    if feature_weight:
        value += feature_weight * (measures.feature_distance - feature.mean) / feature.std
    return value


def smoothed(state: Smoothing | None, x: float, weight: float) -> Smoothing:
    """The moving average after one more value; the first value is its own average."""
    return Smoothing(x if state is None else state.level + weight * (x - state.level))


def smoothing_weight(fps: float, smoothing_s: float) -> float:
    """Weight of the newest value in (0, 1], for a time constant in seconds; 1 = no smoothing."""
    return 1.0 if smoothing_s == 0.0 else -math.expm1(-1.0 / (fps * smoothing_s))


def log_patch_error(measures: FrameMeasures) -> float:
    """Natural logarithm of the worst patch's error, which is near normally distributed on normal footage."""
    return math.log(max(measures.patch_error, MIN_PATCH_ERROR))


def log10_exceedance(level: float, normal: Distribution) -> float:
    """log10 of the p-value, <= 0; computed in logarithms so that it never underflows."""
    start = normal.quantiles[-1]
    if level > start:
        return math.log10(TAIL_SHARE) - (level - start) / normal.tail_scale / math.log(10.0)
    below = np.interp(level, normal.quantiles, np.linspace(0.0, 1.0 - TAIL_SHARE, len(normal.quantiles)))
    return math.log10(1.0 - float(below))


def score_of(log10_p: float) -> float:
    """Anomaly score in [0, 1) of a p-value."""
    surprise = max(0.0, -log10_p)
    return surprise / (surprise + HALF_SCORE_AT)


def thresholds_for(calibration: Calibration, target_false_alarms_per_day: float, fps: float) -> tuple[float, float]:
    """Anomaly scores that open and close an event, (enter, exit).

    Neighbouring levels hang together for about the smoothing time, so a day has that many fewer independent chances of
    a false alarm than frames.

    Args:
        calibration: of the bundle.
        target_false_alarms_per_day: of one camera that sees normal footage only.
        fps: frames a second of that camera.
    """
    chances_per_day = max(1.0, SECONDS_PER_DAY / max(calibration.smoothing_s, 1.0 / fps))
    p = min(TAIL_SHARE, target_false_alarms_per_day / chances_per_day)
    return score_of(math.log10(p)), score_of(EXIT_SHARE * math.log10(p))


def supported_false_alarms_per_day(calibration: Calibration) -> float:
    """The lowest rate of false alarms of one camera that the footage of a calibration can vouch for.

    With n independent blocks of normal video and no false alarm in any, at most 3 / n of all blocks have one, with 95 %
    confidence; the tail of the distribution may be right further out, but nothing that was seen says so. At most one
    false alarm a block is told.
    """
    return supported_by(calibration.footage_s, max(BLOCK_S, calibration.smoothing_s))


def supported_by(footage_s: float, block_s: float) -> float:
    """The same for footage of so many seconds, of which blocks of ``block_s`` are independent."""
    return SECONDS_PER_DAY / block_s * min(1.0, MOST_EXPECTED / max(1, math.floor(footage_s / block_s)))


def evidence(calibration: Calibration) -> str:
    """In words: how long the footage was, and the rate of false alarms that it supports."""
    rate = supported_false_alarms_per_day(calibration)
    told = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
    text = f"{calibration.footage_s:,.0f} s of normal video that was not learned"
    return f"{text}, which supports no fewer than {told} false alarms a day of a camera (95 % confidence)"


def fit_calibration(
    videos: Sequence[Sequence[FrameMeasures]],
    fps: float,
    options: StatisticOptions | None = None,
    speed_scale: SpeedScale | None = None,
) -> Calibration:
    """Fit on normal footage that the network was not trained on.

    Args:
        videos: measures of consecutive frames; smoothing starts anew with each video.
        fps: frames a second.
        options: form of the statistic.
        speed_scale: that the measures were weighed with.

    Raises:
        FatalError: fewer than ``MIN_FRAMES`` frames.
    """
    options = options or StatisticOptions()
    frames = [frame for video in videos for frame in video]
    if len(frames) < MIN_FRAMES:
        text = f"calibration needs at least {MIN_FRAMES} scored normal frames, got {len(frames)}"
        raise FatalError(f"{text} from {len(videos)} videos; give more normal footage")
    patch = _moments([log_patch_error(frame) for frame in frames])
    feature = _moments([frame.feature_distance for frame in frames])
    regular = np.array([frame.regular_score for frame in frames])
    series = [[frame_statistic(frame, patch, feature, options.feature_weight) for frame in video] for video in videos]
    weight = smoothing_weight(fps, options.smoothing_s)
    levels = np.array([level for values in series for level in _levels(values, weight)])
    return Calibration(
        psnr_db=_moments([frame.psnr_db for frame in frames]),
        feature_distance=feature,
        regular_score=_moments(regular.tolist()),
        log_patch_error=patch,
        statistic=_distribution(levels),
        fps=fps,
        smoothing_s=options.smoothing_s,
        feature_weight=options.feature_weight,
        speed_scale=speed_scale,
        gate_threshold=float(np.quantile(regular, GATE_QUANTILE)),
        num_frames=len(frames),
    )


def _levels(values: Sequence[float], weight: float) -> list[float]:
    levels: list[float] = []
    state: Smoothing | None = None
    for value in values:
        state = smoothed(state, value, weight)
        levels.append(state.level)
    return levels


def _distribution(levels: Float64) -> Distribution:
    quantiles = np.quantile(levels, np.linspace(0.0, 1.0 - TAIL_SHARE, NUM_QUANTILES))
    excess = levels[levels > quantiles[-1]] - quantiles[-1]
    scale = float(excess.mean()) if len(excess) else 0.0
    return Distribution(quantiles=tuple(quantiles.tolist()), tail_scale=max(scale, MIN_TAIL_SCALE))


def _moments(values: Sequence[float]) -> Moments:
    return Moments(mean=float(np.mean(values)), std=max(float(np.std(values)), MIN_STD), count=len(values))
