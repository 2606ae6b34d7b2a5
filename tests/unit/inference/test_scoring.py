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

from bundles.calibration import TAIL_SHARE, Calibration, Distribution, Moments, SpeedScale
from inference.scoring import (
    EXIT_SHARE,
    MIN_FRAMES,
    MIN_PATCH_ERROR,
    NUM_QUANTILES,
    FrameMeasures,
    Smoothing,
    StatisticOptions,
    evidence,
    fit_calibration,
    frame_statistic,
    live_score,
    log10_exceedance,
    log_patch_error,
    score_of,
    smoothed,
    smoothing_weight,
    supported_false_alarms_per_day,
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


@pytest.mark.parametrize(
    ("fps", "smoothing_s", "weight"),
    [(10.0, 0.0, 1.0), (10.0, 0.1, 1 - 1 / math.e), (5.0, 0.4, 1 - math.exp(-0.5)), (25.0, 100.0, 4e-4)],
)
def test_the_newest_value_weighs_by_frames_in_the_time_constant(fps: float, smoothing_s: float, weight: float) -> None:
    assert smoothing_weight(fps, smoothing_s) == pytest.approx(weight, rel=1e-3)


def test_a_time_constant_later_a_step_is_reached_to_63_percent() -> None:
    weight, state = smoothing_weight(20.0, 0.5), smoothed(None, 1.0, 0.5)
    assert state.level == 1.0, "the first value is its own average"
    for _ in range(10):
        state = smoothed(state, 3.0, weight)
    assert state.level == pytest.approx(3.0 - 2.0 / math.e)


def test_a_frame_is_told_by_how_far_it_is_from_the_average_of_each_measure() -> None:
    patch, feature = Moments(mean=-6.0, std=0.5, count=9), Moments(mean=1.0, std=0.25, count=9)
    assert frame_statistic(frame(-5.0, 1.5), patch, feature, 0.0) == pytest.approx(2.0)
    assert frame_statistic(frame(-5.0, 1.5), patch, feature, 0.3) == pytest.approx(2.0 + 0.3 * 2.0)
    assert frame_statistic(frame(-6.5, 0.5), patch, feature, 1.0) == pytest.approx(-1.0 - 2.0)


def test_a_perfect_patch_has_a_finite_logarithm() -> None:
    perfect = FrameMeasures(100.0, 0.0, 0.0, 0.0)
    assert log_patch_error(perfect) == math.log(MIN_PATCH_ERROR)


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_a_higher_level_is_never_less_surprising(one: float, other: float) -> None:
    normal = Distribution(quantiles=(-1.0, 0.0, 0.0, 1.5), tail_scale=0.4)
    low, high = sorted((one, other))
    assert log10_exceedance(high, normal) <= log10_exceedance(low, normal) <= 0.0


def test_between_two_quantiles_the_share_is_a_straight_line() -> None:
    normal = Distribution(quantiles=(0.0, 1.0, 3.0), tail_scale=0.5)
    half = (1.0 - TAIL_SHARE) / 2
    assert 10 ** log10_exceedance(1.0, normal) == pytest.approx(1.0 - half)
    assert 10 ** log10_exceedance(2.0, normal) == pytest.approx(1.0 - 1.5 * half)


def test_scores_of_known_shares() -> None:
    assert score_of(-12.0) == pytest.approx(0.75)
    assert score_of(1e-9) == 0.0, "rounding beyond p = 1"
    assert score_of(-1e6) < 1.0


@pytest.mark.parametrize(
    ("smoothing_s", "fps", "alarms", "log10_p"),
    [
        (0.0, 1.0, 86.4, -3.0),  # each frame is a chance
        (0.5, 10.0, 172.8, -3.0),  # two chances a second, however many frames
        (0.5, 1.0, 86.4, -3.0),  # a frame lasts longer than the smoothing
        (0.0, 1.0, 86_400.0, math.log10(TAIL_SHARE)),  # never so low that normal frames alone keep an event open
        (1e6, 10.0, 0.01, -2.0),  # at least one chance a day
    ],
)
def test_thresholds_follow_from_the_chances_of_a_day(
    smoothing_s: float, fps: float, alarms: float, log10_p: float
) -> None:
    calibration = fitted_once().model_copy(update={"smoothing_s": smoothing_s})
    enter, leave = thresholds_for(calibration, alarms, fps)
    log10_p = min(log10_p, math.log10(TAIL_SHARE))
    assert enter == pytest.approx(score_of(log10_p))
    assert leave == pytest.approx(score_of(EXIT_SHARE * log10_p))


def thin(num_frames: int, fps: float, smoothing_s: float = 0.3) -> Calibration:
    told = {"num_frames": num_frames, "fps": fps, "smoothing_s": smoothing_s}
    return fitted_once().model_copy(update=told)


@pytest.mark.parametrize(
    ("num_frames", "fps", "smoothing_s", "supported"),
    [
        (36_000, 10.0, 0.3, 72.0),  # an hour: 360 blocks
        (36_000, 10.0, 60.0, 72.0),  # of which there are 60 if they last a minute, and as many fewer a day
        (3 * 864_000, 10.0, 0.3, 1.0),  # three days
        (592, 5.0, 0.3, 8640 * 3 / 11),  # whole blocks only
        (400, 10.0, 0.3, 8640 * 3 / 4),
        (300, 10.0, 0.3, 8640.0),  # no more than one a block
        (20, 10.0, 0.3, 8640.0),  # not one block
        (20, 10.0, 60.0, 1440.0),
    ],
)
def test_the_rate_that_footage_supports_is_by_the_rule_of_three(
    num_frames: int, fps: float, smoothing_s: float, supported: float
) -> None:
    assert supported_false_alarms_per_day(thin(num_frames, fps, smoothing_s)) == pytest.approx(supported)


def test_the_rule_of_three_is_95_percent() -> None:
    """If 3 / n of all blocks had a false alarm, n of them without one would be seen once in twenty times."""
    for num_blocks in (60, 1000, 100_000):
        share = supported_false_alarms_per_day(thin(100 * num_blocks, 10.0)) / 8640
        assert (1 - share) ** num_blocks == pytest.approx(0.05, abs=0.004)


@given(st.integers(2, 10**7), st.integers(2, 10**7), st.floats(0.1, 60), st.floats(0, 100))
def test_more_footage_never_supports_less(one: int, other: int, fps: float, smoothing_s: float) -> None:
    few, many = (supported_false_alarms_per_day(thin(n, fps, smoothing_s)) for n in sorted((one, other)))
    assert 0 < many <= few


@pytest.mark.parametrize(
    ("num_frames", "told"),
    [
        (36_000, "3,600 s of normal video that was not learned, which supports no fewer than 72 false alarms"),
        (200, "20 s of normal video that was not learned, which supports no fewer than 8,640 false alarms"),
        (10 * 864_000, "864,000 s of normal video that was not learned, which supports no fewer than 0.3 false alarms"),
    ],
)
def test_the_evidence_in_words(num_frames: int, told: str) -> None:
    assert evidence(thin(num_frames, 10.0)) == f"{told} a day of a camera (95 % confidence)"


def test_a_calibration_stores_what_it_was_fitted_on_and_with() -> None:
    """Every field, against numpy on the same frames."""
    videos = [normal_video(1, 60), normal_video(2, 40)]
    scale, options = SpeedScale(top_px=1.0, bottom_px=2.0), StatisticOptions(smoothing_s=0.0, feature_weight=0.7)
    found = fit_calibration(videos, 12.5, options, scale)
    every = [measures for video in videos for measures in video]
    columns = {
        "psnr_db": [measures.psnr_db for measures in every],
        "feature_distance": [measures.feature_distance for measures in every],
        "regular_score": [measures.regular_score for measures in every],
        "log_patch_error": [math.log(measures.patch_error) for measures in every],
    }
    for name, values in columns.items():
        moments = getattr(found, name)
        assert (moments.mean, moments.std) == pytest.approx((np.mean(values), np.std(values))), name
        assert moments.count == 100
    assert (found.fps, found.smoothing_s, found.feature_weight, found.num_frames) == (12.5, 0.0, 0.7, 100)
    assert found.speed_scale == scale
    assert found.gate_threshold == pytest.approx(np.quantile(columns["regular_score"], 0.99))
    patch, distance = (np.array(columns[name]) for name in ("log_patch_error", "feature_distance"))
    levels = (patch - patch.mean()) / patch.std() + 0.7 * (distance - distance.mean()) / distance.std()
    assert len(found.statistic.quantiles) == NUM_QUANTILES
    assert found.statistic.quantiles[0] == pytest.approx(levels.min())
    assert found.statistic.quantiles[-1] == pytest.approx(np.quantile(levels, 1 - TAIL_SHARE))
    beyond = levels[levels > found.statistic.quantiles[-1]] - found.statistic.quantiles[-1]
    assert found.statistic.tail_scale == pytest.approx(beyond.mean())


def test_just_enough_frames_are_enough_from_several_videos() -> None:
    assert fit_calibration([normal_video(0, 12), normal_video(1, MIN_FRAMES - 12)], 10.0).num_frames == MIN_FRAMES
    with pytest.raises(FatalError, match=r"got 19 from 2 videos; give more normal footage"):
        fit_calibration([normal_video(0, 12), normal_video(1, MIN_FRAMES - 13)], 10.0)
