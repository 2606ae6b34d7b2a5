"""Events against truth, and the checks of the stack demo, on made-up data with known faults."""

from collections import Counter
from datetime import datetime, timezone

import numpy as np
import pytest

from engram.demo.checks import Check, check_bank, check_events, check_scores, frame_keys
from engram.demo.comparison import compare, newest_states
from memory_store.bank import AuditEntry, Bank, Change, entry_for, next_epoch
from memory_store.proposal import normalised
from producers.synthetic import Box, InjectedAnomaly
from schemas.messages import EventData
from tests.unit.consumers.samples import event, score

NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)


def anomaly(first: int, last: int) -> InjectedAnomaly:
    return InjectedAnomaly("cyclist", first, last, (Box(0, 0, 5, 5),) * (last - first + 1))


def states(*spans: tuple[int, int]) -> tuple[EventData, ...]:
    return newest_states([event(first, last, "end", 1) for first, last in spans])


def test_the_newest_state_of_an_event_counts() -> None:
    messages = [event(5, 5), event(5, 20, "end", 2), event(5, 12, "update", 1), event(40, 41)]
    assert [(state.frames.last, state.phase) for state in newest_states(messages)] == [(20, "end"), (41, "start")]


def test_found_missed_and_false() -> None:
    result = compare({"cam1": [anomaly(10, 20), anomaly(60, 70)]}, states((12, 25), (100, 110)), slack_frames=5)
    assert result.num_found == 1
    assert [finding.event is not None for finding in result.findings] == [True, False]
    assert [state.frames.first for state in result.false_events] == [100]


@pytest.mark.parametrize(("span", "is_found"), [((25, 30), True), ((26, 30), False), ((1, 5), True), ((1, 4), False)])
def test_the_slack_is_exact_on_both_sides(span: tuple[int, int], is_found: bool) -> None:
    result = compare({"cam1": [anomaly(10, 20)]}, states(span), slack_frames=5)
    assert bool(result.num_found) is is_found
    assert bool(result.false_events) is not is_found


def test_one_event_may_cover_two_anomalies_and_another_camera_does_not_help() -> None:
    truth = {"cam1": [anomaly(10, 20), anomaly(30, 40)], "cam2": [anomaly(10, 20)]}
    result = compare(truth, states((12, 35)), slack_frames=0)
    assert result.num_found == 2
    assert result.findings[2].event is None


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
