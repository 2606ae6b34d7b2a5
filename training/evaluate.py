"""Frame AUC on labelled video, by the paper's protocol and by the live score.

The paper's protocol needs whole videos (it scales each by its own minimum and maximum), so it says how good the network
is, not how good a live system would be. The live protocol runs the very code that scores in a worker.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from bundles.bundle import load_bundle
from bundles.calibration import Calibration
from memory_store.proposal import Float32
from schemas.errors import FatalError
from training.dataset import CacheFormat, FrameCache, Video, open_cache
from training.inspection import measure_videos
from training.sources import find_sources
from workers.engine import ClipResult, Engine, Predictor
from workers.scoring import FrameMeasures, Smoothing, live_score

Float64 = NDArray[np.float64]
Protocol = Literal["paper", "live"]

PAPER_ALPHA = 0.6
PAPER_GATE = 0.01


@dataclass(frozen=True, slots=True)
class Footage:
    """Labelled test video.

    Attributes:
        videos: folder of videos or of folders of images.
        labels: folder of ``<video name without ending>.npy``, one value a frame, 1 = abnormal.
        cache: folder of decoded footage.
        jpeg_quality: of the round trip a live frame makes; None = none.
    """

    videos: Path
    labels: Path
    cache: Path
    jpeg_quality: int | None = 90


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Outcome: frame AUC in [0, 1], how many frames it is over, and the rate of scoring."""

    protocol: Protocol
    auc: float
    num_frames: int
    num_abnormal: int
    frames_per_s: float


@dataclass(frozen=True, slots=True)
class CarriedRun:
    """The paper's test loop: measures by video, whether each frame updated the memory, the items at the end."""

    videos: list[list[FrameMeasures]]
    updated: list[bool]
    items_MC: Float32


def evaluate(
    bundle: Path, footage: Footage, protocol: Protocol, device: str = "auto", threads: int | None = None
) -> Evaluation:
    """Frame AUC of a bundle.

    Args:
        bundle: folder of the bundle.
        footage: labelled test video.
        protocol: "paper" or "live".
        device: "auto" or a torch device name.
        threads: of torch.

    Raises:
        FatalError: no footage, labels that do not fit it or hold one class only; BundleError: the bundle.
    """
    engine = Engine(load_bundle(bundle), device, threads)
    decoded = open_cache(
        find_sources(footage.videos), CacheFormat(engine.frame_format, jpeg_quality=footage.jpeg_quality), footage.cache
    )
    labels = read_labels(decoded.videos, footage.labels, engine.clip_length)
    began = time.perf_counter()
    if protocol == "paper":
        run = run_paper_test(engine, decoded, engine.bundle.items_MC, PAPER_GATE)
        scores = 1.0 - paper_normality(run.videos, PAPER_ALPHA)
    else:
        results = measure_videos(engine, decoded, decoded.videos, engine.bundle.items_MC)
        scores = live_scores(results, engine.bundle.calibration)
    seconds = time.perf_counter() - began
    told = np.concatenate(labels)
    auc = float(roc_auc_score(told, scores))
    return Evaluation(protocol, auc, len(told), int(told.sum()), len(told) / seconds)


def run_paper_test(predictor: Predictor, footage: FrameCache, items_MC: Float32, gate: float) -> CarriedRun:
    """One frame at a time: score it, then let it update the memory if its regular score is below ``gate``.

    Items carry over from video to video, as in the published test script.
    """
    videos: list[list[FrameMeasures]] = []
    updated: list[bool] = []
    for video in tqdm(footage.videos, desc="paper protocol", unit="video", mininterval=5):
        videos.append([])
        for start in video.clip_starts(predictor.clip_length):
            clip = footage.clips(np.array([start]), predictor.clip_length)[0]
            (result,) = predictor.infer([clip], items_MC[None])
            videos[-1].append(result.measures)
            updated.append(result.measures.regular_score < gate)
            if updated[-1]:
                items_MC = result.sums.updated(items_MC)
    return CarriedRun(videos, updated, items_MC)


def paper_normality(videos: Sequence[Sequence[FrameMeasures]], alpha: float) -> Float64:
    """Normality of all frames, concatenated: alpha * PSNR + (1 - alpha) * (1 - distance), each scaled by video."""
    psnr = [np.array([frame.psnr_db for frame in video]) for video in videos]
    distance = [np.array([frame.feature_distance for frame in video]) for video in videos]
    return blended(psnr, distance, alpha)


def blended(psnr: Sequence[Float64], distance: Sequence[Float64], alpha: float) -> Float64:
    """``paper_normality`` on plain lists, in [0, 1], high = normal."""
    pairs = zip(psnr, distance, strict=True)
    return np.concatenate([alpha * scaled(p) + (1.0 - alpha) * (1.0 - scaled(d)) for p, d in pairs])


def paper_auc(
    psnr: Sequence[Float64], distance: Sequence[Float64], labels: Sequence[NDArray[np.integer]], alpha: float
) -> float:
    """Frame AUC by the paper's protocol; labels have one value per scored frame, 1 = abnormal."""
    return float(roc_auc_score(1 - np.concatenate(labels), blended(psnr, distance, alpha)))


def scaled(values: Float64) -> Float64:
    """To [0, 1] by minimum and maximum; a constant list gives zeros."""
    spread = values.max() - values.min()
    return np.asarray((values - values.min()) / (spread if spread > 0 else 1.0), dtype=np.float64)


def live_scores(videos: Sequence[Sequence[ClipResult]], calibration: Calibration) -> Float64:
    """log10 of the p-value, negated, of all frames: ranks as the anomaly score does, without its rounding near 1."""
    scores: list[float] = []
    for video in videos:
        smoothing: Smoothing | None = None
        for result in video:
            live = live_score(result.measures, smoothing, calibration)
            smoothing = live.smoothing
            scores.append(-live.log10_p)
    return np.array(scores)


def read_labels(videos: Sequence[Video], folder: Path, clip_length: int) -> list[NDArray[np.int64]]:
    """Labels of the scored frames of each video: those that fill the first clip are dropped.

    Raises:
        FatalError: a file is missing or has another length than its video, or all labels are equal.
    """
    labels: list[NDArray[np.int64]] = []
    for video in videos:
        path = folder / f"{Path(video.name).stem}.npy"
        if not path.exists():
            raise FatalError(f"labels of '{video.name}' must be in '{path}', there is no such file; check the folder")
        values = np.load(path, allow_pickle=False).astype(np.int64).ravel()
        if len(values) != video.num_frames:
            text = f"'{path}' must have one label a frame, got {len(values)} for {video.num_frames} frames"
            raise FatalError(f"{text}; check that it belongs to '{video.name}'")
        labels.append(values[clip_length - 1 :])
    if len(np.unique(np.concatenate(labels))) != 2:
        raise FatalError(f"labels must hold normal and abnormal frames, those in '{folder}' are all equal")
    return labels
