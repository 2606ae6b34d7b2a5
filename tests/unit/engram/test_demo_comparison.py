"""Events against truth, and the checks of the stack demo, on made-up data with known faults."""

from collections import Counter
from datetime import datetime, timezone

import numpy as np
import pytest

from engram.demo.checks import Check, check_bank, check_events, check_scores, frame_keys
from engram.demo.comparison import compare, false_alarms, newest_states
from memory_store.bank import AuditEntry, Bank, Change, entry_for, next_epoch
from memory_store.proposal import normalised
from producers.synthetic import Box, InjectedAnomaly
from schemas.messages import EventData
from tests.unit.consumers.samples import FPS, event, score

NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)


def anomaly(first: int, last: int) -> InjectedAnomaly:
    return InjectedAnomaly("cyclist", first, last, (Box(0, 0, 5, 5),) * (last - first + 1))


def test_the_newest_state_of_an_event_counts() -> None:
    messages = [event(5, 5), event(5, 20, "end", 2), event(5, 12, "update", 1), event(40, 41)]
    assert [(state.frames.last, state.phase) for state in newest_states(messages)] == [(20, "end"), (41, "start")]


def at_peak(first: int, last: int, peak: int, camera_id: str = "cam1") -> EventData:
    data = event(first, last, "end", 1, camera_id).data
    return data.model_copy(update={"peak": data.peak.model_copy(update={"frame_index": peak})})


def test_found_missed_and_false() -> None:
    events = [at_peak(12, 25, 14), at_peak(100, 110, 104)]
    result = compare({"cam1": [anomaly(10, 20), anomaly(60, 70)]}, events, FPS)
    assert result.num_found == 1
    assert [finding.event is not None for finding in result.findings] == [True, False]
    assert [state.frames.first for state in result.false_events] == [100]


@pytest.mark.parametrize(("peak", "is_found"), [(9, False), (10, True), (20, True), (21, False)])
def test_the_peak_must_lie_in_the_truth(peak: int, is_found: bool) -> None:
    """However much of the event overlaps it."""
    result = compare({"cam1": [anomaly(10, 20)]}, [at_peak(5, 25, peak)], FPS)
    assert bool(result.num_found) is is_found
    assert bool(result.false_events) is not is_found


def test_an_event_that_begins_long_before_its_anomaly_holds_false_seconds() -> None:
    """9 s early and 3 s late at 10 frames a second, of which 1 s each may be."""
    result = compare({"cam1": [anomaly(200, 240)]}, [at_peak(110, 270, 210)], FPS)
    assert (result.num_found, result.false_events) == (1, ())
    assert result.false_frames == 80 + 20
    assert result.false_s == pytest.approx(10.0)
    assert false_alarms(result) == "0 false events; events hold 10 s further than 1 s from any anomaly"


@pytest.mark.parametrize(("span", "false_frames"), [((0, 40), 0), ((0, 41), 1), ((-1, 40), 1)])
def test_the_tolerance_is_exact_on_both_sides(span: tuple[int, int], false_frames: int) -> None:
    shifted = at_peak(span[0] + 100, span[1] + 100, 115)
    assert compare({"cam1": [anomaly(110, 130)]}, [shifted], FPS).false_frames == false_frames


def test_a_false_event_is_false_all_along_and_a_gap_between_two_anomalies_too() -> None:
    truth = {"cam1": [anomaly(100, 120), anomaly(160, 180)]}
    assert compare(truth, [at_peak(300, 309, 305)], FPS).false_frames == 10
    assert compare(truth, [at_peak(100, 180, 110)], FPS).false_frames == 160 - 120 - 1 - 2 * 10


def test_one_event_finds_one_anomaly_and_another_camera_does_not_help() -> None:
    truth = {"cam1": [anomaly(10, 20), anomaly(30, 40)], "cam2": [anomaly(10, 20)]}
    result = compare(truth, [at_peak(12, 35, 15)], FPS)
    assert [finding.event is not None for finding in result.findings] == [True, False, False]


def verdicts(checks: tuple[Check, ...]) -> list[bool]:
    return [check.ok for check in checks]


def test_scores_that_match_pass() -> None:
    keys = frame_keys([score(index) for index in range(4)])
    assert verdicts(check_scores(keys, keys, 0)) == [True] * 4


def test_each_fault_of_scores_is_seen_and_named() -> None:
    sent = frame_keys([score(index) for index in range(4)])
    missing, twice = sent - Counter([("cam1", "s1", 2)]), sent + Counter([("cam1", "s1", 3)])
    unknown = sent + Counter([("cam9", "s1", 0)])
    assert verdicts(check_scores(sent, missing, 0)) == [False, True, True, True]
    assert "('cam1', 's1', 2)" in check_scores(sent, missing, 0)[0].detail
    assert verdicts(check_scores(sent, twice, 0)) == [True, False, True, True]
    assert verdicts(check_scores(sent, unknown, 0)) == [True, True, False, True]
    assert verdicts(check_scores(sent, sent, 1)) == [True, True, True, False]


def test_nothing_sent_is_no_success() -> None:
    assert not check_scores(Counter(), Counter(), 0)[0].ok


def test_whole_events_pass_and_each_fault_is_seen() -> None:
    start, update, end = event(5, 5), event(5, 15, "update", 1), event(5, 18, "end", 2)
    assert verdicts(check_events([update, end, start])) == [True, True]
    assert verdicts(check_events([start, update])) == [True, False]
    assert verdicts(check_events([start, end])) == [True, False]
    assert verdicts(check_events([update, end])) == [True, False]
    assert verdicts(check_events([start, update, end, end])) == [False, False]


def log_of(num: int) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    items = normalised(np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32))
    bank = Bank("shared", 0, next_epoch(), "b" * 64, items, NOW)
    for number in range(num):
        change = Change("update" if number else "create", "c1", "test", f"id-{number}")
        before = entries[-1] if entries else None
        entries.append(
            entry_for(bank, change, before.digest if before else None, before.digest_of_entry() if before else None)
        )
        bank = bank.followed_by(normalised(bank.items_MC + 0.1), NOW)
    return entries


def test_a_grown_and_unbroken_log_passes() -> None:
    assert verdicts(check_bank(log_of(3))) == [True, True]


def test_a_bank_that_never_learned_or_lost_an_entry_is_seen() -> None:
    assert verdicts(check_bank(log_of(1))) == [False, True]
    assert verdicts(check_bank([])) == [False, False]
    entries = log_of(4)
    assert verdicts(check_bank([entries[0], *entries[2:]])) == [True, False]
