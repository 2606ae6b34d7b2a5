"""What operators called normal does not count when a frame is judged; everything else counts as before."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bundles.calibration import Calibration
from inference.engine import ClipResult
from inference.explaining import explainer_of
from inference.scoring import StatisticOptions
from inference.standard import ByMemory, Standard, Standards
from inference.taught import NEWS, passed
from memory_store.exemplar import Exemplar, Taught
from memory_store.normality import Grid
from schemas.arrays import Float64
from tests.looks import CALM, FPS, R, S, odd, remembered, results
from tests.unit.memory_store.said import exemplar
from training.evaluation.measuring import calibrate

GRID = Grid(R, S)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return remembered()


@pytest.fixture(scope="module")
def plain(calibration: Calibration) -> ByMemory:
    standard = Standards(calibration).of("d", None)
    assert isinstance(standard, ByMemory)
    return standard


@pytest.fixture(scope="module")
def runners() -> list[ClipResult]:
    """Somebody too fast in the corner."""
    return [odd(each, speed=6.0) for each in results(12, 8)]


def maps(standard: ByMemory, seen: Sequence[ClipResult]) -> list[Float64]:
    return [standard.usual.spreads_of(standard.look(result).map_RS) for result in seen]


def said_of(standard: ByMemory, seen: Sequence[ClipResult], **changed: Any) -> Exemplar:
    """As a worker would have told of it."""
    return exemplar(maps(standard, seen), half=standard.usual.half, **changed)


def taught(calibration: Calibration, *said: Exemplar, camera_id: str = "cam1") -> Standard:
    return Standards(calibration).of("d", None, said, camera_id)


def highest(standard: Standard, seen: Sequence[ClipResult]) -> float:
    smoothing, found = None, 0.0
    for result in seen:
        live = standard.score(standard.look(result).measures, smoothing)
        smoothing, found = live.smoothing, max(found, live.anomaly_score)
    return found


def test_where_nobody_has_spoken_frames_are_judged_as_ever(calibration: Calibration, plain: ByMemory) -> None:
    (result,) = results(1, 3)
    wanted = plain.look(result)
    elsewhere = replace(said_of(plain, [odd(result, speed=6.0)]), camera_id="cam9")
    for standard in (taught(calibration), taught(calibration, elsewhere)):
        found = standard.look(result)
        assert found.measures == wanted.measures
        np.testing.assert_array_equal(found.map_RS, wanted.map_RS)
        assert found.teaches


def test_what_was_called_normal_alarms_no_more(
    calibration: Calibration, plain: ByMemory, runners: list[ClipResult]
) -> None:
    enter, _ = plain.thresholds(1.0, FPS)
    assert highest(plain, [*results(30, 9), *runners]) > enter
    standard = taught(calibration, said_of(plain, runners))
    assert highest(standard, [*results(30, 9), *runners]) < enter


def test_what_is_covered_is_not_drawn_as_unusual_and_does_not_teach(
    calibration: Calibration, plain: ByMemory, runners: list[ClipResult]
) -> None:
    standard = taught(calibration, said_of(plain, runners))
    for result in runners:
        found = standard.look(result)
        spreads_RS = explainer_of(standard, calibration).spreads_of(found.map_RS)
        assert spreads_RS[:2, :2].max() <= 0
        assert spreads_RS.max() <= NEWS
        assert not found.teaches
        assert plain.look(result).teaches


def test_what_is_faster_or_elsewhere_or_larger_alarms_as_before(
    calibration: Calibration, plain: ByMemory, runners: list[ClipResult]
) -> None:
    standard = taught(calibration, said_of(plain, runners))
    calm = results(12, 8)

    def other(speed: float, where: tuple[slice, slice]) -> list[ClipResult]:
        changed = [each.cell_speeds_RS.copy() for each in calm]
        for speeds in changed:
            speeds[where] *= speed
        return [replace(each, cell_speeds_RS=speeds) for each, speeds in zip(calm, changed, strict=True)]

    for seen in (
        other(12.0, (slice(0, 6), slice(0, 6))),
        other(6.0, (slice(9, 15), slice(14, 20))),
        other(6.0, (slice(0, 14), slice(0, 16))),
    ):
        for result in seen:
            assert standard.look(result).measures.patch_error == plain.look(result).measures.patch_error


def test_at_the_scope_of_the_camera_it_is_normal_elsewhere_too(
    calibration: Calibration, plain: ByMemory, runners: list[ClipResult]
) -> None:
    said = said_of(plain, runners, scope="camera")
    standard = taught(calibration, replace(said, size=80))  # on so few patches the edge cuts everything
    (calm,) = results(1, 3)
    speeds = calm.cell_speeds_RS.copy()
    speeds[6:10, 10:14] *= 4.0
    moved = replace(calm, cell_speeds_RS=speeds)
    assert plain.look(moved).measures.patch_error > 1.5 * plain.look(calm).measures.patch_error
    assert standard.look(moved).measures.patch_error == pytest.approx(plain.look(calm).measures.patch_error, rel=0.1)


def test_what_is_like_an_event_called_real_does_not_teach(
    calibration: Calibration, plain: ByMemory, runners: list[ClipResult]
) -> None:
    standard = taught(calibration, said_of(plain, runners, judgement="real"))
    assert not standard.look(runners[0]).teaches
    assert standard.look(runners[0]).measures == plain.look(runners[0]).measures
    assert standard.look(results(1, 3)[0]).teaches


def test_what_lies_between_patches_of_the_map_is_covered_with_them() -> None:
    spreads_RS = np.full((7, 11), -1.0)
    spreads_RS[2:4, 3:5] = 5.0
    said = Taught.of([exemplar([spreads_RS])], "cam1", GRID)
    assert said is not None
    found = passed(spreads_RS, 3.0, said, GRID)
    rows, columns = np.nonzero(found.covered_UV)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 7, 5, 9)
    assert found.covered_PQ.tolist() == [[0 <= p <= 2 and 1 <= q <= 3 for q in range(6)] for p in range(4)]
    beside = spreads_RS.copy()
    beside[2:4, 6] = 9.0  # another thing, a patch away
    left = passed(beside, 3.0, said, GRID)
    np.testing.assert_array_equal(left.covered_UV, found.covered_UV)


def test_what_normal_frames_show_now_and_then_is_no_news_and_teaches() -> None:
    spreads_RS = np.full((7, 11), -1.0)
    spreads_RS[2:4, 3:5] = 5.0
    said = Taught.of([exemplar([spreads_RS], scope="camera")], "cam1", GRID)
    assert said is not None
    for highest_spreads, teaches in ((NEWS, True), (NEWS + 0.1, False)):
        found = passed(np.where(spreads_RS > 0, highest_spreads, -1.0), 3.0, said, GRID)
        assert (found.teaches, bool(found.covered_UV.any())) == (teaches, not teaches)


def test_a_line_of_speeds_hears_nothing(plain: ByMemory, runners: list[ClipResult]) -> None:
    line = calibrate([results(CALM // 2, 1), results(CALM // 2, 2)], FPS, StatisticOptions()).calibration
    standards, said = Standards(line), [said_of(plain, runners)]
    assert standards.of("d", None, said, "cam1") == standards.of("d", None)


def test_cameras_of_one_bank_are_each_judged_by_what_was_said_of_them(
    calibration: Calibration, plain: ByMemory, runners: list[ClipResult]
) -> None:
    standards, said = Standards(calibration), (said_of(plain, runners),)
    own, other = (standards.of("d", None, said, camera) for camera in ("cam1", "cam2"))
    assert isinstance(own, ByMemory) and isinstance(other, ByMemory)
    assert own.taught is not None and other.taught is None
    assert standards.of("d", None, said, "cam1") is own
    assert own.memory is other.memory, "what was counted is made ready once"
