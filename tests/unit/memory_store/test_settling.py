"""What a round may do to a bank, independent of the order in which its proposals came."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from memory_store.bank import Bank
from memory_store.coordinator.rounds import Held
from memory_store.coordinator.settling import Base, ChangeLimits, Settled, change_of, settle
from memory_store.proposal import ItemSums, merge_all
from tests.unit.memory_store.proposals import a_bank, held_for, sums_of, unit_rows

BANK = a_bank()
ANY = ChangeLimits(None, None)


def base(bank: Bank = BANK, spent: float = 0.0) -> Base:
    return Base(bank, BANK.items_MC, spent)


def gentle(camera_id: str, first: int = 0) -> Held[int]:
    """Queries that are the items themselves: nothing moves."""
    held = held_for(BANK, camera_id, first)
    return replace(held, sums=sums_of(BANK.items_MC, BANK.items_MC))


def wild(camera_id: str) -> Held[int]:
    """Many queries far from every item."""
    queries_NC = unit_rows(9, 400, 6)
    queries_NC = queries_NC[(queries_NC @ BANK.items_MC.T).max(axis=1) < 0.3]
    assert len(queries_NC) > 10
    return replace(held_for(BANK, camera_id), sums=sums_of(queries_NC, BANK.items_MC))


def test_nothing_gives_nothing() -> None:
    settled: Settled[int] = settle(base(), [], ANY)
    assert (settled.items_MC, settled.accepted, settled.rejected) == (None, (), ())


def test_all_together_give_the_merged_update() -> None:
    round_ = [held_for(BANK, f"cam{seed}", seed=seed) for seed in range(5)]
    settled = settle(base(), round_, ANY)
    assert settled.items_MC is not None
    np.testing.assert_allclose(settled.items_MC, merge_all([held.sums for held in round_]).updated(BANK.items_MC))
    assert len(settled.accepted) == 5
    assert not settled.rejected


@pytest.mark.parametrize(
    ("limits", "reason"), [(ChangeLimits(None, 0.5), "anchor_distance"), (ChangeLimits(0.1, None), "change_budget")]
)
def test_a_wild_proposal_is_left_out_and_the_others_go_on(limits: ChangeLimits, reason: str) -> None:
    settled = settle(base(), [gentle("cam1"), wild("cam2"), gentle("cam3")], limits)
    assert [held.header.camera_id for held in settled.accepted] == ["cam1", "cam3"]
    assert [(item.held.header.camera_id, item.rejection.reason) for item in settled.rejected] == [("cam2", reason)]
    assert settled.items_MC is not None
    np.testing.assert_allclose(settled.items_MC, BANK.items_MC, atol=1e-6)


def test_a_spent_budget_stops_every_round_that_moves() -> None:
    settled = settle(base(spent=1.0), [wild("cam1")], ChangeLimits(1.0, None))
    assert settled.items_MC is None
    assert [item.rejection.reason for item in settled.rejected] == ["change_budget"]


def test_the_anchor_is_what_was_trained_not_what_was_last() -> None:
    drifted = Base(replace(BANK, items_MC=-BANK.items_MC), BANK.items_MC, 0.0)
    idle = replace(held_for(BANK), sums=ItemSums.empty(4, 6))
    assert settle(drifted, [idle], ChangeLimits(None, 1.0)).rejected[0].rejection.reason == "anchor_distance"


@pytest.mark.parametrize("limits", [ANY, ChangeLimits(0.6, 1.2)])
def test_the_order_of_arrival_changes_nothing(limits: ChangeLimits) -> None:
    round_ = [held_for(BANK, f"cam{seed}", seed=seed) for seed in range(6)] + [wild("cam9")]
    first = settle(base(), round_, limits)
    for seed in range(5):
        Random(seed).shuffle(round_)
        again = settle(base(), round_, limits)
        assert [held.header.camera_id for held in again.accepted] == [held.header.camera_id for held in first.accepted]
        assert first.items_MC is not None
        assert again.items_MC is not None
        assert again.items_MC.tobytes() == first.items_MC.tobytes()
        assert change_of(BANK, again, "c1") == change_of(BANK, first, "c1")


def test_the_log_entry_says_who_contributed_how_much() -> None:
    round_ = [gentle("cam1"), gentle("cam1", 10), gentle("cam2")]
    change = change_of(BANK, settle(base(), round_, ANY), "c1")
    assert (change.num_proposals, change.num_frames, change.num_cameras) == (3, 30, 2)
    assert change.cameras == (("cam1", 20), ("cam2", 10))
    assert (change.action, change.author) == ("update", "c1")


def test_a_commit_id_depends_on_base_epoch_and_proposals() -> None:
    one, two = [gentle("cam1")], [gentle("cam1"), gentle("cam2")]
    ids = {
        change_of(bank, settle(base(bank), round_, ANY), "c1").commit_id
        for bank in (BANK, replace(BANK, epoch="other"), a_bank(seed=3))
        for round_ in (one, two)
    }
    assert len(ids) == 6
