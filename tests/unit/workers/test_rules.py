"""Bounds of events: from the calibration unless they are set."""

import pytest

from inference.scoring import supported_false_alarms_per_day, thresholds_for
from inference.standard import ByLine
from tests.unit.workers.test_camera import CALIBRATION
from workers.options import CameraOptions, EventOptions
from workers.rules import CameraRules, beyond_evidence, event_rules

BY_LINE = ByLine(CALIBRATION)


def test_unset_bounds_come_from_the_calibration_and_the_target() -> None:
    rules = event_rules(EventOptions(target_false_alarms_per_day=10))(10.0, ByLine(CALIBRATION))
    assert (rules.enter, rules.exit) == thresholds_for(CALIBRATION, 10, 10.0)
    assert (rules.method, rules.target_false_alarms_per_day) == ("calibrated", 10)


def test_more_false_alarms_allowed_is_a_lower_threshold() -> None:
    strict, loose = (
        event_rules(EventOptions(target_false_alarms_per_day=n))(10.0, ByLine(CALIBRATION)) for n in (1, 100)
    )
    assert loose.enter < strict.enter
    assert loose.exit < strict.exit


def test_set_bounds_are_kept_and_called_fixed() -> None:
    rules = event_rules(EventOptions(enter=0.9, exit=0.2))(10.0, ByLine(CALIBRATION))
    assert (rules.enter, rules.exit, rules.method, rules.target_false_alarms_per_day) == (0.9, 0.2, "fixed", None)


def test_enter_alone_takes_exit_along() -> None:
    calibrated = event_rules(EventOptions())(10.0, ByLine(CALIBRATION))
    rules = event_rules(EventOptions(enter=calibrated.enter / 2))(10.0, ByLine(CALIBRATION))
    assert rules.exit == pytest.approx(calibrated.exit / 2)


def test_exit_is_never_above_enter() -> None:
    rules = event_rules(EventOptions(exit=0.99))(10.0, ByLine(CALIBRATION))
    assert rules.exit <= rules.enter


def test_lengths_pass_through() -> None:
    options = EventOptions(min_duration_s=1, merge_gap_s=2, update_interval_s=3, max_duration_s=4)
    rules = event_rules(options)(25.0, ByLine(CALIBRATION))
    assert (rules.min_duration_s, rules.merge_gap_s, rules.update_interval_s, rules.max_duration_s) == (1, 2, 3, 4)


HOUR = CALIBRATION.model_copy(update={"num_frames": 36_000, "fps": 10.0, "smoothing_s": 0.3})


def test_fewer_false_alarms_than_the_footage_supports_are_told() -> None:
    told = beyond_evidence(EventOptions(target_false_alarms_per_day=1.5), HOUR)
    assert told is not None
    assert "\n" not in told
    assert told.startswith("1.5 false alarms a day are asked for (events.target_false_alarms_per_day), the calibration")
    assert "rests on 3,600 s of normal video that was not learned, which supports no fewer than 72 false alarms" in told


@pytest.mark.parametrize(("asked", "is_told"), [(72.0, False), (100.0, False), (71.9, True)])
def test_what_the_footage_supports_is_promised_in_silence(asked: float, is_told: bool) -> None:
    assert supported_false_alarms_per_day(HOUR) == 72.0
    assert (beyond_evidence(EventOptions(target_false_alarms_per_day=asked), HOUR) is not None) == is_told


def test_a_bound_that_is_set_promises_nothing() -> None:
    """``exit`` alone leaves the one that opens events to the calibration."""
    assert beyond_evidence(EventOptions(enter=0.9, exit=0.5), HOUR) is None
    assert beyond_evidence(EventOptions(enter=0.9), HOUR) is None
    assert beyond_evidence(EventOptions(exit=0.1), HOUR) is not None


def test_each_camera_goes_by_its_own_bounds_and_the_others_by_those_of_all() -> None:
    gate = CameraOptions(EventOptions(enter=0.9, exit=0.2), zones={"door": ((0, 0), (1, 0), (1, 1))}, severity="info")
    rules = CameraRules(EventOptions(enter=0.5, exit=0.4), {"gate": gate})
    assert (rules("gate", 10.0, BY_LINE).enter, rules("yard", 10.0, BY_LINE).enter) == (0.9, 0.5)
    assert rules.camera("gate") is gate
    assert (rules.camera("yard").zones, rules.camera("yard").severity) == ({}, None)


def test_bounds_that_change_count_from_then_on() -> None:
    rules = CameraRules(EventOptions(enter=0.5), {})
    rules.change(EventOptions(enter=0.6), {"gate": CameraOptions(EventOptions(enter=0.7))})
    assert (rules("gate", 10.0, BY_LINE).enter, rules("yard", 10.0, BY_LINE).enter) == (0.7, 0.6)
    rules.change(EventOptions(enter=0.6), {})
    assert rules("gate", 10.0, BY_LINE).enter == 0.6
