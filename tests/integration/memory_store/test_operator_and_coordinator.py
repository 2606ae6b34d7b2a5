"""A coordinator goes on, unasked and right, from whatever an operator did to its bank."""

from dataclasses import replace

import numpy as np
import pytest

from memory_store.bank import Change, first_broken_link
from memory_store.coordinator.coordinator import Coordinator
from memory_store.coordinator.options import ChangeLimits, RoundRules
from memory_store.interventions import Signature, fork, roll_back
from memory_store.verification import verify
from schemas.errors import TransientError
from tests.integration.memory_store.bench import AT, BANK_ID, NO_LIMITS, TOPICS, Bench, initial_bank, proposal
from tests.unit.memory_store.proposals import FREEZE, THAW

AT_ONCE = RoundRules(round_s=0.0)
CREATE = Change("create", "ann", "", "create dock")
BY = Signature("ann@edge7", "a bad week", AT)


def taught(bench: Bench, rounds: int, limits: ChangeLimits = NO_LIMITS) -> Coordinator:
    """A coordinator that has committed so many versions."""
    coordinator = bench.coordinator(rules=AT_ONCE, limits=limits)
    for number in range(rounds):
        base = bench.store.read(BANK_ID) or initial_bank()
        bench.send(proposal(base, f"cam{number}", seed=number)[0])
        bench.pass_time(coordinator, 1)
    assert bench.stored().version == rounds
    return coordinator


def test_it_goes_on_from_a_rollback_and_tells_the_topic(bench: Bench) -> None:
    coordinator = taught(bench, 3)
    spoiled = bench.stored()
    lead = bench.store._connection.execute("SELECT * FROM lease").fetchall()  # type: ignore[attr-defined]
    back = roll_back(bench.store, BANK_ID, 1, BY)
    assert bench.store._connection.execute("SELECT * FROM lease").fetchall() == lead  # type: ignore[attr-defined]
    bench.send(proposal(spoiled, "late", seed=8)[0])
    bench.pass_time(coordinator, 2)
    assert coordinator.snapshot().rejected == {"stale_base": 1}
    assert coordinator.snapshot().is_leader
    archived = bench.archived()[BANK_ID]
    assert (archived.version, archived.epoch, archived.digest) == (4, back.epoch, back.digest)
    record, sums, _ = proposal(bench.stored(), "fresh", seed=9)
    bench.send(record)
    bench.pass_time(coordinator, 1)
    found = bench.stored()
    assert (found.version, found.epoch) == (5, back.epoch)
    np.testing.assert_allclose(found.items_MC, sums.updated(back.items_MC), atol=1e-6)
    assert coordinator.snapshot().adds_up()
    assert verify(bench.store, BANK_ID).faults == ()


def test_the_next_leader_finds_the_rollback_and_not_what_the_topic_had(bench: Bench) -> None:
    first = taught(bench, 3)
    first.step_back()
    back = roll_back(bench.store, BANK_ID, 1, BY)
    assert bench.archived()[BANK_ID].version == 3
    bench.pass_time(bench.coordinator("c2", rules=AT_ONCE), 1)
    assert (bench.stored().epoch, bench.stored().digest) == (back.epoch, back.digest)
    assert bench.archived()[BANK_ID].digest == back.digest


def spoil(bench: Bench, *tables: str) -> None:
    """Have the store hold something else in place of bank 'lobby', and of what it keeps of it."""
    with bench.store._transaction() as cursor:  # type: ignore[attr-defined]
        for table in tables:
            cursor.execute(f"UPDATE {table} SET header = '{{}}' WHERE bank_id = 'lobby'")


def test_one_damaged_bank_stops_no_other(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Its proposals are rejected and counted until it has been gone back from; nobody starts anything anew."""
    dock = bench.store.create(initial_bank("dock"), CREATE)
    coordinator = taught(bench, 2)
    base = bench.stored()
    spoil(bench, "bank", "version")
    bench.pass_time(coordinator, 2)
    bench.send(proposal(base, "early", seed=8)[0], proposal(dock, "other", seed=9)[0])
    bench.pass_time(coordinator, 1)
    seen = coordinator.snapshot()
    assert (bench.stored("dock").version, dict(seen.rejected)) == (1, {"damaged_bank": 1})
    assert (seen.trouble, seen.is_leader, list(seen.damaged), seen.adds_up()) == (None, True, [BANK_ID], True)
    assert "damaged banks lobby" in seen.line()
    coordinator.step_back()
    coordinator = bench.coordinator("c2", rules=AT_ONCE)
    bench.pass_time(coordinator, 2)
    assert list(coordinator.snapshot().damaged) == [BANK_ID], "nor does it keep anybody from leading"
    assert sum("is set aside" in line for line in caplog.messages) == 2, "once by each"


def test_what_was_proposed_to_a_bank_that_is_damaged_meanwhile_is_not_lost(bench: Bench) -> None:
    coordinator = taught(bench, 2)
    base = bench.stored()
    record, sums, _ = proposal(base, "fresh", seed=9)
    spoil(bench, "bank")
    bench.send(record)
    bench.pass_time(coordinator, 5)
    found = bench.stored()
    np.testing.assert_allclose(found.items_MC, sums.updated(base.items_MC), atol=1e-6)
    assert (found.version, coordinator.snapshot().rejected, coordinator.snapshot().damaged) == (3, {}, {})
    assert verify(bench.store, BANK_ID).faults == ()


def test_a_rollback_of_a_frozen_bank_teaches_nothing_until_it_is_thawed(bench: Bench) -> None:
    coordinator = taught(bench, 2)
    bench.store.freeze(BANK_ID, *FREEZE)
    back = roll_back(bench.store, BANK_ID, 1, BY)
    bench.pass_time(coordinator, 2)
    bench.send(proposal(bench.stored(), "early", seed=8)[0])
    bench.pass_time(coordinator, 1)
    assert (bench.stored().digest, coordinator.snapshot().rejected) == (back.digest, {"frozen": 1})
    bench.store.unfreeze(BANK_ID, *THAW)
    bench.pass_time(coordinator, 2)
    bench.send(proposal(bench.stored(), "fresh", seed=9)[0])
    bench.pass_time(coordinator, 1)
    assert bench.stored().version == 4
    actions = [entry.change.action for entry in bench.store.log(BANK_ID)]
    assert actions == ["create", "update", "update", "freeze", "rollback", "thaw", "update"]
    assert first_broken_link(bench.store.log(BANK_ID)) is None


def test_entries_that_move_nothing_leave_the_hours_budget_as_it_is(bench: Bench) -> None:
    limits = ChangeLimits(moved_per_hour=2.0, anchor_distance=None, moved_per_round=None)
    coordinator = taught(bench, 1, limits=limits)
    moved = bench.store.log(BANK_ID)[-1].change.moved
    for _ in range(3):
        bench.store.freeze(BANK_ID, *FREEZE)
        bench.store.unfreeze(BANK_ID, *THAW)
    coordinator.step_back()
    later = bench.coordinator("c2", rules=AT_ONCE, limits=replace(limits, moved_per_hour=moved * 1.01))
    bench.send(proposal(bench.stored(), "cam9", seed=9)[0])
    bench.pass_time(later, 1)
    assert later.snapshot().rejected == {"change_budget": 1}, "what was moved before the freezes is still counted"
    record, *_ = proposal(bench.stored(), "cam10", seed=10)
    later.step_back()
    last = bench.coordinator("c3", rules=AT_ONCE, limits=limits)
    bench.send(record)
    bench.pass_time(last, 1)
    assert last.snapshot().committed == 1


def test_a_commit_whose_answer_was_lost_is_found_behind_a_freeze(bench: Bench) -> None:
    """The log is asked for it, in which a freeze has come after it by then."""
    coordinator = taught(bench, 1)
    real = bench.store.commit

    def losing(request):
        bench.store.commit = real  # type: ignore[method-assign]
        real(request)
        bench.store.freeze(BANK_ID, *FREEZE)
        raise TransientError("the answer is lost")

    bench.store.commit = losing  # type: ignore[method-assign]
    bench.send(proposal(bench.stored(), "cam5", seed=5)[0])
    bench.pass_time(coordinator, 30)
    assert (coordinator.snapshot().committed, coordinator.snapshot().trouble) == (2, None)
    assert bench.stored().version == 2
    assert coordinator.snapshot().adds_up()


def test_a_fork_is_taught_by_whoever_is_pointed_to_it(bench: Bench) -> None:
    coordinator = taught(bench, 2)
    fork(bench.store, bench.stored(), "lobby-night", BY)
    bench.pass_time(coordinator, 30)
    bench.send(proposal(bench.stored("lobby-night"), "night", seed=7)[0])
    bench.pass_time(coordinator, 30)
    bench.send(proposal(bench.stored("lobby-night"), "night", first=10, seed=8)[0])
    bench.pass_time(coordinator, 30)
    assert bench.stored("lobby-night").version >= 1
    assert bench.stored().version == 2
    assert "lobby-night" in {record.key.decode() for record in bench.records(TOPICS.memory_banks) if record.key}
