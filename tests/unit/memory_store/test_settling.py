"""What a round may do to a bank, independent of the order in which its proposals came."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_store.bank import Bank
from memory_store.coordinator.guards import anchor_distance, at_odds, change_budget
from memory_store.coordinator.options import ChangeLimits
from memory_store.coordinator.rounds import Held
from memory_store.coordinator.settling import Settled, change_of, settle
from memory_store.proposal import ItemSums, merge_all
from tests.unit.memory_store.proposals import a_bank, held_for, sums_of, unit_rows

BANK = a_bank()
HALF_LIFE_S = 3600.0
ANY = ChangeLimits(None, None, None)


def settled_on(round_: Sequence[Held], limits: ChangeLimits = ANY, bank: Bank = BANK) -> Settled:
    return settle(bank, BANK.items_MC, round_, limits, HALF_LIFE_S)


def gentle(camera_id: str, first: int = 0) -> Held:
    """Queries that are the items themselves: nothing moves."""
    held = held_for(BANK, camera_id, first)
    return replace(held, sums=sums_of(BANK.items_MC, BANK.items_MC))


def wild(camera_id: str) -> Held:
    """Many queries far from every item."""
    queries_NC = unit_rows(9, 400, 6)
    queries_NC = queries_NC[(queries_NC @ BANK.items_MC.T).max(axis=1) < 0.3]
    assert len(queries_NC) > 10
    return replace(held_for(BANK, camera_id), sums=sums_of(queries_NC, BANK.items_MC))


def test_nothing_gives_nothing() -> None:
    settled = settled_on([])
    assert settled.items_MC is BANK.items_MC
    assert (settled.accepted, settled.rejected) == ([], [])


def test_all_together_give_the_merged_update() -> None:
    round_ = [held_for(BANK, f"cam{seed}", seed=seed) for seed in range(5)]
    settled = settled_on(round_)
    np.testing.assert_allclose(settled.items_MC, merge_all([held.sums for held in round_]).updated(BANK.items_MC))
    assert len(settled.accepted) == 5
    assert not settled.rejected


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (ChangeLimits(None, 0.5, None), "anchor_distance"),
        (ChangeLimits(0.1, None, None), "change_budget"),
        (ChangeLimits(None, None, 0.1), "change_budget"),
    ],
)
def test_a_wild_proposal_is_left_out_and_the_others_go_on(limits: ChangeLimits, reason: str) -> None:
    settled = settled_on([gentle("cam1"), wild("cam2"), gentle("cam3")], limits)
    assert [held.header.camera_id for held in settled.accepted] == ["cam1", "cam3"]
    assert [(item.held.header.camera_id, item.rejection.reason) for item in settled.rejected] == [("cam2", reason)]
    np.testing.assert_allclose(settled.items_MC, BANK.items_MC, atol=1e-6)


def test_a_spent_budget_stops_every_round_that_moves() -> None:
    settled = settled_on([wild("cam1")], ChangeLimits(1.0, None, None).after(1.0))
    assert not settled.accepted
    assert [item.rejection.reason for item in settled.rejected] == ["change_budget"]


def test_the_anchor_is_what_was_trained_not_what_was_last() -> None:
    drifted = replace(BANK, items_MC=-BANK.items_MC)
    idle = replace(held_for(BANK), sums=ItemSums.empty(4, 6))
    assert settled_on([idle], ChangeLimits(None, 1.0, None), drifted).rejected[0].rejection.reason == "anchor_distance"


@pytest.mark.parametrize("limits", [ANY, ChangeLimits(0.6, 1.2, None)])
def test_the_order_of_arrival_changes_nothing(limits: ChangeLimits) -> None:
    round_ = [held_for(BANK, f"cam{seed}", seed=seed) for seed in range(6)] + [wild("cam9")]
    first = settled_on(round_, limits)
    for seed in range(5):
        Random(seed).shuffle(round_)
        again = settled_on(round_, limits)
        assert [held.header.camera_id for held in again.accepted] == [held.header.camera_id for held in first.accepted]
        assert first.items_MC is not None
        assert again.items_MC is not None
        assert again.items_MC.tobytes() == first.items_MC.tobytes()
        assert change_of(BANK, again, "c1", 60.0) == change_of(BANK, first, "c1", 60.0)


def test_the_log_entry_says_who_contributed_how_much() -> None:
    round_ = [gentle("cam1"), gentle("cam1", 10), gentle("cam2")]
    change = change_of(BANK, settled_on(round_), "c1", 60.0)
    assert (change.num_proposals, change.num_frames, change.num_cameras) == (3, 30, 2)
    assert change.cameras == (("cam1", 20), ("cam2", 10))
    assert (change.action, change.author) == ("update", "c1")


def test_a_commit_id_depends_on_base_epoch_and_proposals() -> None:
    one, two = [gentle("cam1")], [gentle("cam1"), gentle("cam2")]
    ids = {
        change_of(bank, settled_on(round_), "c1", 60.0).commit_id
        for bank in (BANK, replace(BANK, epoch="other"), a_bank(seed=3))
        for round_ in (one, two)
    }
    assert len(ids) == 6


@pytest.mark.parametrize(("limits"), [ChangeLimits(None, 0.25, None), ChangeLimits(0.25, None, None)])
def test_a_limit_that_is_just_reached_is_broken(limits: ChangeLimits) -> None:
    moved, far = change_budget(0.25, limits.moved_per_hour), anchor_distance(0.25, limits.anchor_distance)
    assert [moved, far].count(None) == 1


def test_an_update_that_comes_out_as_no_items_is_refused() -> None:
    away = replace(held_for(BANK), sums=replace(sums_of(BANK.items_MC, BANK.items_MC), sums_MC=-BANK.items_MC))
    settled = settled_on([away])
    assert not settled.accepted
    assert [item.rejection.reason for item in settled.rejected] == ["implausible"]


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_must_fit_their_maxima(sign: int) -> None:
    """Ten queries, none more like the item than 0.1, cannot add up to ten times the item."""
    forged = ItemSums(
        np.full(4, 0.1, np.float32), (sign * 10 * BANK.items_MC).astype(np.float32), np.full(4, 10, np.float32)
    )
    rejected = settled_on([replace(held_for(BANK), sums=forged)]).rejected
    assert [item.rejection.reason for item in rejected] == ["implausible"]


@given(st.integers(0, 10_000), st.integers(1, 300))
def test_what_real_queries_give_fits_its_maxima(seed: int, num_queries: int) -> None:
    assert at_odds(sums_of(unit_rows(seed, num_queries, 6), BANK.items_MC), BANK.items_MC) is None


LIMITED = ["moved_per_hour", "moved_per_round", "anchor_distance"]


@pytest.mark.parametrize("name", LIMITED)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_round_that_comes_exactly_to_a_limit_breaks_it(name: str, seed: int) -> None:
    held = held_for(BANK, seed=seed)
    free = settled_on([held])
    reached = free.anchor_distance if name == "anchor_distance" else free.moved
    assert reached > 0
    strict = settled_on([held], replace(ANY, **{name: reached}))
    assert strict.items_MC is BANK.items_MC
    assert not strict.accepted
    expected = "anchor_distance" if name == "anchor_distance" else "change_budget"
    assert [item.rejection.reason for item in strict.rejected] == [expected]
    loose = settled_on([held], replace(ANY, **{name: np.nextafter(reached, 3.0)}))
    assert [len(loose.accepted), len(loose.rejected)] == [1, 0]


def test_an_item_exactly_one_from_its_trained_self_is_too_far() -> None:
    anchor_MC = np.array([[1, 0, 0, 0]], np.float32)
    items_MC = np.array([[0.5, 0.5, 0.5, 0.5]], np.float32)  # unit length, at 60 degrees: distance 1, exactly
    bank = Bank("lobby", 3, BANK.epoch, BANK.bundle_digest, items_MC, BANK.committed_at)
    idle = replace(held_for(bank), sums=ItemSums.empty(1, 4))
    settled = settle(bank, anchor_MC, [idle], replace(ANY, anchor_distance=1.0), HALF_LIFE_S)
    assert [item.rejection.reason for item in settled.rejected] == ["anchor_distance"]
    assert settle(bank, anchor_MC, [idle], ANY, HALF_LIFE_S).anchor_distance == 1.0


@pytest.mark.parametrize("name", LIMITED)
def test_what_is_within_the_limit_alone_may_be_beyond_it_together(name: str) -> None:
    """One by one, each proposal is held against the limit with all that were accepted before it."""
    one, two = held_for(BANK, "cam1", seed=3), held_for(BANK, "cam2", seed=3)

    def reached(*round_: Held) -> float:
        settled = settled_on(round_)
        return settled.anchor_distance if name == "anchor_distance" else settled.moved

    alone, both = max(reached(one), reached(two)), reached(one, two)
    assert alone < both, "else the test shows nothing"
    settled = settled_on([two, one], replace(ANY, **{name: (alone + both) / 2}))
    assert settled.accepted == [one]
    assert [item.held for item in settled.rejected] == [two]
    assert (settled.moved, settled.anchor_distance) == (settled_on([one]).moved, settled_on([one]).anchor_distance)
    expected = settled_on([one]).items_MC
    assert expected is not None
    np.testing.assert_array_equal(settled.items_MC, expected)


def test_the_bounds_of_a_product_hold_to_the_slack() -> None:
    """Queries at the two ends of what a maximum allows; two per cent beyond is not."""
    items_MC = np.array([[1, 0], [0, 1]], np.float32)
    for maximum in (0.5, 0.0, -0.5):
        most = maximum if maximum >= 0 else maximum * np.exp(-1 - maximum)
        for product, allowed in ((most, True), (most + 0.02, False), (-np.exp(-1 - maximum), True)):
            sums_MC = np.array([[10 * product, 0], [0, 0]], np.float32)
            sums = ItemSums(np.array([maximum, 0], np.float32), sums_MC, np.array([10, 0], np.float32))
            assert (at_odds(sums, items_MC) is None) == allowed, (maximum, product)
        low = np.array([[-10 * np.exp(-1 - maximum) - 0.2, 0], [0, 0]], np.float32)
        sums = ItemSums(np.array([maximum, 0], np.float32), low, np.array([10, 0], np.float32))
        assert at_odds(sums, items_MC) is not None


def test_an_entry_names_the_largest_contributors_only() -> None:
    round_ = [gentle(f"cam{number:03}", 10 * again) for number in range(101) for again in range(1 + (number == 100))]
    change = change_of(BANK, settled_on(round_), "c1", 60.0)
    assert (change.num_proposals, change.num_frames, change.num_cameras) == (102, 1020, 101)
    assert len(change.cameras) == 100
    assert change.cameras[0] == ("cam100", 20)


@pytest.mark.parametrize(("spent", "left"), [(0.0, 2.0), (0.5, 1.5), (2.5, -0.5)])
def test_what_is_left_of_the_hour_is_what_was_not_spent(spent: float, left: float) -> None:
    limits = ChangeLimits(2.0, 0.05, 0.1)
    assert limits.after(spent) == ChangeLimits(left, 0.05, 0.1)
    assert ANY.after(spent) == ANY
