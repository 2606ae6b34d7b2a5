"""What a network might give for frames, without a network."""

from dataclasses import replace

import numpy as np

from bundles.calibration import Calibration
from inference.engine import ClipResult
from inference.scoring import StatisticOptions
from memory_store.proposal import ItemSums
from training.evaluation.measuring import calibrate

R, S = 16, 24
FPS = 10.0
CALM = 400


def results(count: int, seed: int = 0, speed: float = 1.0) -> list[ClipResult]:
    """What a network might give for frames in which things move at about ``speed``."""
    draw = np.random.default_rng(seed)

    def one() -> ClipResult:
        return ClipResult(
            psnr_db=float(draw.normal(30, 1)),
            regular_score=float(draw.uniform(0.001, 0.002)),
            clip_error=0.01,
            feature_distance=float(draw.uniform(0.1, 0.2)),
            cell_errors_RS=(1e-3 * draw.lognormal(0, 0.3, (R, S))).astype(np.float32),
            cell_speeds_RS=(speed * draw.lognormal(0, 0.3, (R, S))).astype(np.float32),
            place_grey_PQ=draw.normal(100, 2, (R // 4, S // 4)).astype(np.float32),
            sums=ItemSums.empty(0, 0),
            finite=True,
        )

    return [one() for _ in range(count)]


def odd(result: ClipResult, speed: float = 1.0, error: float = 1.0, grey: float = 0.0) -> ClipResult:
    """The same with something in the corner."""
    speeds, errors, greys = (
        values.copy() for values in (result.cell_speeds_RS, result.cell_errors_RS, result.place_grey_PQ)
    )
    speeds[:6, :6] *= speed
    errors[:6, :6] *= error
    greys[0, 0] += grey
    return replace(result, cell_speeds_RS=speeds, cell_errors_RS=errors, place_grey_PQ=greys)


def remembered(*, seconds: float = 40.0) -> Calibration:
    """With a memory, made as a training makes it of two videos."""
    half = round(seconds * FPS / 2)
    return calibrate([results(half, 1), results(half, 2)], FPS, StatisticOptions(speed="remembered")).calibration
