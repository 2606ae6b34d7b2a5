"""Rounds gather, wait, and are stopped by events, by a clock that the test owns."""

import pytest

from memory_store.coordinator.guards import EventSpan
from memory_store.coordinator.options import RoundRules
from memory_store.coordinator.rounds import EventBook, Held, Rounds
from tests.unit.memory_store.proposals import a_bank, held_for, place

BANK = a_bank()
RULES = RoundRules(round_s=60.0, quarantine_s=30.0)
SOON = float("inf")


def rounds_with(*held: Held, rules: RoundRules = RULES) -> Rounds:
    rounds: Rounds = Rounds(rules)
    for item in held:
        assert not rounds.add(item)
    return rounds


def firsts(round_: object) -> list[int]:
    return [held.header.first_frame for held in round_]  # type: ignore[attr-defined]


def test_a_round_settles_when_its_youngest_has_waited_and_leaves_out_latecomers() -> None:
    rounds = rounds_with(*(held_for(BANK, first=10 * at, at=float(at)) for at in (0, 59, 60, 61, 89)))
    assert rounds.due("lobby", 89.9, SOON) == []
    assert firsts(rounds.due("lobby", 90.0, SOON)) == [0, 590, 600]


def test_the_next_round_opens_with_the_oldest_left() -> None:
    rounds = rounds_with(held_for(BANK, first=0, at=0.0), held_for(BANK, first=10, at=70.0))
    rounds.remove(rounds.due("lobby", 90.0, SOON))
    assert rounds.due("lobby", 159.9, SOON) == []
    assert firsts(rounds.due("lobby", 160.0, SOON)) == [10]


def test_a_quarantine_passes_only_as_far_as_the_log_was_read() -> None:
    rounds = rounds_with(held_for(BANK))
    assert rounds.due("lobby", 1000.0, 89.9) == []
    assert firsts(rounds.due("lobby", 1000.0, 90.0)) == [0]


def test_without_a_round_each_proposal_settles_alone_and_at_once() -> None:
    rounds = rounds_with(*(held_for(BANK, first=first) for first in (0, 10)), rules=RoundRules(round_s=0))
    assert firsts(rounds.due("lobby", 0.0, float("-inf"))) == [0]


def test_without_a_round_a_quarantine_holds_if_it_was_asked_for() -> None:
    rules = RoundRules(round_s=0, quarantine_s=5)
    rounds = rounds_with(held_for(BANK, at=1.0), rules=rules)
    assert rounds.due("lobby", 5.9, SOON) == []
    assert firsts(rounds.due("lobby", 6.0, SOON)) == [0]


@pytest.mark.parametrize(("round_s", "given_s", "wait_s"), [(60, None, 30), (0, None, 0), (60, 0, 0), (0, 7, 7)])
def test_the_quarantine_in_force(round_s: float, given_s: float | None, wait_s: float) -> None:
    assert RoundRules(round_s=round_s, quarantine_s=given_s).wait_s == wait_s


def test_banks_have_rounds_of_their_own() -> None:
    dock = a_bank(bank_id="dock")
    rounds = rounds_with(held_for(dock, "cam9", at=0.0), held_for(BANK, at=50.0))
    assert rounds.bank_ids() == ["dock", "lobby"]
    assert len(rounds.due("dock", 90.0, SOON)) == 1
    assert rounds.due("lobby", 90.0, SOON) == []


def test_an_event_that_opens_in_quarantine_takes_the_proposal_out() -> None:
    rounds = rounds_with(held_for(BANK, "cam1", first=100), held_for(BANK, "cam2", first=100))
    events: EventBook = EventBook(RULES)
    events.note(EventSpan("cam1", "s1", 105, None), 1.0, place=place(7))
    (blocked,) = rounds.blocked(events)
    assert (blocked.held.header.camera_id, blocked.rejection.reason) == ("cam1", "camera_event")
    assert [held.header.camera_id for held in rounds] == ["cam2"]


def test_the_end_of_an_event_frees_what_comes_later() -> None:
    events: EventBook = EventBook(RULES)
    events.note(EventSpan("cam1", "s1", 105, None), 1.0, place=place(7))
    events.note(EventSpan("cam1", "s1", 105, 120), 2.0, place=place(9))
    rounds = rounds_with(held_for(BANK, first=131), held_for(BANK, first=121))
    assert [item.held.header.first_frame for item in rounds.blocked(events)] == [121]
    assert list(events.places()) == [place(7)]


def test_events_are_forgotten_when_nothing_can_meet_them_any_more() -> None:
    events: EventBook = EventBook(RoundRules(event_memory_s=100, max_event_s=1000))
    events.note(EventSpan("cam1", "s1", 1, 5), 0.0, place=place(1))
    events.note(EventSpan("cam1", "s1", 50, None), 0.0, place=place(2))
    events.forget_old(100.0)
    assert len(events) == 2
    events.forget_old(100.1)
    assert list(events.places()) == [place(2)]
    events.forget_old(1000.1)
    assert len(events) == 0


def test_events_of_a_lost_partition_are_read_again() -> None:
    events: EventBook = EventBook(RULES)
    events.note(EventSpan("cam1", "s1", 1, None), 0.0, place=place(1))
    events.note(EventSpan("cam2", "s1", 1, None), 0.0, place=place(2))
    events.forget_from(lambda where: where == place(1))
    assert list(events.places()) == [place(2)]


def flood(rounds: Rounds, camera_id: str, count: int) -> list[str]:
    """Cameras whose proposals left, in turn."""
    gone = [rounds.add(held_for(BANK, camera_id, first=10 * number)) for number in range(count)]
    return [item.held.header.camera_id for rejected in gone for item in rejected]


def test_a_flood_drives_out_its_own_and_not_the_honest_before_it() -> None:
    rounds = rounds_with(*(held_for(BANK, "honest", first=10 * n) for n in range(3)), rules=RoundRules(max_held=10))
    assert flood(rounds, "flood", 50) == ["flood"] * 43
    assert [held.header.camera_id for held in rounds].count("honest") == 3


def test_an_honest_newcomer_takes_the_place_of_the_flood() -> None:
    rules = RoundRules(max_held=10, kept_share=4)
    rounds = Rounds(rules)
    flood(rounds, "flood", 10)
    (dropped,) = rounds.add(held_for(BANK, "honest"))
    assert (dropped.held.header.camera_id, dropped.held.header.first_frame) == ("flood", 90)
    assert dropped.rejection.reason == "overflow"


def test_a_flood_under_ever_new_names_finds_the_door_shut() -> None:
    rules = RoundRules(max_held=10, kept_share=4)
    rounds = rounds_with(*(held_for(BANK, "honest", first=10 * n) for n in range(4)), rules=rules)
    for number in range(50):
        rounds.add(held_for(BANK, f"sybil{number}"))
    assert len(rounds) == 10
    assert [held.header.camera_id for held in rounds].count("honest") == 4


def test_an_id_belongs_to_nobody_but_content_is_held_once() -> None:
    rounds = rounds_with(held_for(BANK, seed=1), held_for(BANK, seed=2))
    assert len(rounds) == 2
    (repeated,) = rounds.add(held_for(BANK, seed=2))
    assert repeated.rejection.reason == "duplicate"


def test_a_flood_of_events_drives_out_its_own() -> None:
    events = EventBook(RoundRules(max_events=5))
    events.note(EventSpan("cam1", "s1", 1, None), 0.0, place=place(1))
    for number in range(20):
        events.note(EventSpan("flood", f"s{number}", 1, None), 1.0 + number, place=place(2))
    assert len(events) == 5
    assert len(list(events.spans("cam1", "s1"))) == 1
    assert len(list(events.spans("flood", "s19"))) == 1


def test_the_same_proposal_is_held_once() -> None:
    rounds = rounds_with(held_for(BANK))
    (repeated,) = rounds.add(held_for(BANK, at=5.0))
    assert repeated.rejection.reason == "duplicate"
    assert len(rounds) == 1
    assert "cam1:s1:0-9#1" in rounds


def test_proposals_of_a_lost_partition_are_given_back() -> None:
    rounds = rounds_with(*(held_for(BANK, first=first) for first in (0, 10, 20)))
    assert rounds.remove_from(lambda where: where.offset >= 10) == 2
    assert firsts(rounds) == [0]
