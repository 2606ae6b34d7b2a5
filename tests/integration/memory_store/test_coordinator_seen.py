"""What is seen of a coordinator: its accounts, and how the memory fares."""

from dataclasses import replace

import numpy as np
import pytest

from engram.observe.coordinator import SeenCoordinator
from engram.observe.observed import STUCK_S
from memory_store.coordinator.coordinator import Coordinator
from memory_store.coordinator.guards import distance_to_anchor
from memory_store.coordinator.options import ChangeLimits, RoundRules
from memory_store.stores.sqlite import SqliteStore
from schemas.errors import TransientError
from tests.integration.memory_store.bench import BANK_ID, INITIAL, Bench, initial_bank, proposal

AT_ONCE = RoundRules(round_s=0)


def seen(bench: Bench, coordinator: Coordinator, limit: float | None = 0.05) -> SeenCoordinator:
    limits = ChangeLimits(anchor_distance=limit)
    return SeenCoordinator(coordinator, INITIAL, limits, bench.clock.wall, bench.clock)


def values(view: SeenCoordinator) -> dict[tuple[str, ...], float]:
    samples = [sample for metric in view.metrics() for sample in metric.samples]
    return {(one.name.removeprefix("engram_coordinator_"), *one.labels.values()): one.value for one in samples}


def test_the_memory_is_shown_with_version_age_and_drift(bench: Bench) -> None:
    coordinator = bench.coordinator(rules=AT_ONCE)
    coordinator.step()
    record, sums, _ = proposal(initial_bank())
    bench.send(record)
    bench.pass_time(coordinator, 1)
    view, bank = seen(bench, coordinator), bench.stored()
    found = values(view)
    assert found["bank_version", BANK_ID] == bank.version == 1
    assert found["bank_committed_timestamp_seconds", BANK_ID] == bank.committed_at.timestamp()
    assert found["bank_items", BANK_ID] == 4
    assert found["bank_frozen", BANK_ID] == 0
    assert found["bank_anchor_distance", BANK_ID] == distance_to_anchor(bank.items_MC, INITIAL.items_MC) > 0
    assert 0 < found["bank_mean_anchor_distance", BANK_ID] <= found["bank_anchor_distance", BANK_ID]
    assert found["bank_dead_items", BANK_ID] == np.count_nonzero(sums.counts_M == 0)
    assert found["anchor_distance_limit",] == 0.05
    bench.clock.now += 100
    told = view.status()["banks"]
    assert isinstance(told, dict)
    assert told[BANK_ID]["age_s"] == pytest.approx((bench.clock.wall() - bank.committed_at).total_seconds(), abs=0.1)


def test_a_memory_that_nothing_has_taught_is_all_dead(bench: Bench) -> None:
    coordinator = bench.coordinator()
    coordinator.step()
    bench.send(proposal(initial_bank())[0])
    bench.pass_time(coordinator, 1)  # creates the bank; the proposal waits
    found = values(seen(bench, coordinator, limit=None))
    assert (found["bank_dead_items", BANK_ID], found["bank_anchor_distance", BANK_ID]) == (4, 0)
    assert found["proposals_held",] == 1
    assert ("anchor_distance_limit",) not in found


def test_every_proposal_is_accounted_for_by_reason(bench: Bench) -> None:
    coordinator = bench.coordinator(rules=AT_ONCE)
    bench.send(proposal(initial_bank(), "cam1")[0], proposal(initial_bank(), "cam2")[0])
    bench.pass_time(coordinator, 1)
    found = values(seen(bench, coordinator))
    assert (found["proposals_received_total",], found["proposals_committed_total",]) == (2, 1)
    assert found["proposals_rejected_total", "stale_base"] == 1
    assert found["proposals_rejected_total", "frozen"] == 0
    assert (found["commits_total",], found["leader",]) == (1, 1)


def test_a_bank_of_another_bundle_has_no_drift_from_this_one(bench: Bench) -> None:
    other = INITIAL.as_bank("other", "1.x")
    stranger = type(other)("other", 3, "1.x", "f" * 64, other.items_MC, other.committed_at)
    coordinator = bench.coordinator()
    coordinator.step()
    view = seen(bench, coordinator)
    told = view._told(stranger)
    assert told["bundle"] == "f" * 12
    assert "anchor_distance" not in told
    assert "learn_s" not in told
    assert view._told(replace(stranger, learn_s=600.0))["learn_s"] == 600.0


def test_a_standby_is_ready_and_shows_that_it_stands_by(bench: Bench) -> None:
    leader, standby = bench.coordinator(), bench.coordinator("c2")
    leader.step()
    standby.step()
    view = seen(bench, standby)
    assert view.unready() == ()
    assert view.status()["leads"] is False
    assert values(view)["leader",] == 0


def test_a_store_that_is_away_makes_it_not_ready(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    coordinator = bench.coordinator()
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> None:
            raise TransientError("no store")

        patch.setattr(SqliteStore, "acquire", refuse)
        coordinator.step()
        assert seen(bench, coordinator).unready() == ("trying again: no store",)
    bench.clock.now += 10
    coordinator.step()
    assert seen(bench, coordinator).unready() == ()


def test_a_loop_that_has_not_turned_for_long_is_told(bench: Bench) -> None:
    coordinator = bench.coordinator()
    coordinator.step()
    view = seen(bench, coordinator)
    assert view.stuck() == ()
    bench.clock.now += STUCK_S + 1
    assert "the coordinator's loop has not come round" in view.stuck()[0]
