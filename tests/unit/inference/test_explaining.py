"""What a score means to a person: spreads on one scale, evidences by name, and rates that agree with the thresholds."""

import numpy as np
import pytest

from bundles.calibration import Calibration
from inference.evidence import Evidence
from inference.explaining import Explainer
from inference.explaining import explainer_of as explainer_by
from inference.rarity import SIDE_WEIGHT, joint, side_share
from inference.scoring import (
    FrameMeasures,
    LiveScore,
    Smoothing,
    StatisticOptions,
    fit_calibration,
    log10_exceedance,
    score_of,
    supported_false_alarms_per_day,
)
from inference.standard import ByMemory, normality_of, standard_of
from tests.looks import FPS, odd, remembered, results
from training.evaluation.measuring import calibrate

BOTH = pytest.mark.parametrize("name", ["line", "calibration"])


def explainer_of(calibration: Calibration) -> Explainer:
    return explainer_by(standard_of(calibration), calibration)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return remembered()


@pytest.fixture(scope="module")
def line() -> Calibration:
    return calibrate([results(200, 1), results(200, 2)], FPS, StatisticOptions()).calibration


@pytest.fixture
def each(name: str, request: pytest.FixtureRequest) -> Calibration:
    found: Calibration = request.getfixturevalue(name)
    return found


@BOTH
def test_the_worst_patch_of_normal_frames_lies_around_zero_and_an_odd_one_far_above(each: Calibration) -> None:
    standard, explainer = standard_of(each), explainer_of(each)
    worst = [explainer.spreads_of(standard.look(result).map_RS).max() for result in results(60, seed=3)]
    assert abs(np.mean(worst)) < 1.5
    odd_one = standard.look(odd(results(1)[0], speed=16.0, error=30.0)).map_RS
    assert explainer.spreads_of(odd_one).max() > max(worst) + 2
    assert np.unravel_index(explainer.spreads_of(odd_one).argmax(), odd_one.shape) == np.unravel_index(
        odd_one.argmax(), odd_one.shape
    )


def test_spreads_of_a_line_are_those_of_its_statistic() -> None:
    frames = [FrameMeasures(30.0, 0.1, 0.001, float(np.exp(x))) for x in np.linspace(-1, 1, 101)]
    explainer = explainer_of(fit_calibration([frames], FPS))
    spread = float(np.std(np.linspace(-1, 1, 101)))
    assert explainer.spreads_of(np.exp(np.array([[0.0, 1.0]], np.float32))) == pytest.approx(
        np.array([[0.0, 1.0 / spread]]), abs=1e-6
    )
    assert np.isfinite(explainer.spreads_of(np.zeros((2, 2), np.float32))).all()


def test_only_a_memory_can_say_which_evidence_spoke(line: Calibration, calibration: Calibration) -> None:
    result = results(1)[0]
    assert explainer_of(line).evidence(standard_of(line).look(result).measures) == {}
    standard, explainer = standard_of(calibration), explainer_of(calibration)
    usual = explainer.evidence(standard.look(result).measures)
    assert list(usual) == ["motion", "place", "background"]
    faster = explainer.evidence(standard.look(odd(result, speed=16.0)).measures)
    newer = explainer.evidence(standard.look(odd(result, grey=60.0)).measures)
    assert faster["motion"] > usual["motion"] + 1
    assert faster["background"] == pytest.approx(usual["background"])
    assert newer["background"] > usual["background"] + 1
    assert newer["motion"] == pytest.approx(usual["motion"])


def test_the_evidences_are_what_the_score_is_made_of(calibration: Calibration) -> None:
    memory = normality_of(calibration.memory) if calibration.memory else None
    assert memory is not None
    measures = standard_of(calibration).look(odd(results(1)[0], speed=8.0, grey=40.0)).measures
    told = explainer_of(calibration).evidence(measures)
    numbers = (np.log(measures.patch_error), measures.place_error, measures.background)
    x = joint(Evidence(*(np.array([number]) for number in numbers)), memory, FPS)[0]
    weight = SIDE_WEIGHT * side_share(memory.num_frames / FPS)
    assert x == pytest.approx(told["motion"] + weight * (max(told["place"], 0) + max(told["background"], 0)))


@BOTH
@pytest.mark.parametrize("per_day", [1.0, 50.0])
def test_a_rate_is_the_inverse_of_the_threshold_for_it(each: Calibration, per_day: float) -> None:
    """A frame whose score is just the bound for so many false alarms a day is as unusual as so often a day."""
    standard, explainer = standard_of(each), explainer_of(each)
    enter, _ = standard.thresholds(per_day, FPS)
    low, high = -10.0, 1e3
    for _ in range(80):  # the level at the bound, by bisection: the score rises with it
        middle = (low + high) / 2
        reached = score_at(each, middle) >= enter
        low, high = (low, middle) if reached else (middle, high)
    rate = explainer.rate(live_at(each, high), FPS)
    assert rate.per_day == pytest.approx(per_day, rel=0.05)
    assert rate.at_most >= rate.per_day


@BOTH
def test_what_can_be_vouched_for_is_by_the_length_of_the_footage(each: Calibration) -> None:
    assert explainer_of(each).supported_per_day == pytest.approx(supported_false_alarms_per_day(each))


def test_a_memory_knows_its_camera_and_a_line_those_it_was_fitted_on(
    line: Calibration, calibration: Calibration
) -> None:
    fitted = line.model_copy(update={"cameras": ("gate", "yard")})
    assert [explainer_of(fitted).knows(camera) for camera in ("gate", "west")] == [True, False]
    assert explainer_of(line).knows("west")
    assert explainer_of(calibration.model_copy(update={"cameras": ("gate", "yard")})).knows("west")


@BOTH
def test_a_level_no_number_can_hold_is_rare_and_no_error(each: Calibration) -> None:
    rate = explainer_of(each).rate(live_at(each, 1e8), FPS)
    assert 0.0 <= rate.per_day < 1e-6
    assert np.isfinite(rate.at_most)


def live_at(of: Calibration, level: float) -> LiveScore:
    standard = standard_of(of)
    rarity = standard._log10_p(level) if isinstance(standard, ByMemory) else log10_exceedance(level, of.statistic)
    return LiveScore(score_of(rarity), rarity, Smoothing(level))


def score_at(of: Calibration, level: float) -> float:
    return live_at(of, level).anomaly_score
