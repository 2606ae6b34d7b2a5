"""What a round took in is known again by frame and time, and fits into a record's header."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from memory_store.bank import AuditEntry, Change, entry_for, first_broken_link
from memory_store.taken import MAX_THROUGH_BYTES, Reached, Taken, joined, taken_of
from schemas.errors import DamagedError
from schemas.messages import ProposalHeader
from tests.unit.memory_store.proposals import NOW, a_bank, header_for

UNTIL_S = NOW.timestamp() + 60


def header(first: int, camera_id: str = "cam1", session_id: str = "s1", late_s: float = 0.0) -> ProposalHeader:
    at = NOW + timedelta(seconds=late_s)
    changed = {"session_id": session_id, "captured_from": at, "captured_to": at}
    return header_for(a_bank(), camera_id, first, first + 9, **changed)


def test_what_was_taken_in_is_held_and_what_came_after_is_not() -> None:
    taken = taken_of([header(0), header(20, late_s=2), header(10, late_s=1), header(500, "cam2")], UNTIL_S)
    assert taken.through == {
        ("cam1", "s1"): Reached(29, NOW.timestamp() + 2),
        ("cam2", "s1"): Reached(509, NOW.timestamp()),
    }
    assert taken.cameras == ["cam1", "cam2"]
    assert taken.holds(header(20, late_s=2), NOW.timestamp())
    assert not taken.holds(header(30, late_s=3), NOW.timestamp())
    assert not taken.holds(header(0, session_id="s2"), NOW.timestamp())


def test_a_session_that_counts_anew_and_a_clock_that_was_set_back_are_nothing_that_was_taken_in() -> None:
    taken = taken_of([header(100, late_s=50)], UNTIL_S)
    assert not taken.holds(header(0, late_s=51), NOW.timestamp())
    assert not taken.holds(header(110, late_s=-3600), NOW.timestamp())


def test_of_very_many_cameras_some_are_named_and_what_was_settled_of_the_others_is_held() -> None:
    taken = taken_of([header(0, f"camera-{number}" * 3) for number in range(300)], UNTIL_S)
    assert not taken.is_whole
    assert 30 < len(taken.through) < 300
    assert len(json.dumps(taken.to_json())) <= MAX_THROUGH_BYTES + 100
    assert taken.holds(header(5, "unnamed"), UNTIL_S - 1)
    assert not taken.holds(header(5, "unnamed"), UNTIL_S)


def test_rounds_are_joined_in_any_order() -> None:
    first, second = taken_of([header(0), header(7, "cam2")], UNTIL_S), taken_of([header(50, late_s=9)], UNTIL_S + 60)
    assert joined([first, second]) == joined([second, first])
    whole = joined([first, second])
    assert whole is not None and whole.until_s == UNTIL_S + 60
    assert whole.through[("cam1", "s1")] == Reached(59, NOW.timestamp() + 9)
    assert joined([]) is None


def test_it_travels_in_the_log_and_entries_without_it_keep_their_digest() -> None:
    plain = entry_for(a_bank(), Change("update", "c1", "round", "1"), None, None)
    assert "taken" not in plain.to_json()
    entry = replace(plain, change=replace(plain.change, taken=taken_of([header(0)], UNTIL_S)))
    again = AuditEntry.from_text(entry.to_text())
    assert again == entry
    assert again.digest_of_entry() != plain.digest_of_entry()
    after = replace(entry, version=1, previous_entry=entry.digest_of_entry(), previous_digest=entry.digest)
    assert first_broken_link([entry, after]) is None


@pytest.mark.parametrize("wrong", [{}, {"until_s": 1, "through": [["cam1"]], "is_whole": True}, 7])
def test_what_is_no_such_thing_is_damage(wrong: object) -> None:
    content = entry_for(a_bank(), Change("update", "c1", "round", "1"), None, None).to_json() | {"taken": wrong}
    with pytest.raises(DamagedError, match="audit entry"):
        AuditEntry.from_json(content)


def test_nothing_is_taken_of_nothing() -> None:
    assert taken_of([], UNTIL_S) == Taken(UNTIL_S)
