"""Measures, the papers' frame scores and MNAD's whole test loop against the published implementations."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from inference.decode import fit
from inference.engine import Predictor
from inference.formats import FrameFormat
from networks.measures import psnr_db, regular_score, squared_error
from networks.mnad import Mnad
from networks.registry import network_class
from tests.golden.networks_from_recipe import network_from_recipe
from tests.golden.reference import Array, arrays, cases, close, compare, items, section
from training.evaluation.measures import ScoredClip, frame_auc
from training.evaluation.measuring import Measuring
from training.evaluation.protocols import (
    gaussian_kernel,
    inverted,
    paper_scores,
    psnr_and_distance,
    scaled,
    scored_frame,
    smoothed_over_time,
    smoothed_psnrs,
)
from training.footage.dataset import FrameCache, Video

FPS = 10.0
RESIZES = cases("scoring", "resize")


def by_video(values: Array, lengths: Array) -> list[Array]:
    return np.split(values.astype(np.float64), np.cumsum(lengths)[:-1])


def auc_of_normality(normality: list[Array], labels: list[Array]) -> float | None:
    """The papers rank by normality with normal frames as the positive class, which comes to the same."""
    pairs = zip(normality, labels, strict=True)
    return frame_auc([ScoredClip(1 - values, truth.astype(np.uint8), FPS) for values, truth in pairs])


def test_measures_of_frames() -> None:
    case = section("scoring", "frame_")
    error = squared_error(torch.from_numpy(case["pred"]), torch.from_numpy(case["true"]))
    found = {"mse01": error.mean(dim=(1, 2, 3)), "psnr": psnr_db(error), "point_score": regular_score(error)}
    compare({**found, "pred": case["pred"], "true": case["true"]}, case)


def test_scaling_by_video() -> None:
    case = arrays("scoring")
    lengths = case["video_lengths"]
    psnr = [scaled(values) for values in by_video(case["video_psnr"], lengths)]
    distance = [inverted(values) for values in by_video(case["video_feature_distance"], lengths)]
    compare(
        {"psnr": np.concatenate(psnr), "feature_inverted": np.concatenate(distance)},
        section("scoring", "norm_"),
    )


def test_mnads_score_and_auc() -> None:
    case = arrays("scoring")
    assert len(case["alphas"])
    for index in range(len(case["alphas"])):
        check_mnads_score(case, index)


def check_mnads_score(case: dict[str, Array], index: int) -> None:
    lengths, alpha = case["video_lengths"], float(case["alphas"][index])
    psnr = by_video(case["video_psnr"], lengths)
    distance = by_video(case["video_feature_distance"], lengths)
    normality = [psnr_and_distance(p, d, alpha) for p, d in zip(psnr, distance, strict=True)]
    close(np.concatenate(normality), case["normality_score"][index])
    close(auc_of_normality(normality, by_video(case["video_labels"], lengths)), case["auc"][index])


def test_ties_count_one_half() -> None:
    case = section("scoring", "tie_")
    rows = zip(case["scores"], case["labels"], strict=True)
    found = [frame_auc([ScoredClip(scores.astype(np.float64), labels, FPS)]) for scores, labels in rows]
    compare({**case, "auc": np.array(found)}, case)


def test_memaes_score_and_auc() -> None:
    """Each clip's error belongs to its middle frame, so the first labels of a video fall away, and the last."""
    case = section("scoring", "memae_")
    lengths = case["video_lengths"]
    test = network_class("memae").paper_test
    lost = (len(case["labels_full"]) - len(case["clip_error"])) // len(lengths)
    first = scored_frame("paper", test, clip_length=lost + 1)
    normality = [inverted(values) for values in by_video(case["clip_error"], lengths - lost)]
    labels = [values[first:][: len(values) - lost] for values in by_video(case["labels_full"], lengths)]
    compare({**case, "auc": np.array(auc_of_normality(normality, labels))}, case)


def test_mpns_score_and_auc() -> None:
    case = section("scoring", "mpn_")
    frame, feature, labels = (by_video(case[key], case["lengths"]) for key in ("psnr_frame", "psnr_feature", "labels"))
    alpha = float(case["alpha"])
    normality = [smoothed_psnrs(*pair, alpha) for pair in zip(frame, feature, strict=True)]
    found = {
        "kernel": gaussian_kernel(),
        "smooth_frame": np.concatenate([smoothed_over_time(scaled(values)) for values in frame]),
        "smooth_feature": np.concatenate([smoothed_over_time(scaled(values)) for values in feature]),
        "score": np.concatenate(normality),
        "auc": np.array(auc_of_normality(normality, labels)),
    }
    compare({**case, **found}, case)


@pytest.mark.parametrize("prefix", RESIZES)
def test_preparation_of_images(prefix: str) -> None:
    case = section("scoring", prefix)
    height, width, _ = case["out"].shape
    image = fit(case["bgr8"], FrameFormat(width, height, 3))
    assert np.abs(image / 127.5 - 1 - case["out"]).max() <= 1e-6


def test_nothing_is_left_out() -> None:
    sections = ("frame_", "video_", "norm_", "tie_", "memae_", "mpn_", *RESIZES)
    others = {"alphas", "normality_score", "auc"}
    assert {key for key in arrays("scoring") if not key.startswith(sections)} == others


@dataclass(frozen=True)
class Family:
    """A network, and where its numbers are."""

    name: str
    file: str
    prefix: str


FAMILIES = [
    pytest.param(Family("mnad-prediction", "mnad_pred_net", "pred_"), id="prediction"),
    pytest.param(Family("mnad-reconstruction", "mnad_recon_net", "recon_"), id="reconstruction"),
]


def videos_end_to_end(lengths: Array) -> tuple[Video, ...]:
    ends = np.cumsum(lengths)
    return tuple(Video(str(n), int(ends[n] - lengths[n]), int(lengths[n]), FPS) for n in range(len(lengths)))


@pytest.mark.parametrize("family", FAMILIES)
def test_mnads_whole_evaluation(family: Family) -> None:
    """Scoring, gated updates carried from video to video, and the AUC, through the very engine that runs live."""
    told, wanted = arrays("mnad_evaluate"), section("mnad_evaluate", family.prefix)
    network = network_from_recipe(family.name, family.file, int(wanted["model_seed"]))
    assert isinstance(network, Mnad)
    network.shape = replace(network.shape, **{"clip_length": 5, **network.recipes["paper"].parameters})
    height, width, channels = told["frames_bgr8"].shape[1:]
    predictor = Predictor(network, FrameFormat(width, height, channels), "cpu")
    test = replace(network.paper_test, alpha=float(wanted["alpha"]))
    first_items = items(int(wanted["items_seed"]), [*wanted["items_first"].shape]).numpy()
    footage = FrameCache(told["frames_bgr8"], videos_end_to_end(told["video_lengths"]), digest="")
    run = Measuring(predictor).carried(footage, footage.videos, first_items, float(wanted["threshold"]))
    measures = [clip.irregularity.measures for video in run.videos for clip in video]
    normality = [1 - paper_scores(video, test) for video in run.videos]
    first = scored_frame("paper", test, predictor.clip_format.length)
    labels = [values[first:] for values in by_video(told["labels"], told["video_lengths"])]
    found = {
        "psnr": np.array([frame.psnr_db for frame in measures]),
        "feature_distance": np.array([frame.feature_distance for frame in measures]),
        "point_score": np.array([frame.regular_score for frame in measures]),
        "updated": np.array(run.updated, np.int64),
        "items_first": first_items,
        "items_last": run.items_MC,
        "normality_score": np.concatenate(normality),
        "labels_used": np.concatenate(labels).astype(np.int64),
        "auc": np.array(auc_of_normality(normality, labels)),
    }
    told_to_us = {key: wanted[key] for key in ("threshold", "alpha", "model_seed", "items_seed")}
    compare({**told_to_us, **found}, wanted)


@pytest.mark.parametrize("family", FAMILIES)
def test_mnads_score_of_its_own_measures(family: Family) -> None:
    wanted = section("mnad_evaluate", family.prefix)
    lost = (len(arrays("mnad_evaluate")["labels"]) - len(wanted["psnr"])) // len(
        arrays("mnad_evaluate")["video_lengths"]
    )
    lengths = arrays("mnad_evaluate")["video_lengths"] - lost
    pairs = zip(by_video(wanted["psnr"], lengths), by_video(wanted["feature_distance"], lengths), strict=True)
    normality = [psnr_and_distance(*pair, float(wanted["alpha"])) for pair in pairs]
    close(np.concatenate(normality), wanted["normality_score"])


def test_nothing_of_the_evaluation_is_left_out() -> None:
    inputs = {"frames_bgr8", "video_lengths", "labels"}
    assert {key for key in arrays("mnad_evaluate") if not key.startswith(("pred_", "recon_"))} == inputs
