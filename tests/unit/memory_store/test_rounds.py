"""Rounds gather, wait, and are stopped by events, by the times of frames and by a clock that the test owns."""

import pytest

from memory_store.coordinator.event_book import EventBook
from memory_store.coordinator.guards import EventSpan
from memory_store.coordinator.options import RoundRules
from memory_store.coordinator.rounds import Held, Round, Rounds
from tests.unit.memory_store.proposals import NOW, a_bank, held_for, place

BANK = a_bank()
RULES = RoundRules(round_s=60.0, quarantine_s=30.0)
SOON = float("inf")


def rounds_with(*held: Held, rules: RoundRules = RULES) -> Rounds:
    rounds: Rounds = Rounds(rules)
    for item in held:
        assert not rounds.add(item)
    return rounds


def firsts(round_: Round) -> list[int]:
    return [held.header.first_frame for held in round_.held]


def goes_on_to(rounds: Rounds, late_s: float, camera_id: str = "cam1", at: float = 0.0) -> None:
    """A camera publishes something else that late, and all of it is read."""
    rounds.heard_of(camera_id, NOW.timestamp() + late_s, at)
    rounds.begin_reading()
    rounds.all_is_read()


def test_a_round_holds_a_stretch_of_capture_time_and_settles_when_its_camera_has_gone_on() -> None:
    rounds = rounds_with(*(held_for(BANK, first=10 * late, late_s=late) for late in (0, 30, 59, 60, 89)))
    goes_on_to(rounds, 89.9)
    assert rounds.due("lobby", 0.0, SOON).held == ()
    goes_on_to(rounds, 90.0)
    round_ = rounds.due("lobby", 0.0, SOON)
    assert firsts(round_) == [0, 300, 590]
    assert round_.end_s == NOW.timestamp() + 60


def test_by_the_clock_a_round_settles_when_its_cameras_do_not_go_on() -> None:
    rounds = rounds_with(*(held_for(BANK, first=10 * at, at=float(at)) for at in (0, 59, 89, 91)))
    assert rounds.due("lobby", 119.9, SOON).held == ()
    assert firsts(rounds.due("lobby", 120.0, SOON)) == [0, 590, 890], "what came last has not waited long enough"


def test_the_clock_never_settles_a_round_that_waits_for_as_long_as_it_takes() -> None:
    rules = RoundRules(round_s=60.0, quarantine_s=30.0, patience_s=None)
    rounds = rounds_with(held_for(BANK), rules=rules)
    assert rounds.due("lobby", 1e9, SOON).held == ()
    assert firsts(rounds.due("lobby", 0.0, SOON, is_ending=True)) == [0]


def test_rounds_are_settled_one_after_the_other_also_at_the_end() -> None:
    rounds = rounds_with(*(held_for(BANK, first=10 * late, late_s=late) for late in (0, 59, 60, 300)))
    found = []
    while (round_ := rounds.due("lobby", 0.0, SOON, is_ending=True)).held:
        found.append((round_.end_s - NOW.timestamp(), firsts(round_)))
        rounds.remove(round_.held)
        rounds.settled("lobby", round_)
    assert found == [(60, [0, 590]), (120, [600]), (360, [3000])]


def test_what_is_found_after_its_round_was_settled_joins_the_next_and_is_counted() -> None:
    rounds = rounds_with(held_for(BANK, "cam1", first=0))
    goes_on_to(rounds, 95.0)
    round_ = rounds.due("lobby", 0.0, SOON)
    assert round_.num_late == 0
    rounds.remove(round_.held)
    rounds.settled("lobby", round_)
    rounds.add(held_for(BANK, "cam2", first=70, late_s=7))
    rounds.add(held_for(BANK, "cam1", first=990, late_s=99))
    for camera_id in ("cam1", "cam2"):
        goes_on_to(rounds, 150.0, camera_id)
    round_ = rounds.due("lobby", 0.0, SOON)
    assert (firsts(round_), round_.num_late, round_.end_s - NOW.timestamp()) == ([70, 990], 1, 120)


def test_the_slowest_camera_of_a_bank_is_waited_for_until_it_is_silent_for_too_long() -> None:
    rounds = rounds_with(held_for(BANK, "cam1"), held_for(BANK, "cam2", late_s=1, first=10))
    goes_on_to(rounds, 1000.0, "cam1", at=100.0)
    assert rounds.due("lobby", 119.0, SOON).held == ()
    assert firsts(rounds.due("lobby", 121.0, SOON)) == [0], "the other has not gone on since"
    goes_on_to(rounds, 91.0, "cam2", at=119.0)
    assert firsts(rounds.due("lobby", 119.0, SOON)) == [0, 10]


def test_a_camera_that_is_behind_what_was_settled_holds_nobody_up() -> None:
    rounds = rounds_with(held_for(BANK, "cam1", late_s=3600))
    goes_on_to(rounds, 3690.0)
    settled = rounds.due("lobby", 0.0, SOON)
    rounds.remove(settled.held)
    rounds.settled("lobby", settled)
    rounds.add(held_for(BANK, "cam1", first=10, late_s=3700))
    rounds.add(held_for(BANK, "cam2", first=50))
    goes_on_to(rounds, 3750.0)
    assert firsts(rounds.due("lobby", 0.0, SOON)) == [10], "and what it says waits out a quarantine of its own"


def test_events_are_read_before_a_quarantine_passes() -> None:
    """What says that the camera has gone on is read before the event, which lies in another partition."""
    rounds = rounds_with(held_for(BANK))
    rounds.heard_of("cam1", NOW.timestamp() + 95.0, 0.0)
    rounds.all_is_read()
    assert rounds.due("lobby", 0.0, SOON).held == ()
    rounds.begin_reading()
    rounds.all_is_read()
    assert firsts(rounds.due("lobby", 0.0, SOON)) == [0]


def test_a_quarantine_passes_only_as_far_as_the_log_was_read() -> None:
    rounds = rounds_with(held_for(BANK))
    assert rounds.due("lobby", 1000.0, 119.9).held == ()
    assert firsts(rounds.due("lobby", 1000.0, 120.0)) == [0]


def test_a_clock_that_was_set_back_begins_its_rounds_anew() -> None:
    rounds = rounds_with(held_for(BANK, first=0, late_s=7200), held_for(BANK, first=10, late_s=7300))
    goes_on_to(rounds, 7300.0)
    first = rounds.due("lobby", 0.0, SOON)
    assert firsts(first) == [0]
    rounds.remove(first.held)
    rounds.settled("lobby", first)
    rounds.add(held_for(BANK, first=20, late_s=0))
    rounds.add(held_for(BANK, first=30, late_s=90))
    goes_on_to(rounds, 91.0)
    assert firsts(rounds.due("lobby", 0.0, SOON)) == [10, 20], "what was held is as old as what came after it"


def test_a_clock_that_jumps_ahead_and_back_leaves_nothing_behind() -> None:
    rounds = rounds_with(*(held_for(BANK, first=10 * n, late_s=late) for n, late in enumerate((0, 1e8, 2, 92))))
    goes_on_to(rounds, 93.0)
    assert firsts(rounds.due("lobby", 0.0, SOON)) == [0, 10, 20]


def test_what_comes_a_little_out_of_order_is_dated_like_what_came_before() -> None:
    rounds = rounds_with(held_for(BANK, first=0, late_s=61), held_for(BANK, first=10, late_s=59))
    assert [held.at_s - NOW.timestamp() for held in rounds] == [61, 61]


def test_a_clock_that_stands_still_does_not_stall_a_shared_bank() -> None:
    rounds = rounds_with(held_for(BANK, "cam1"), held_for(BANK, "stuck", first=10))
    goes_on_to(rounds, 1000.0, "cam1", at=119.0)
    goes_on_to(rounds, 0.0, "stuck", at=119.0)
    assert rounds.due("lobby", 119.0, SOON).held == ()
    goes_on_to(rounds, 0.0, "stuck", at=120.0)
    assert firsts(rounds.due("lobby", 120.0, SOON)) == [0, 10]


def test_without_a_round_each_proposal_settles_alone_and_at_once() -> None:
    rounds = rounds_with(*(held_for(BANK, first=first) for first in (0, 10)), rules=RoundRules(round_s=0))
    assert firsts(rounds.due("lobby", 0.0, float("-inf"))) == [0]


def test_without_a_round_a_quarantine_holds_if_it_was_asked_for() -> None:
    rules = RoundRules(round_s=0, quarantine_s=5)
    rounds = rounds_with(held_for(BANK, at=1.0), rules=rules)
    goes_on_to(rounds, 4.9)
    assert firsts(rounds.due("lobby", 35.9, SOON)) == []
    assert firsts(rounds.due("lobby", 36.0, SOON)) == [0]
    goes_on_to(rounds, 5.0)
    assert firsts(rounds.due("lobby", 1.0, SOON)) == [0]


@pytest.mark.parametrize(("round_s", "given_s", "wait_s"), [(60, None, 30), (0, None, 0), (60, 0, 0), (0, 7, 7)])
def test_the_quarantine_in_force(round_s: float, given_s: float | None, wait_s: float) -> None:
    assert RoundRules(round_s=round_s, quarantine_s=given_s).wait_s == wait_s


def test_banks_have_rounds_of_their_own() -> None:
    dock = a_bank(bank_id="dock")
    rounds = rounds_with(held_for(dock, "cam9"), held_for(BANK))
    assert rounds.bank_ids() == ["dock", "lobby"]
    goes_on_to(rounds, 90.0, "cam9")
    assert firsts(rounds.due("dock", 0.0, SOON)) == [0]
    assert firsts(rounds.due("lobby", 0.0, SOON)) == []


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
    assert [held.header.first_frame for held in rounds] == [0]


def test_an_event_is_remembered_from_its_newest_message_on() -> None:
    events = EventBook(RoundRules(event_memory_s=100, max_event_s=1000))
    events.note(EventSpan("cam1", "s1", 1, None), 5000.0, place=place(1))
    events.note(EventSpan("cam1", "s1", 1, None), 5900.0, place=place(2))
    events.forget_old(6900.0)
    assert list(events.places()) == [place(1)], "the place of its first message, the time of its last"
    events.note(EventSpan("cam1", "s1", 1, 50), 6900.0, place=place(3))
    events.forget_old(7000.0)
    assert len(events) == 1
    events.forget_old(7000.5)
    assert len(events) == 0


def test_the_flood_is_known_by_its_camera_though_its_sessions_change() -> None:
    """Two honest cameras have the older events; the flood, under ever new sessions, drives out its own alone."""
    events = EventBook(RoundRules(max_events=6))
    for camera_id in ("cam1", "cam2"):
        for first in (1, 2):
            events.note(EventSpan(camera_id, "s1", first, None), float(first), place=place(first))
    for number in range(100):
        events.note(EventSpan("flood", f"s{number}", 7, None), 10.0 + number, place=place(9))
    assert [len(list(events.spans(camera_id, "s1"))) for camera_id in ("cam1", "cam2")] == [2, 2]
    assert [number for number in range(100) if list(events.spans("flood", f"s{number}"))] == [98, 99]
    assert len(events) == len(list(events.places())) == 6
    assert len(events._sessions) == 4, "sessions without events cost no memory"


def test_the_oldest_event_of_the_flood_goes_first_and_it_is_bounded_exactly() -> None:
    events = EventBook(RoundRules(max_events=3))
    for first, touched_at in ((1, 3.0), (2, 1.0), (3, 2.0)):
        events.note(EventSpan("cam1", "s1", first, None), touched_at, place=place(first))
    assert len(events) == 3
    events.note(EventSpan("cam1", "s1", 4, None), 4.0, place=place(4))
    assert [span.first_frame for span in events.spans("cam1", "s1")] == [1, 3, 4]
    events.note(EventSpan("cam1", "s1", 4, 9), 5.0, place=place(5))
    assert len(events) == 3, "one more word of a known event is no new one"


def test_the_newest_of_whoever_holds_most_makes_room_and_never_below_the_share() -> None:
    rules = RoundRules(max_held=7, kept_share=3)
    rounds = rounds_with(
        *(held_for(BANK, "many", first=10 * n) for n in range(4)),
        *(held_for(BANK, "few", first=10 * n) for n in range(3)),
        rules=rules,
    )
    (first,) = rounds.add(held_for(BANK, "new"))
    assert (first.held.header.camera_id, first.held.header.first_frame) == ("many", 30)
    (second,) = rounds.add(held_for(BANK, "newer"))  # now nobody holds more than the share
    assert second.held.header.camera_id == "newer"
    (third,) = rounds.add(held_for(BANK, "many", first=90))  # whoever holds as many as the most makes room itself
    assert third.held.header.first_frame == 90
    assert len(rounds) == 7


def test_what_has_left_leaves_no_name_behind() -> None:
    dock = held_for(a_bank(bank_id="dock"), "cam9")
    rounds = rounds_with(held_for(BANK), dock)
    rounds.remove([dock])
    rounds.remove([dock])
    assert rounds.bank_ids() == ["lobby"]
    assert rounds.of_bank("dock") == []
    assert dock.identity not in rounds
    assert rounds.due("dock", SOON, SOON).held == ()


@pytest.mark.parametrize("guard_frames", [0, 10])
def test_the_frames_around_an_event_are_as_many_as_the_rules_say(guard_frames: int) -> None:
    rules = RoundRules(guard_frames=guard_frames)
    rounds = rounds_with(*(held_for(BANK, first=first) for first in (0, 10, 20, 30, 40)), rules=rules)
    events = EventBook(rules)
    events.note(EventSpan("cam1", "s1", 20, 29), 0.0, place=place(0))
    assert [item.held.header.first_frame for item in rounds.blocked(events)] == (
        [20] if guard_frames == 0 else [10, 20, 30]
    )
    assert len(rounds) == (4 if guard_frames == 0 else 2)
