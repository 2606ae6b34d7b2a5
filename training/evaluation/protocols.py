"""The two ways to turn measures into a score per frame: as the papers evaluate, and as a live system must.

Dimensions: N scored frames of one video.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from bundles.calibration import Calibration
from inference.scoring import Smoothing
from inference.standard import standard_of
from networks.measures import MIN_ERROR
from networks.network import PaperTest
from schemas.arrays import Float64
from training.evaluation.measuring import MeasuredClip

Protocol = Literal["paper", "live"]

MEANINGS: dict[Protocol, str] = {
    "paper": "as published: each clip scaled by its own minimum and maximum, so its end must be known; the memory is "
    "updated by test frames below the paper's gate and carried from clip to clip where the paper does so",
    "live": "as a worker scores: nothing but past frames, calibrated on normal footage, memory as trained",
}
KERNEL_LENGTH = 15
KERNEL_SIGMA = 2.0


def scored_frame(protocol: Protocol, test: PaperTest, clip_length: int) -> int:
    """Index within a clip of the frame that its score belongs to: the newest, save for the paper's whole-clip error."""
    newest = clip_length - 1
    return min(test.frame, newest) if protocol == "paper" and test.normality == "clip-error" else newest


def paper_scores(video: Sequence[MeasuredClip], test: PaperTest) -> Float64:
    """1 - normality of one video, (N,), in [0, 1], high = anomalous."""
    return 1.0 - paper_normality(video, test)


def live_scores(video: Sequence[MeasuredClip], calibration: Calibration) -> Float64:
    """Anomaly scores of one video, (N,), in [0, 1], by the worker's own code; each needs no later frame."""
    standard, scores = standard_of(calibration), list[float]()
    smoothing: Smoothing | None = None
    for measured in video:
        live = standard.score(measured.irregularity.measures, smoothing)
        smoothing = live.smoothing
        scores.append(live.anomaly_score)
    return np.array(scores)


def paper_normality(video: Sequence[MeasuredClip], test: PaperTest) -> Float64:
    """What the network's paper makes of one video, (N,), high = normal; see ``PaperTest``."""
    measures = [measured.irregularity.measures for measured in video]
    psnr_db_N = np.array([frame.psnr_db for frame in measures])
    distance_N = np.array([frame.feature_distance for frame in measures])
    if test.normality == "clip-error":
        return inverted(np.array([measured.clip_error for measured in video]))
    if test.normality == "smoothed-psnrs":
        return smoothed_psnrs(psnr_db_N, error_psnr_db(distance_N), test.alpha)
    return psnr_and_distance(psnr_db_N, distance_N, test.alpha)


def psnr_and_distance(psnr_db_N: Float64, distance_N: Float64, alpha: float) -> Float64:
    """MNAD (eq. 10): alpha * PSNR' + (1 - alpha) * (1 - distance')."""
    return alpha * scaled(psnr_db_N) + (1.0 - alpha) * inverted(distance_N)


def smoothed_psnrs(frame_db_N: Float64, feature_db_N: Float64, alpha: float) -> Float64:
    """MPN's test code: both PSNRs scaled, smoothed over time, and blended."""
    return alpha * smoothed_over_time(scaled(frame_db_N)) + (1.0 - alpha) * smoothed_over_time(scaled(feature_db_N))


def inverted(values_N: Float64) -> Float64:
    """1 - x': MemAE's normality of a clip's error."""
    return 1.0 - scaled(values_N)


def scaled(values_N: Float64) -> Float64:
    """x': to [0, 1] by minimum and maximum; a constant list gives zeros."""
    spread = values_N.max() - values_N.min()
    return np.asarray((values_N - values_N.min()) / (spread if spread > 0 else 1.0), dtype=np.float64)


def error_psnr_db(error_N: Float64) -> Float64:
    """10 log10(1 / error), at most 100 dB."""
    return np.asarray(-10.0 * np.log10(np.maximum(error_N, MIN_ERROR)), dtype=np.float64)


def gaussian_kernel() -> Float64:
    """MPN's weights: the density at 15 whole numbers around the centre, not scaled to sum to 1."""
    x = np.arange(KERNEL_LENGTH) - KERNEL_LENGTH // 2
    return np.asarray(np.exp(-np.square(x / KERNEL_SIGMA) / 2) / (KERNEL_SIGMA * np.sqrt(2 * np.pi)), dtype=np.float64)


def smoothed_over_time(values_N: Float64) -> Float64:
    """Weighted sums where the kernel fits, their ends repeated outward; a video shorter than the kernel is left."""
    if len(values_N) < KERNEL_LENGTH:
        return values_N
    return np.pad(np.convolve(values_N, gaussian_kernel(), mode="valid"), KERNEL_LENGTH // 2, mode="edge")
