"""Scores of the two protocols, apart from the published numbers that tests/golden holds them against."""

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.error_map import Irregularity
from inference.scoring import FrameMeasures, live_score
from networks.network import PaperTest
from networks.registry import NETWORKS
from tests.small_bundle import small_bundle
from training.evaluation.measuring import MeasuredClip
from training.evaluation.protocols import (
    KERNEL_LENGTH,
    error_psnr_db,
    gaussian_kernel,
    inverted,
    live_scores,
    paper_normality,
    paper_scores,
    psnr_and_distance,
    scaled,
    scored_frame,
    smoothed_over_time,
)

MAP = np.ones((2, 2), np.float32)


def measured(psnr_db: float, distance: float, clip_error: float = 0.0, patch_error: float = 0.01) -> MeasuredClip:
    measures = FrameMeasures(psnr_db, distance, regular_score=0.0, patch_error=patch_error)
    return MeasuredClip(Irregularity(measures, MAP), clip_error, MAP)


def test_each_paper_has_its_own_score() -> None:
    video = [measured(10.0, 0.2, 3.0), measured(20.0, 0.1, 1.0), measured(30.0, 0.3, 2.0)]
    mnad = paper_normality(video, PaperTest("psnr-and-distance", frame=4, alpha=0.6))
    assert mnad == pytest.approx([0.2, 0.7, 0.6])
    assert paper_normality(video, PaperTest("clip-error", frame=8)) == pytest.approx([0.0, 1.0, 0.5])
    mpn = paper_normality(video, PaperTest("smoothed-psnrs", frame=4, alpha=0.5))
    assert mpn[1] == pytest.approx(0.25 + 0.5)  # the least feature error has the highest PSNR
    assert mpn[2] == pytest.approx(0.5)
    assert paper_scores(video, PaperTest("clip-error", frame=8)) == pytest.approx([1.0, 0.0, 0.5])


def test_a_constant_measure_says_nothing() -> None:
    assert scaled(np.full(3, 7.0)).tolist() == [0.0, 0.0, 0.0]
    without_memory = psnr_and_distance(np.array([1.0, 3.0, 2.0]), np.zeros(3), 0.6)
    assert without_memory == pytest.approx([0.4, 1.0, 0.7])


def test_smoothing_repeats_the_ends_and_leaves_short_videos() -> None:
    values = np.random.default_rng(0).normal(size=40)
    smooth = smoothed_over_time(values)
    assert smooth[20] == pytest.approx(values[13:28] @ gaussian_kernel())
    assert (smooth[:8] == smooth[7]).all()
    assert (smooth[-8:] == smooth[-8]).all()
    short = values[: KERNEL_LENGTH - 1]
    assert np.array_equal(smoothed_over_time(short), short)


@pytest.mark.parametrize(
    ("model", "clip_length", "paper", "live"),
    [
        ("mnad-prediction", 5, 4, 4),
        ("mnad-prediction", 7, 6, 6),
        ("mnad-reconstruction", 1, 0, 0),
        ("memae", 16, 8, 15),
        ("memae", 8, 7, 7),
        ("mpn", 5, 4, 4),
    ],
)
def test_which_frame_a_score_belongs_to(model: str, clip_length: int, paper: int, live: int) -> None:
    test = NETWORKS[model].paper_test
    assert scored_frame("paper", test, clip_length) == paper
    assert scored_frame("live", test, clip_length) == live


def test_live_scores_are_the_workers_and_need_no_future() -> None:
    calibration = small_bundle().calibration
    typical = np.exp(calibration.log_patch_error.mean)
    video = [measured(20.0, 0.1, patch_error=typical * factor) for factor in (1, 2, 0.5, 8, 8, 1)]
    whole = live_scores(video, calibration)
    first = live_score(video[0].irregularity.measures, None, calibration)
    second = live_score(video[1].irregularity.measures, first.smoothing, calibration)
    assert whole[:2].tolist() == [first.anomaly_score, second.anomaly_score]
    assert np.array_equal(live_scores(video[:4], calibration), whole[:4])
    assert whole[4] > whole[0]


def test_live_scores_use_no_extremes_of_the_clip() -> None:
    calibration = replace_smoothing(small_bundle().calibration)
    calm, wild = measured(20.0, 0.1, patch_error=0.01), measured(20.0, 0.1, patch_error=10.0)
    assert live_scores([calm, wild], calibration)[0] == live_scores([calm, calm], calibration)[0]
    assert paper_scores([replace(calm, clip_error=1.0), wild], PaperTest("clip-error", frame=0)).tolist() == [1.0, 0.0]


def replace_smoothing(calibration):
    return calibration.model_copy(update={"smoothing_s": 0.0})


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_scaling_spans_from_zero_to_one_and_keeps_the_order(values: list[float]) -> None:
    found = scaled(np.array(values))
    assert found.min() == 0.0
    assert found.max() == (1.0 if max(values) > min(values) else 0.0)
    assert (np.diff(found[np.argsort(values)]) >= 0).all()
    assert inverted(np.array(values)) == pytest.approx(1 - found)


def test_decibels_of_a_feature_error_end_at_a_hundred() -> None:
    assert error_psnr_db(np.array([1.0, 0.01, 1e-10, 0.0])) == pytest.approx([0.0, 20.0, 100.0, 100.0])


def test_the_kernel_is_the_density_of_a_normal_distribution() -> None:
    kernel = gaussian_kernel()
    assert kernel == pytest.approx([NormalDist(sigma=2.0).pdf(x) for x in range(-7, 8)])
    assert kernel.sum() < 1.0, "not scaled, as in the published code"


def test_a_video_as_long_as_the_kernel_has_one_value() -> None:
    values = np.random.default_rng(0).normal(size=KERNEL_LENGTH)
    assert smoothed_over_time(values) == pytest.approx(np.full(KERNEL_LENGTH, values @ gaussian_kernel()))
