"""Events: hysteresis, minimum length, merging, and always an end."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.messages import MAX_GAPS, FrameGap, HeatMap, Peak, Thumbnail
from workers.tracker import (
    MAX_CURVE_POINTS,
    BankRef,
    EventRules,
    Happening,
    Observation,
    Report,
    Sight,
    close,
    interrupted,
    is_peak,
    step,
)

START = datetime(2026, 1, 5, 10, 0, tzinfo=timezone.utc)
BANK = BankRef("shared", 3, "0" * 64, "live")
RULES = EventRules(enter=0.6, exit=0.4, min_duration_s=0.3, merge_gap_s=1.0, update_interval_s=1.0, max_duration_s=20.0)


HEAT = HeatMap(rows=1, columns=1, values=(7,), scale="common")


def seen(index: int, score: float, fps: float = 10.0) -> Observation:
    at = START + timedelta(seconds=index / fps)
    peak = Peak(
        frame_index=index, captured_at=at, anomaly_score=score, psnr_db=30.0, feature_distance=0.1, regular_score=0.01
    )
    return Observation("s1", peak, Sight(HeatMap(rows=1, columns=1, values=(int(255 * score),))), BANK, "media")


def run(scores: list[float], rules: EventRules = RULES) -> tuple[list[Report], Happening | None]:
    state: Happening | None = None
    reports = []
    for index, score in enumerate(scores):
        outcome = step(state, seen(index, score), rules)
        state = outcome.state
        if outcome.report:
            reports.append(outcome.report)
    return reports, state


def phases(scores: list[float], rules: EventRules = RULES) -> list[str]:
    return [report.phase for report in run(scores, rules)[0]]


def test_calm_scores_say_nothing() -> None:
    assert run([0.1, 0.59, 0.3] * 20) == ([], None)


def test_opens_after_the_minimum_length_and_ends_after_the_merge_gap() -> None:
    reports, state = run([0.1] * 3 + [0.9] * 5 + [0.1] * 20)
    assert state is None
    start, end = reports
    assert (start.phase, start.happening.first_frame, start.at) == ("start", 3, seen(6, 0).captured_at)
    assert (end.phase, end.end_reason) == ("end", "cleared")
    assert (end.happening.last_frame, end.happening.num_scored) == (7, 5)
    assert end.at - end.happening.last_at > timedelta(seconds=1)


def test_a_spike_shorter_than_the_minimum_is_no_event() -> None:
    assert run([0.1] * 3 + [0.99] * 3 + [0.1] * 30) == ([], None)


def test_between_the_bounds_an_event_goes_on_but_none_begins() -> None:
    assert phases([0.5] * 20) == []
    reports, state = run([0.9] * 4 + [0.5] * 5)
    assert [report.phase for report in reports] == ["start"]
    assert state is not None
    assert state.last_frame == 8


def test_after_a_dip_only_the_upper_bound_carries_on() -> None:
    _, state = run([0.9] * 4 + [0.1] + [0.5] * 4)
    assert state is not None
    assert (state.last_frame, state.num_calm) == (3, 5)


def test_close_bursts_are_one_event_and_distant_ones_two() -> None:
    near = [0.9] * 5 + [0.1] * 5 + [0.9] * 5 + [0.1] * 20
    far = [0.9] * 5 + [0.1] * 15 + [0.9] * 5 + [0.1] * 20
    assert phases(near) == ["start", "update", "end"]
    assert phases(far) == ["start", "end", "start", "end"]
    merged = run(near)[0][-1].happening
    assert (merged.first_frame, merged.last_frame, merged.num_scored) == (0, 14, 15)


def test_updates_come_at_their_interval() -> None:
    reports, _ = run([0.9] * 40)
    assert [report.phase for report in reports] == ["start", "update", "update", "update"]
    assert [report.happening.sequence for report in reports] == [1, 2, 3, 4]
    gaps = {later.at - earlier.at for earlier, later in pairwise(reports)}
    assert gaps == {timedelta(seconds=1)}


def test_an_endless_anomaly_ends_by_timeout_and_the_next_event_begins() -> None:
    reports, _ = run([0.9] * 260)
    ends = [report for report in reports if report.phase == "end"]
    assert [end.end_reason for end in ends] == ["timeout"]
    again = [report for report in reports if report.phase == "start"]
    assert [report.happening.first_frame for report in again] == [0, ends[0].happening.last_frame + 1]


def test_the_peak_keeps_its_frame_and_its_map() -> None:
    reports, _ = run([0.7, 0.8, 0.95, 0.85, 0.7, 0.7] + [0.0] * 15)
    peak = reports[-1].happening
    assert (peak.peak.frame_index, peak.heat_map.values) == (2, (242,))


def test_the_curve_is_thinned_but_spans_the_event() -> None:
    _, state = run([0.9] * 190)
    assert state is not None
    assert 30 <= len(state.curve) <= MAX_CURVE_POINTS
    indices = [point.frame_index for point in state.curve]
    assert indices[0] == 0
    assert {b - a for a, b in pairwise(indices)} == {state.curve_stride}


def test_closing_tells_of_open_events_only() -> None:
    _, candidate = run([0.9] * 2)
    _, open_event = run([0.9] * 6)
    assert close(None, "shutdown", START).report is None
    assert close(candidate, "shutdown", START).report is None
    closed = close(open_event, "session_ended", START)
    assert closed.state is None
    assert closed.report is not None
    assert closed.report.end_reason == "session_ended"


@pytest.mark.parametrize("fps", [1.0, 2.0, 30.0])
def test_lengths_are_seconds_whatever_the_frame_rate(fps: float) -> None:
    state: Happening | None = None
    for index in range(200):
        outcome = step(state, seen(index, 0.9, fps), RULES)
        state = outcome.state
        if outcome.report:
            lasted = outcome.report.happening.last_at - outcome.report.happening.started_at
            assert lasted >= timedelta(seconds=0.3)
            assert lasted < timedelta(seconds=0.3 + 1.01 / fps)
            return
    pytest.fail("an anomaly of 200 frames must open an event")


@given(st.lists(st.floats(0, 1), max_size=300))
def test_phases_alternate_numbers_are_gapless_and_events_do_not_overlap(scores: list[float]) -> None:
    reports, state = run(scores)
    if state is not None:
        last = close(state, "shutdown", START + timedelta(days=1)).report
        reports += [last] if last else []
    open_first: int | None = None
    last_frame = -1
    sequence = 0
    for report in reports:
        happening = report.happening
        if report.phase == "start":
            assert open_first is None
            assert happening.first_frame > last_frame
            open_first, sequence = happening.first_frame, 0
        assert happening.first_frame == open_first
        sequence += 1
        assert happening.sequence == sequence
        assert max(scores[happening.first_frame : happening.last_frame + 1]) == happening.peak.anomaly_score
        assert happening.num_scored == happening.last_frame - happening.first_frame + 1
        if report.phase == "end":
            open_first, last_frame = None, happening.last_frame
    assert open_first is None


def after(seconds: float, state: Happening | None) -> Report | None:
    """What is reported when the next frame comes so long after the newest anomalous one."""
    assert state is not None
    outcome = interrupted(state, state.last_at + timedelta(seconds=seconds), 10.0, RULES)
    return None if outcome is None else outcome.report


def test_an_event_does_not_reach_over_silence() -> None:
    _, state = run([0.9] * 6)
    assert after(0.9, state) is None
    ended = after(60.0, state)
    assert ended is not None
    assert (ended.phase, ended.end_reason) == ("end", "camera_lost")
    assert ended.at == ended.happening.last_at


def test_a_clock_that_is_set_back_ends_an_event_not_before_it_began() -> None:
    _, state = run([0.9] * 6)
    ended = after(-3600.0, state)
    assert ended is not None
    assert ended.at >= ended.happening.started_at


def test_silence_after_calm_is_the_end_of_a_calm_event() -> None:
    _, state = run([0.9] * 6 + [0.1] * 3)
    ended = after(60.0, state)
    assert ended is not None
    assert ended.end_reason == "cleared"


def test_a_slow_camera_is_not_interrupted_by_its_own_rate() -> None:
    _, state = run([0.9] * 6)
    assert state is not None
    assert interrupted(state, state.last_at + timedelta(seconds=3), 1.0, RULES) is None
    assert interrupted(None, START, 1.0, RULES) is None


def test_a_candidate_that_is_interrupted_vanishes() -> None:
    _, state = run([0.9] * 2)
    assert after(60.0, state) is None
    assert state is not None
    outcome = interrupted(state, state.last_at + timedelta(seconds=60), 10.0, RULES)
    assert outcome is not None
    assert outcome.state is None


def test_frames_without_a_score_are_told_as_gaps_up_to_a_bound() -> None:
    state: Happening | None = None
    for index in [*range(5), 8, 9, 12]:
        state = step(state, seen(index, 0.9), RULES).state
    assert state is not None
    assert state.gaps == (FrameGap(first=5, last=7), FrameGap(first=10, last=11))
    for index in range(14, 14 + 4 * MAX_GAPS, 2):
        state = step(state, seen(index, 0.9), replace(RULES, max_duration_s=1e6)).state
        assert state is not None
    assert len(state.gaps) == MAX_GAPS


def test_what_came_back_after_a_dip_is_counted() -> None:
    reports, _ = run([0.9] * 5 + [0.1] * 3 + [0.9] * 2 + [0.5] * 2 + [0.1] * 5 + [0.9] + [0.1] * 20)
    assert reports[0].happening.stretches == 1
    assert reports[-1].happening.stretches == 3


def test_an_update_shows_the_peak_only_if_it_is_a_new_one() -> None:
    reports, _ = run([0.7] * 15 + [0.8] + [0.7] * 25 + [0.0] * 20)
    assert [report.phase for report in reports] == ["start", "update", "update", "update", "end"]
    assert [report.shows_peak for report in reports] == [True, False, True, False, True]


def test_a_frame_is_drawn_only_where_it_can_be_the_peak_of_something() -> None:
    assert not is_peak(None, RULES.exit, RULES)
    assert is_peak(None, RULES.enter, RULES)
    _, streak = run([0.9] * 4)
    _, calm = run([0.9] * 4 + [0.1])
    assert not is_peak(streak, 0.9, RULES)
    assert is_peak(streak, 0.91, RULES)
    assert not is_peak(calm, 0.5, RULES)


def test_what_is_drawn_of_the_peak_stays_with_it() -> None:
    picture = Thumbnail(width=4, height=3, jpeg_base64="AAAA")
    state: Happening | None = None
    for index, score in enumerate([0.7, 0.9, 0.8]):
        drawn = replace(seen(index, score), sight=Sight(HEAT, (), picture if index == 1 else None), clock="ntp")
        state = step(state, drawn, RULES).state
    assert state is not None
    assert (state.thumbnail, state.heat_map, state.clock) == (picture, HEAT, "ntp")


COOL = replace(RULES, cooldown_s=5.0)


def test_what_comes_back_within_the_cool_down_joins_the_event_and_is_counted() -> None:
    flapping = ([0.9] * 5 + [0.1] * 30) * 3 + [0.1] * 40
    reports, state = run(flapping, COOL)
    assert state is None
    assert [report.phase for report in reports if report.phase != "update"] == ["start", "end"]
    end = reports[-1]
    assert (end.happening.stretches, end.happening.last_frame, end.end_reason) == (3, 74, "cleared")
    assert end.happening.num_scored == 75, "calm frames between stretches are frames of the event"
    assert [report.phase for report in run(flapping, RULES)[0]] == ["start", "end"] * 3, "without, each is its own"


def test_a_cool_down_bounds_how_often_a_camera_alarms() -> None:
    """Flapping for ten minutes gives an event every ``max_duration_s``, not one every few seconds."""
    reports, _ = run(([0.9] * 5 + [0.1] * 30) * 170, replace(COOL, max_duration_s=60.0))
    starts = [report.at for report in reports if report.phase == "start"]
    assert len(starts) <= 10
    assert all(later - earlier >= timedelta(seconds=60) for earlier, later in pairwise(starts))


def test_updates_are_never_closer_than_their_interval() -> None:
    reports, _ = run(([0.9] * 3 + [0.1] * 2) * 60, COOL)
    told = [report.at for report in reports if report.phase != "end"]
    assert all(later - earlier >= timedelta(seconds=RULES.update_interval_s) for earlier, later in pairwise(told))


def test_a_cool_down_reaches_over_calm_frames_and_not_over_silence() -> None:
    _, calm = run([0.9] * 6 + [0.1] * 30, COOL)
    assert calm is not None
    assert calm.newest_at is not None
    assert interrupted(calm, calm.newest_at + timedelta(seconds=0.9), 10.0, COOL) is None
    broken = interrupted(calm, calm.newest_at + timedelta(seconds=1.1), 10.0, COOL)
    assert broken is not None
    assert broken.report is not None
    assert broken.report.end_reason == "cleared"


def test_who_is_to_blame_for_a_silence_is_told() -> None:
    _, state = run([0.9] * 6)
    assert state is not None
    ended = interrupted(state, state.last_at + timedelta(hours=1), 10.0, RULES, "worker_lost")
    assert ended is not None
    assert ended.report is not None
    assert ended.report.end_reason == "worker_lost"


def test_an_event_has_the_trace_of_its_first_anomalous_frame_that_has_one() -> None:
    state, told = None, []
    scores = [0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9] + [0.1] * 12
    for index, score in enumerate(scores):
        traceparent = None if index < 3 else f"00-{index:032x}-{'1' * 16}-01"
        if index == 0:
            traceparent = f"00-{'f' * 32}-{'1' * 16}-01"
        outcome = step(state, replace(seen(index, score), traceparent=traceparent), RULES)
        state = outcome.state
        told += [outcome.report.happening.traceparent] if outcome.report else []
    assert told == [f"00-{3:032x}-{'1' * 16}-01"] * 2


def test_an_event_that_has_a_trace_only_later_says_so_from_then_on() -> None:
    state, told = None, []
    for index in range(20):
        traceparent = f"00-{index:032x}-{'1' * 16}-01" if index > 10 else None
        outcome = step(state, replace(seen(index, 0.9), traceparent=traceparent), RULES)
        state = outcome.state
        told += [outcome.report.happening.traceparent] if outcome.report else []
    assert told == [None, f"00-{11:032x}-{'1' * 16}-01"]
