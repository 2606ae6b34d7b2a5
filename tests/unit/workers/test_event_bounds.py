"""Events at the very bounds of their rules, and rules at the bounds of what may be set."""

from dataclasses import replace
from datetime import timedelta

import pytest

from inference.sampling import longest_step
from inference.scoring import thresholds_for
from inference.standard import ByLine
from tests.small_bundle import small_bundle
from tests.unit.workers.test_tracker import BANK, RULES, START, run, seen
from workers.options import EventOptions
from workers.rules import event_rules
from workers.tracker import MAX_CURVE_POINTS, BankRef, Happening, Report, close, interrupted, step

CALIBRATION = small_bundle().calibration
TICK = timedelta(microseconds=1)


def after(scores: list[float]) -> Happening:
    state = run(scores)[1]
    assert state is not None
    return state


def test_a_score_at_a_bound_has_reached_it() -> None:
    assert after([0.6]).first_frame == 0
    assert run([0.6 - 1e-9])[1] is None
    assert after([0.9, 0.4]).last_frame == 1
    assert run([0.9, 0.4 - 1e-9])[1] is None, "a candidate that dips is none any more"


def test_an_event_opens_at_its_minimum_length_and_not_a_frame_sooner() -> None:
    assert not after([0.9] * 3).is_open
    assert after([0.9] * 4).is_open  # the fourth frame is 0.3 s after the first
    at_once = run([0.9], replace(RULES, min_duration_s=0.0))[0]
    assert [report.phase for report in at_once] == ["start"], "without a minimum the first frame opens it"


def test_the_gap_that_merges_is_closed_at_both_ends() -> None:
    opened = after([0.9] * 5)
    for late, ends in ((timedelta(seconds=1), False), (timedelta(seconds=1) + TICK, True)):
        one = seen(20, 0.1)
        peak = one.peak.model_copy(update={"captured_at": opened.last_at + late})
        outcome = step(opened, replace(one, peak=peak), RULES)
        assert (outcome.state is None) == ends
        assert (outcome.report is not None) == ends


def test_calm_frames_count_only_where_the_event_goes_on() -> None:
    merged = after([0.9] * 4 + [0.1] * 3 + [0.9])
    assert (merged.num_scored, merged.num_calm, merged.last_frame) == (8, 0, 7)
    calm = after([0.9] * 4 + [0.1] * 3)
    assert (calm.num_scored, calm.num_calm, calm.last_frame, calm.current_score) == (4, 3, 3, 0.1)
    ended = run([0.9] * 4 + [0.1] * 30)[0][-1].happening
    assert (ended.num_scored, ended.last_frame) == (4, 3)


def test_the_longest_event_ends_at_its_bound_and_says_so_once() -> None:
    rules = replace(RULES, max_duration_s=2.0)
    reports, state = run([0.9] * 21, rules)
    assert state is None
    assert [report.phase for report in reports] == ["start", "update", "end"]
    assert (reports[-1].end_reason, reports[-1].at - reports[-1].happening.started_at) == (
        "timeout",
        timedelta(seconds=2),
    )
    assert run([0.9] * 20, rules)[1] is not None


def test_an_update_comes_at_its_interval_counted_from_the_last_word() -> None:
    told = [report.at for report in run([0.9] * 4 + [0.9] * 10, RULES)[0]]
    assert told == [START + timedelta(seconds=0.3), START + timedelta(seconds=1.3)]


@pytest.mark.parametrize(
    ("gap_s", "fps", "longest"),
    [(1.0, 10.0, timedelta(seconds=1)), (0.1, 10.0, longest_step(10.0)), (0.1, 0.5, timedelta(seconds=6))],
)
def test_silence_breaks_an_event_beyond_a_gap_or_a_pause_whichever_is_longer(
    gap_s: float, fps: float, longest: timedelta
) -> None:
    state, rules = after([0.9] * 5), replace(RULES, merge_gap_s=gap_s)
    assert interrupted(state, state.last_at, fps, rules) is None
    assert interrupted(state, state.last_at + longest, fps, rules) is None
    for at in (state.last_at + longest + TICK, state.last_at - TICK):
        broken = interrupted(state, at, fps, rules)
        assert broken is not None
        assert broken.state is None
        assert broken.report is not None
        assert (broken.report.end_reason, broken.report.at) == ("camera_lost", state.last_at)
    assert interrupted(None, state.last_at, fps, rules) is None


def test_an_event_that_had_calmed_down_was_cleared_by_the_silence() -> None:
    calm = after([0.9] * 5 + [0.1] * 2)
    broken = interrupted(calm, calm.last_at + timedelta(hours=1), 10.0, RULES)
    assert broken is not None
    assert broken.report is not None
    assert (broken.report.end_reason, broken.report.happening.sequence) == ("cleared", calm.sequence + 1)
    candidate = after([0.9])
    silent = interrupted(candidate, candidate.last_at + timedelta(hours=1), 10.0, RULES)
    assert silent is not None, "a candidate ends too"
    assert (silent.state, silent.report) == (None, None), "and nobody hears of it"
    assert close(candidate, "shutdown", candidate.last_at).report is None


def test_the_bank_and_the_score_are_those_of_the_newest_frame_and_the_peak_of_the_highest() -> None:
    state = after([0.9] * 3)
    other = BankRef("shared", 4, "1" * 64, "stale")
    later = step(state, replace(seen(3, 0.5), bank=other), RULES).state
    assert later is not None
    assert (later.bank, later.current_score, later.peak) == (other, 0.5, seen(0, 0.9).peak)
    equal = step(state, seen(3, 0.9), RULES).state
    assert equal is not None
    assert equal.peak.frame_index == 0, "the first of two that are as high"
    assert state.bank == BANK


def test_a_curve_is_bounded_evenly_spaced_and_begins_at_the_beginning() -> None:
    state: Happening | None = None
    rules = replace(RULES, max_duration_s=1e6)
    for length in range(1, 5 * MAX_CURVE_POINTS):
        state = step(state, seen(length - 1, 0.9), rules).state
        assert state is not None
        frames = [point.frame_index for point in state.curve]
        assert len(frames) <= MAX_CURVE_POINTS
        assert frames == list(range(0, length, state.curve_stride))
    assert state is not None
    assert state.curve_stride == 8, "every eighth of so many frames fills between a half and the whole of it"


def reported(reports: list[Report]) -> list[int]:
    return [report.happening.sequence for report in reports]


def test_each_message_of_an_event_has_the_next_number_its_end_too() -> None:
    assert reported(run([0.9] * 30 + [0.1] * 30)[0]) == [1, 2, 3, 4]


@pytest.mark.parametrize("fps", [5.0, 10.0, 25.0])
@pytest.mark.parametrize(
    ("enter", "leave", "method"),
    [(None, None, "calibrated"), (0.8, None, "fixed"), (0.8, 0.3, "fixed"), (0.3, 0.8, "fixed"), (None, 0.0, "fixed")],
)
def test_what_is_set_stands_and_what_is_not_keeps_its_calibrated_ratio(
    fps: float, enter: float | None, leave: float | None, method: str
) -> None:
    calibrated = thresholds_for(CALIBRATION, 1.0, fps)
    options = EventOptions(enter=enter, exit=leave, target_false_alarms_per_day=1.0)
    rules = event_rules(options)(fps, ByLine(CALIBRATION))
    assert rules.enter == (calibrated[0] if enter is None else enter)
    wanted = calibrated[1] / calibrated[0] * rules.enter if leave is None else leave
    assert rules.exit == pytest.approx(min(rules.enter, wanted))
    assert rules.method == method
    assert rules.target_false_alarms_per_day == (1.0 if method == "calibrated" else None)
    assert (rules.min_duration_s, rules.max_duration_s) == (options.min_duration_s, options.max_duration_s)
