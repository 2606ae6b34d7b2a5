"""A term of leading, step by step: answers that are lost, a lease that ran out, claims that go, bounds of memory."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from memory_store.coordinator import coordinator as coordinator_module
from memory_store.coordinator import tenure as tenure_module
from memory_store.coordinator.coordinator import Coordinator, leadership
from memory_store.coordinator.guards import EventSpan
from memory_store.coordinator.options import RoundRules
from memory_store.coordinator.tenure import Tenure
from memory_store.store import CommitOutcome, CommitRequest
from memory_store.stores.sqlite import SqliteStore
from messaging.ports import Intake
from schemas.errors import TransientError
from tests.integration.memory_store.bench import BANK_ID, TOPICS, Bench, event, initial_bank, options, proposal

AT_ONCE = RoundRules(round_s=0)


def tenure_of(coordinator: Coordinator) -> Tenure:
    assert coordinator._tenure is not None
    return coordinator._tenure


def losing(bench: Bench, what: str) -> Callable[[CommitRequest], CommitOutcome]:
    """The store's ``commit``, of which the next call's question or answer is lost."""
    real = bench.store.commit

    def commit(request: CommitRequest) -> CommitOutcome:
        bench.store.commit = real  # type: ignore[method-assign]
        if what == "answer":
            real(request)
        raise TransientError("away")

    return commit


@pytest.mark.parametrize(("lost", "repeats"), [("answer", False), ("question", True)])
def test_a_commit_without_an_answer_is_counted_once_and_repeated_only_if_it_was_lost(
    bench: Bench, lost: str, repeats: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator = bench.coordinator(rules=AT_ONCE)
    coordinator.step()
    monkeypatch.setattr(bench.store, "commit", losing(bench, lost))
    bench.send(proposal(initial_bank())[0])
    coordinator.step()
    assert (coordinator.snapshot().held, coordinator.snapshot().committed) == (1, 0)
    assert coordinator.snapshot().trouble == "away"
    assert bench.stored().version == (0 if repeats else 1)
    bench.pass_time(coordinator, 5)
    snapshot = coordinator.snapshot()
    assert (snapshot.committed, snapshot.commits, snapshot.held, snapshot.trouble) == (1, 1, 0, None)
    assert snapshot.versions == {BANK_ID: 1}
    assert snapshot.adds_up()
    assert len(bench.store.log(BANK_ID)) == 2
    assert bench.archived()[BANK_ID].version == 1
    bench.send(proposal(initial_bank())[0])  # the same once more
    bench.pass_time(coordinator, 1)
    assert coordinator.snapshot().rejected == {"duplicate": 1}


def test_a_commit_whose_proposals_went_to_another_meanwhile_is_not_counted_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator = bench.coordinator(rules=AT_ONCE)
    coordinator.step()
    monkeypatch.setattr(bench.store, "commit", losing(bench, "answer"))
    bench.send(proposal(initial_bank())[0])
    coordinator.step()
    tenure = tenure_of(coordinator)
    tenure._follow_claims(Intake(revoked=tuple(tenure._positions.claims)))
    tenure.work()
    counts = coordinator._counts
    assert (counts.committed, counts.returned, tenure.held) == (0, 1, 0)
    assert counts.received == counts.committed + counts.returned


@pytest.mark.parametrize(("led_between", "leads_on"), [(False, True), (True, False)])
def test_a_lease_that_ran_out_is_taken_again_unless_somebody_led_between(
    bench: Bench, led_between: bool, leads_on: bool
) -> None:
    coordinator = bench.coordinator(rules=AT_ONCE)
    coordinator.step()
    assert isinstance(bench.store, SqliteStore)
    with bench.store._transaction() as cursor:
        cursor.execute("UPDATE lease SET expires_at = 0")
    if led_between:
        taken = bench.store.acquire(leadership(options().group), "c2", 60)
        assert taken is not None
        bench.store.release(taken)
    bench.clock.now += options().lease_s / 3 - 0.01
    coordinator.step()
    assert coordinator.snapshot().is_leader, "it does not look before a third of the lease is over"
    bench.clock.now += 0.02
    coordinator.step()
    assert coordinator.snapshot().is_leader == leads_on
    bench.send(proposal(initial_bank())[0])
    bench.pass_time(coordinator, 1)
    assert coordinator.snapshot().is_leader, "nobody else wants it, so it leads again"
    assert bench.stored().version == 1
    assert coordinator.snapshot().adds_up()


def test_a_lost_claim_takes_its_proposals_its_events_and_the_quarantine_with_it(bench: Bench) -> None:
    coordinator = bench.coordinator()
    bench.send(proposal(initial_bank())[0], event(EventSpan("cam9", "s1", 5, None)))
    bench.pass_time(coordinator, 5)
    tenure = tenure_of(coordinator)
    assert (tenure.held, tenure.events_remembered) == (1, 1)
    assert tenure.complete_until > 0
    claims = {topic: [c for c in tenure._positions.claims if c.topic == topic] for topic in TOPICS.all()}
    tenure._follow_claims(Intake(revoked=tuple(claims[TOPICS.anomaly_events])))
    assert (tenure.held, tenure.events_remembered) == (1, 0)
    assert tenure.complete_until == float("-inf"), "an event may come in the partition that we no longer see"
    tenure._follow_claims(Intake(revoked=tuple(claims[TOPICS.memory_updates])))
    assert (tenure.held, coordinator._counts.returned) == (0, 1)
    bench.clock.now += 1000
    tenure.work()
    assert bench.store.read(BANK_ID) is None or bench.stored().version == 0


def test_while_another_holds_a_partition_no_quarantine_passes(bench: Bench) -> None:
    coordinator = bench.coordinator()
    coordinator.step()
    other = bench.bus.subscription([TOPICS.memory_updates, TOPICS.anomaly_events], options().group)
    other.receive(10, 0.0)
    coordinator.step()
    for number in range(8):  # some of them lie in partitions that are still ours
        bench.send(proposal(initial_bank(), f"cam{number}", seed=number)[0])
        bench.send(event(EventSpan(f"other{number}", "s1", 5, None)))
    bench.pass_time(coordinator, 300)
    assert coordinator.snapshot().commits == 0
    other.close()
    bench.pass_time(coordinator, 100)
    assert bench.stored().version == 1
    assert coordinator.snapshot().adds_up()


def test_what_is_remembered_of_decided_proposals_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenure_module, "MAX_REMEMBERED_IDS", 3)
    coordinator = bench.coordinator(rules=AT_ONCE)
    coordinator.step()
    for number in range(6):
        base = bench.store.read(BANK_ID) or initial_bank()
        bench.send(proposal(base, f"cam{number}", seed=number)[0])
        bench.pass_time(coordinator, 1)
    tenure = tenure_of(coordinator)
    assert [identity.partition(":")[0] for identity in tenure._decided] == ["cam3", "cam4", "cam5"]
    assert list(tenure._ids) == [f"cam{number}:s1:0-9" for number in (3, 4, 5)]


def test_a_leader_that_cannot_send_takes_nothing_more_in(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    coordinator = bench.coordinator(rules=AT_ONCE)
    coordinator.step()
    monkeypatch.setattr(coordinator_module, "MAX_WAITING_TO_SEND", 0)
    bench.send(proposal(initial_bank())[0])
    assert not coordinator.step(), "there is nothing to do but wait"
    assert coordinator.snapshot().received == 0
    monkeypatch.setattr(coordinator_module, "MAX_WAITING_TO_SEND", 1)
    assert coordinator.step()
    assert coordinator.snapshot().committed == 1


def test_trouble_makes_pauses_that_grow_and_success_forgets_them(bench: Bench) -> None:
    coordinator = bench.coordinator(rules=AT_ONCE)
    coordinator.step()
    real, asked = bench.store.acquire, list[float]()

    def away(bank_id: str, holder: str, ttl_s: float) -> None:
        asked.append(bench.clock.now)
        raise TransientError("away")

    bench.store.acquire = away  # type: ignore[method-assign]
    bench.clock.now += options().lease_s
    for _ in range(300):
        bench.clock.now += 0.02
        coordinator.step()
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert 3 <= len(pauses) < 60
    assert max(pauses) <= coordinator_module.LONGEST_PAUSE_S + 0.03
    assert pauses[-1] > pauses[0]
    assert coordinator.snapshot().trouble == "away"
    bench.store.acquire = real  # type: ignore[method-assign]
    bench.pass_time(coordinator, 5)
    assert (coordinator.snapshot().trouble, coordinator.snapshot().is_leader) == (None, True)
