"""What a frame is judged by: a line as bundles have had it, or a memory; and how a memory lies in a calibration."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles.calibration import Calibration, NormalCounts
from inference.engine import ClipResult, place_greys
from inference.error_map import weigh_errors
from inference.evidence import size_of_things
from inference.scoring import EXIT_SHARE, StatisticOptions, fit_calibration, live_score, score_of, speed_of
from inference.scoring import thresholds_for as line_thresholds
from inference.standard import ByLine, ByMemory, Stage, Standards, counts_of, normality_of, seen_of, standard_of
from memory_store.normality import FORM, Grid, Normality
from schemas.errors import BundleError
from tests.looks import CALM, FPS, R, S, odd, remembered, results
from training.evaluation.measuring import calibrate
from training.worth.learning import learn, levels_of
from training.worth.scenes import Take


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """With a memory, made as a training makes it."""
    return remembered()


@pytest.fixture(scope="module")
def line() -> Calibration:
    return calibrate([results(CALM // 2, 1), results(CALM // 2, 2)], FPS, StatisticOptions()).calibration


def scores(calibration: Calibration, seen: list[ClipResult]) -> list[float]:
    standard, smoothing, found = standard_of(calibration), None, []
    for result in seen:
        live = standard.score(standard.look(result).measures, smoothing)
        smoothing = live.smoothing
        found.append(live.anomaly_score)
    return found


def test_a_bundle_with_a_line_is_judged_as_ever(line: Calibration) -> None:
    standard = standard_of(line)
    assert isinstance(standard, ByLine)
    (result,) = results(1, 3)
    wanted, found = weigh_errors(result, line.speed_scale), standard.look(result)
    assert found.measures == wanted.measures
    np.testing.assert_array_equal(found.map_RS, wanted.map_RS)
    assert standard.score(found.measures, None) == live_score(found.measures, None, line)
    assert standard.thresholds(1.0, FPS) == line_thresholds(line, 1.0, FPS)


def test_a_memory_is_asked_as_it_was_measured(calibration: Calibration) -> None:
    """Frame by frame is the same as a whole video at once: what ``engram memory-worth`` measures is what runs."""
    standard = standard_of(calibration)
    assert isinstance(standard, ByMemory)
    video = results(60, 5)
    smoothing, levels = None, []
    for result in video:
        live = standard.score(standard.look(result).measures, smoothing)
        smoothing = live.smoothing
        levels.append(live.smoothing.level)
    np.testing.assert_allclose(levels, levels_of(Take("v", FPS, seen_of(video)), standard.memory), rtol=1e-9, atol=1e-9)


def test_the_memory_is_that_of_all_videos(calibration: Calibration) -> None:
    takes = [Take(str(seed), FPS, seen_of(results(CALM // 2, seed))) for seed in (1, 2)]
    assert calibration.memory is not None
    np.testing.assert_array_equal(normality_of(calibration.memory).values_N, learn(takes).values_N)
    assert calibration.speed_scale is None
    assert calibration.num_frames == CALM


def test_calm_frames_stay_below_and_each_oddity_goes_over(calibration: Calibration) -> None:
    enter, leave = standard_of(calibration).thresholds(1.0, FPS)
    assert 0 < leave < enter < 1
    assert max(scores(calibration, results(200, 7))) < enter
    calm = results(30, 8)
    assert scores(calibration, [*calm, *[odd(each, speed=6.0) for each in calm]])[-1] > enter
    assert scores(calibration, [*calm, *[odd(each, error=500.0, speed=2.0) for each in calm]])[-1] > enter


def test_what_is_new_counts_though_it_does_not_move(calibration: Calibration) -> None:
    calm = results(30, 8)
    there = [odd(each, grey=90.0) for each in calm]
    assert scores(calibration, there)[-1] > scores(calibration, calm)[-1]
    standard = standard_of(calibration)
    assert standard.look(there[0]).measures.background > standard.look(calm[0]).measures.background + 3


def test_the_map_shows_where(calibration: Calibration, line: Calibration) -> None:
    (result,) = results(1, 9)
    map_RS = standard_of(calibration).look(odd(result, speed=8.0)).map_RS
    assert map_RS.shape == standard_of(line).look(result).map_RS.shape
    assert map_RS.dtype == np.float32
    row, column = np.unravel_index(int(map_RS.argmax()), map_RS.shape)
    assert row <= 1
    assert column <= 1


def test_bounds_of_events_follow_the_rate_asked_for(calibration: Calibration) -> None:
    standard = standard_of(calibration)
    rare, often = standard.thresholds(0.1, FPS), standard.thresholds(100.0, FPS)
    assert rare[0] > often[0]
    assert standard.thresholds(1.0, 5.0) == standard.thresholds(1.0, 25.0)
    surprise = 4 * rare[0] / (1 - rare[0])
    assert rare[1] == pytest.approx(score_of(-EXIT_SHARE * surprise))


def test_it_is_made_ready_once(calibration: Calibration) -> None:
    assert standard_of(calibration) is standard_of(calibration.model_copy())


def test_what_a_calibration_makes_of_speeds(calibration: Calibration, line: Calibration) -> None:
    assert speed_of(calibration) == "remembered"
    assert speed_of(line) == "weighed"
    assert speed_of(line.model_copy(update={"speed_scale": None})) == "ignored"


@given(st.integers(0, 99))
def test_counts_lie_in_a_calibration_to_the_last_bit(seed: int) -> None:
    memory = learn([Take("a", FPS, seen_of(results(12, seed)))])
    kept = NormalCounts.model_validate_json(counts_of(memory).model_dump_json())
    again = normality_of(kept)
    assert again.grid == Grid(R, S)
    assert again.at_s == memory.at_s
    np.testing.assert_array_equal(again.values_N, memory.values_N)


def broken(calibration: Calibration, **changes: object) -> Calibration:
    assert calibration.memory is not None
    return calibration.model_copy(update={"memory": calibration.memory.model_copy(update=changes)})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"values": "no base64!"}, "must be base64"),
        ({"values": "AAAA"}, "must be base64 of float64"),
        ({"rows": R + 4}, r"must be \d+ numbers"),
        ({"values": ""}, "must be .* numbers"),
    ],
)
def test_counts_that_are_none_are_refused(calibration: Calibration, changes: dict[str, object], said: str) -> None:
    with pytest.raises(BundleError, match=said):
        standard_of(broken(calibration, **changes))


def test_a_calibration_of_another_form_says_how_to_make_one(calibration: Calibration) -> None:
    with pytest.raises(
        BundleError, match=f"form {FORM} of the score, this one is of form {FORM - 1}; 'engram calibrate"
    ):
        standard_of(broken(calibration, form=FORM - 1))


def test_by_a_parent_of_another_form_a_camera_learns_what_is_usual_to_score(
    calibration: Calibration, caplog: pytest.LogCaptureFixture
) -> None:
    old = Standards(broken(calibration, form=FORM - 1))
    assert f"calibrated by form {FORM - 1}" in caplog.text
    learn_s = 20.0
    assert old.of("d", None).stage(learn_s) is Stage.EVIDENCE, "what there is it knows"
    own = normality_of(counts_of(learn([Take("a", FPS, seen_of(results(600, 1)))])))
    assert old.of("e", own).stage(learn_s) is Stage.KNOWN
    assert old.of("f", replace(own, form=FORM - 1)).stage(learn_s) is Stage.EVIDENCE
    new = Standards(calibration)
    assert new.of("d", None).stage(learn_s) is Stage.KNOWN
    assert caplog.text.count("calibrated by form") == 1


def test_a_camera_is_asked_by_patches_of_its_own_size_soon(calibration: Calibration) -> None:
    few = calibration.model_copy(update={"memory_frames": 20.0})
    near, far = (learn([Take("a", FPS, seen_of(results(200, 1, speed=speed)))]) for speed in (1.0, 0.55))
    sizes = []
    for own in (None, near, far):
        standard = Standards(few).of("d", own)
        assert isinstance(standard, ByMemory)
        sizes.append(standard.expected.patch_cells)
    of_parent = size_of_things(normality_of(counts_of(near)), FPS)
    assert sizes[:2] == pytest.approx([of_parent] * 2, rel=0.05)
    assert sizes[2] == pytest.approx(size_of_things(far, FPS), rel=0.1)


def test_counts_that_no_frames_gave_are_refused(calibration: Calibration) -> None:
    assert calibration.memory is not None
    forged = Normality(Grid(R, S), 0.0, -normality_of(calibration.memory).values_N)
    with pytest.raises(BundleError, match="train the bundle again"):
        standard_of(calibration.model_copy(update={"memory": counts_of(forged)}))


def test_too_few_frames_are_told_as_for_a_line() -> None:
    with pytest.raises(Exception, match="needs at least 20 scored normal frames"):
        calibrate([[]], FPS, StatisticOptions(speed="remembered"))
    with pytest.raises(Exception, match="needs at least 20 scored normal frames"):
        calibrate([results(5)], FPS, StatisticOptions(speed="remembered"))


def test_old_calibrations_have_no_memory(line: Calibration) -> None:
    told = line.model_dump()
    del told["memory"]
    assert Calibration.model_validate(told) == line
    assert fit_calibration([[standard_of(line).look(each).measures for each in results(30)]], FPS).memory is None


def test_grey_levels_of_places_are_means() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3)).astype(np.uint8)
    found = place_greys(frames)
    assert found.shape == (2, 2, 3)
    assert found[1, 1, 2] == pytest.approx(frames[1, 16:32, 32:48].mean(), rel=1e-5)
