"""A durable position never passes what is undecided."""

from memory_store.coordinator.positions import Place, Positions
from messaging.ports import Assigned, Claim, Progress

UPDATES, EVENTS = Claim("updates", 0, 1), Claim("events", 0, 1)


def begun() -> Positions:
    positions = Positions()
    positions.begin(Assigned(UPDATES, 10))
    positions.begin(Assigned(EVENTS, 20))
    return positions


def pass_all(positions: Positions, claim: Claim, *offsets: int) -> None:
    for offset in offsets:
        positions.passed(Place(claim, offset))


def test_a_position_waits_at_the_oldest_undecided_proposal() -> None:
    positions = begun()
    pass_all(positions, UPDATES, 10, 11, 12)
    undecided = [Place(UPDATES, 12), Place(UPDATES, 11)]
    assert Progress(UPDATES, 11, 11) in positions.open_progress(undecided, [])
    assert Progress(UPDATES, 13, 13) in positions.open_progress([], [])


def test_events_are_handled_but_read_again_from_the_oldest_that_matters() -> None:
    positions = begun()
    pass_all(positions, EVENTS, 20, 21, 22)
    assert Progress(EVENTS, 23, 21) in positions.open_progress([], [Place(EVENTS, 21)])


def test_a_replayed_record_does_not_move_the_position_back() -> None:
    positions = begun()
    pass_all(positions, EVENTS, 15)
    assert Progress(EVENTS, 20, 15) in positions.open_progress([], [Place(EVENTS, 15)])


def test_only_what_changed_is_made_durable() -> None:
    positions = begun()
    positions.durable(positions.open_progress([], []))
    assert positions.open_progress([], []) == []
    pass_all(positions, UPDATES, 10)
    assert positions.open_progress([], []) == [Progress(UPDATES, 11, 11)]


def test_a_claim_that_ended_is_spoken_of_no_more() -> None:
    positions = begun()
    positions.end(UPDATES)
    pass_all(positions, UPDATES, 30)
    assert positions.open_progress([Place(UPDATES, 30)], []) == [Progress(EVENTS, 20, 20)]


def test_partitions_are_covered_when_all_are_held() -> None:
    positions = begun()
    assert positions.covers({"updates": 1, "events": 1})
    assert not positions.covers({"updates": 1, "events": 2})
    assert set(positions.claims) == {UPDATES, EVENTS}
