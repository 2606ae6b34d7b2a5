"""The live score: calibration, smoothing, tail, thresholds."""

import json
import math
from dataclasses import asdict
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from bundles.calibration import TAIL_SHARE, Calibration, Distribution
from inference.scoring import (
    FrameMeasures,
    Smoothing,
    StatisticOptions,
    fit_calibration,
    live_score,
    log10_exceedance,
    score_of,
    thresholds_for,
)
from schemas.errors import FatalError


def normal_video(seed: int, frames: int = 500) -> list[FrameMeasures]:
    random = np.random.default_rng(seed)
    return [
        FrameMeasures(float(random.normal(35, 1)), float(random.normal(1, 0.1)), float(random.gamma(4, 1e-3)), error)
        for error in np.exp(random.normal(-6, 0.3, frames)).tolist()
    ]


def fitted(smoothing_s: float = 0.0, feature_weight: float = 0.0) -> Calibration:
    videos = [normal_video(seed) for seed in range(8)]
    return fit_calibration(videos, 10.0, StatisticOptions(smoothing_s, feature_weight))


@lru_cache
def fitted_once() -> Calibration:
    return fitted()


def frame(log_error: float, distance: float = 1.0) -> FrameMeasures:
    return FrameMeasures(35.0, distance, 0.004, math.exp(log_error))


def scores(calibration: Calibration, video: list[FrameMeasures]) -> list[float]:
    state, found = None, []
    for measures in video:
        live = live_score(measures, state, calibration)
        state = live.smoothing
        found.append(live.anomaly_score)
    return found


def test_p_values_of_new_normal_footage_are_uniform() -> None:
    calibration = fitted()
    log10_p = [live_score(measures, None, calibration).log10_p for measures in normal_video(99, 4000)]
    p = np.power(10.0, log10_p)
    for share in (0.5, 0.2, 0.05, 0.01):
        assert np.mean(p <= share) == pytest.approx(share, rel=0.35)


def test_smoothed_p_values_of_new_normal_footage_are_uniform() -> None:
    calibration = fitted(smoothing_s=0.5)
    found = np.array(scores(calibration, normal_video(98, 8000)))
    for share in (0.5, 0.2, 0.05):
        assert np.mean(found >= score_of(math.log10(share))) == pytest.approx(share, rel=0.35)


def test_half_the_score_at_one_in_ten_thousand() -> None:
    assert score_of(-4.0) == 0.5
    assert score_of(0.0) == 0.0


@given(st.lists(st.floats(-30, 5), min_size=2, max_size=20))
def test_a_worse_patch_never_scores_lower(log_errors: list[float]) -> None:
    calibration = fitted_once()
    found = [live_score(frame(value), None, calibration).log10_p for value in sorted(log_errors)]
    assert found == sorted(found, reverse=True)


def test_far_out_values_are_told_apart() -> None:
    """p itself would be zero in double precision; its logarithm is not."""
    calibration = fitted_once()
    first, second = (live_score(frame(value), None, calibration) for value in (200.0, 300.0))
    assert second.log10_p < first.log10_p < -320
    assert 0.98 < first.anomaly_score < second.anomaly_score < 1.0


def test_body_and_tail_meet() -> None:
    normal = Distribution(quantiles=(0.0, 1.0, 2.0), tail_scale=0.5)
    assert log10_exceedance(2.0, normal) == pytest.approx(math.log10(TAIL_SHARE))
    assert log10_exceedance(2.0 + 1e-9, normal) == pytest.approx(math.log10(TAIL_SHARE))
    assert log10_exceedance(-5.0, normal) == 0.0
    assert log10_exceedance(2.5, normal) == pytest.approx(math.log10(TAIL_SHARE / math.e))


def test_smoothing_holds_back_a_single_frame_and_lets_a_stretch_through() -> None:
    calibration = fitted(smoothing_s=0.5)
    calm, loud = frame(-6.0), frame(-3.0)
    single = scores(calibration, [calm] * 20 + [loud] + [calm] * 20)
    stretch = scores(calibration, [calm] * 20 + [loud] * 10)
    assert max(single) < max(stretch)
    assert stretch[20:] == sorted(stretch[20:])


def test_smoothing_goes_on_from_its_json() -> None:
    """A camera handed to another worker scores on as if nothing had happened."""
    calibration, video = fitted(smoothing_s=0.5, feature_weight=0.3), normal_video(5, 30)
    whole = scores(calibration, video)
    state, found = None, []
    adapter = TypeAdapter(Smoothing)
    for measures in video:
        live = live_score(measures, state, calibration)
        state = adapter.validate_json(json.dumps(asdict(live.smoothing)))
        found.append(live.anomaly_score)
    assert found == whole


def test_feature_weight_adds_the_distance() -> None:
    with_it, without = fitted(feature_weight=1.0), fitted()
    near, far = frame(-6.0, 1.0), frame(-6.0, 3.0)
    assert live_score(far, None, with_it).anomaly_score > live_score(near, None, with_it).anomaly_score
    assert live_score(far, None, without) == live_score(near, None, without)


def test_gate_lets_most_normal_frames_teach() -> None:
    calibration = fitted()
    share = np.mean([measures.regular_score < calibration.gate_threshold for measures in normal_video(77, 5000)])
    assert 0.97 < share < 1.0


def test_thresholds_fall_with_the_alarms_one_puts_up_with() -> None:
    calibration = fitted(smoothing_s=0.5)
    rare, often = (thresholds_for(calibration, target, 10.0) for target in (0.1, 100.0))
    assert rare[0] > often[0]
    for enter, leave in (rare, often):
        assert 0.0 < leave < enter < 1.0


def test_threshold_means_what_it_says() -> None:
    """Independent frames, 1000 alarms a day of 86,400 frames: that share of normal footage lies above it."""
    calibration = fitted()
    enter, _ = thresholds_for(calibration, 1000.0, 1.0)
    found = np.array(scores(calibration, normal_video(55, 20_000)))
    assert np.mean(found >= enter) == pytest.approx(1000 / 86_400, rel=0.5)


def test_more_frames_a_second_mean_a_higher_threshold_without_smoothing() -> None:
    calibration = fitted()
    assert thresholds_for(calibration, 1.0, 30.0)[0] > thresholds_for(calibration, 1.0, 5.0)[0]


def test_still_footage_gives_a_finite_calibration() -> None:
    still = [[FrameMeasures(100.0, 0.0, 0.0, 0.0)] * 30]
    calibration = fit_calibration(still, 10.0)
    live = live_score(FrameMeasures(20.0, 0.1, 0.1, 0.1), None, calibration)
    assert live_score(still[0][0], None, calibration).anomaly_score < 0.3
    assert live.anomaly_score > 0.99
    assert Calibration.model_validate_json(calibration.model_dump_json()) == calibration


def test_too_little_footage_is_refused() -> None:
    with pytest.raises(FatalError, match="at least 20 scored normal frames, got 3"):
        fit_calibration([normal_video(0, 3)], 10.0)


def test_videos_do_not_smooth_into_each_other() -> None:
    """One calm and one loud video: with a state that ran on, the first loud frames would count as calm."""
    calm, loud = [frame(-6.0)] * 30, [frame(-3.0)] * 30
    calibration = fit_calibration([calm, loud], 10.0, StatisticOptions(5.0))
    levels = calibration.statistic.quantiles
    assert levels[0] == pytest.approx(-1.0)
    assert levels[-1] == pytest.approx(1.0)
    assert sum(abs(level) < 0.99 for level in levels) <= 1
