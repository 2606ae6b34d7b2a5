"""Frame AUC of forms of the live score, of one network on one labelled data set; ``docs/live_score.md`` says why.

``ENGRAM_BENCH_BUNDLE=models/ped2 ENGRAM_BENCH_DATA=ped2 python -m benchmarks live_score``. The scale of speeds is
the bundle's own, from its calibration; the last row is what workers compute.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from bundles.bundle import load_bundle
from bundles.calibration import Calibration, SpeedScale
from inference.engine import ClipResult, engine_of
from inference.error_map import patch_means, weighed
from inference.scoring import Smoothing, smoothed, smoothing_weight
from schemas.arrays import Float32
from training.evaluation.measuring import measure_video
from training.footage.dataset import CacheFormat
from training.footage.labelled import open_labelled

CACHE = Path(".engram/cache")
Form = Callable[[Float32, Float32], Float32]


def run() -> None:
    """Print one row per form, or what to set where there is nothing to measure."""
    bundle, data = os.environ.get("ENGRAM_BENCH_BUNDLE"), os.environ.get("ENGRAM_BENCH_DATA")
    if not (bundle and data):
        print("live_score: skipped; set ENGRAM_BENCH_BUNDLE and ENGRAM_BENCH_DATA to a bundle and a labelled data set")
        return
    table = Table(
        "error map of 16-px patches", "frame AUC %", title=f"{bundle} on {data}, causal", title_justify="left"
    )
    for name, auc in live_aucs(Path(bundle), Path(data)).items():
        table.add_row(name, f"{100 * auc:.2f}")
    Console().print(table)


def live_aucs(bundle: Path, data: Path) -> dict[str, float]:
    """Frame AUC in [0, 1] by form, all from one pass of the network."""
    engine = engine_of(load_bundle(bundle))
    predictor, calibration = engine.predictor, engine.bundle.calibration
    footage = open_labelled(data, None, CacheFormat(predictor.frame_format), predictor.clip_format, CACHE)
    labels = [clip.labels_T[predictor.clip_format.span - 1 :] for clip in footage.clips]
    videos = [measure_video(predictor, footage.cache, clip.video, engine.bundle.items_MC) for clip in footage.clips]
    told = np.concatenate(labels)
    return {
        name: float(roc_auc_score(told, np.concatenate([_levels(video, form, calibration) for video in videos])))
        for name, form in forms(calibration.speed_scale).items()
    }


def forms(scale: SpeedScale | None) -> Mapping[str, Form]:
    """Errors and speeds of cells to what is averaged over patches, by how it is written."""
    if scale is None:
        return {"e": lambda errors, _: errors}
    mean_px = (scale.top_px + scale.bottom_px) / 2
    level = SpeedScale(top_px=mean_px, bottom_px=mean_px)
    return {
        "e": lambda errors, _: errors,
        "sqrt(e)": lambda errors, _: np.sqrt(errors),
        "(v / v0)^2, v0 the same in all rows": lambda _, speeds: np.square(speeds),
        "e (1 + (v / v0)^2), v0 the same in all rows": lambda errors, speeds: weighed(np.square(errors), speeds, level),
        "sqrt(e) (1 + (v / v0)^2), v0 the same in all rows": lambda errors, speeds: weighed(errors, speeds, level),
        "sqrt(e) (1 + (v / v0)^2) mean(v0) / v0, v0 a line": lambda errors, speeds: weighed(errors, speeds, scale),
    }


def _levels(video: list[ClipResult], form: Form, calibration: Calibration) -> list[float]:
    """The smoothed logarithm of the worst patch, as the live score has it before it becomes a p-value."""
    weight = smoothing_weight(calibration.fps, calibration.smoothing_s)
    levels: list[float] = []
    state: Smoothing | None = None
    for result in video:
        worst = float(patch_means(form(result.cell_errors_RS, result.cell_speeds_RS)).max())
        state = smoothed(state, float(np.log(max(worst, 1e-10))), weight)
        levels.append(state.level)
    return levels
