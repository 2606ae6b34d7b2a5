"""Each guard stops what it is for and nothing else."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_store.coordinator.guards import (
    EventSpan,
    anchor_distance,
    bad_shape,
    camera_event,
    change_budget,
    distance_moved,
    distance_to_anchor,
    empty,
    false_age,
    false_claim,
    foreign_bundle,
    frozen,
    implausible,
    not_finite,
    stale_base,
    unfit,
    unknown_bank,
)
from memory_store.proposal import ItemSums
from memory_store.views import InitialBank
from tests.unit.memory_store.proposals import NOW, a_bank, header_for, never, sums_of, unit_rows

BANK = a_bank()
GOOD = sums_of(unit_rows(2, 12, 6), BANK.items_MC)


def reason(rejection: object) -> str | None:
    return getattr(rejection, "reason", None)


def test_a_base_is_known_by_content_not_by_number() -> None:
    assert stale_base(header_for(BANK), BANK) is None
    assert stale_base(header_for(BANK, base_version=7), BANK) is None
    assert reason(stale_base(header_for(a_bank(seed=5)), BANK)) == "stale_base"


def test_another_bundle_is_foreign() -> None:
    assert foreign_bundle(BANK.bundle_digest, BANK.bundle_digest) is None
    assert reason(foreign_bundle(BANK.bundle_digest, "c" * 64)) == "foreign_bundle"


@pytest.mark.parametrize("shape", [(4, 7), (5, 6)])
def test_another_shape_is_refused(shape: tuple[int, int]) -> None:
    assert bad_shape(GOOD, (4, 6)) is None
    assert reason(bad_shape(GOOD, shape)) == "bad_shape"


@pytest.mark.parametrize("field", ["running_max_M", "sums_MC", "counts_M"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_must_be_finite(field: str, value: float) -> None:
    broken = getattr(GOOD, field).copy()
    broken.flat[1] = value
    assert not_finite(GOOD) is None
    assert reason(not_finite(replace(GOOD, **{field: broken}))) == "not_finite"


@given(st.integers(0, 10_000), st.integers(0, 300))
def test_what_real_unit_queries_give_is_plausible(seed: int, num_queries: int) -> None:
    assert implausible(sums_of(unit_rows(seed, num_queries, 6), BANK.items_MC)) is None


@pytest.mark.parametrize(
    "broken",
    [
        replace(GOOD, running_max_M=GOOD.running_max_M + 1.5),
        replace(GOOD, running_max_M=GOOD.running_max_M - 2.5),
        replace(GOOD, counts_M=GOOD.counts_M - 20),
        replace(GOOD, counts_M=GOOD.counts_M + 0.5),
        replace(GOOD, sums_MC=GOOD.sums_MC * 50),
        replace(GOOD, running_max_M=never(4)),
        ItemSums(never(4), np.ones((4, 6), np.float32), np.zeros(4, np.float32)),
    ],
)
def test_what_no_unit_queries_can_give_is_implausible(broken: ItemSums) -> None:
    assert reason(implausible(broken)) == "implausible"


@pytest.mark.parametrize(
    ("first", "last", "blocked"),
    [
        (0, 79, False),
        (71, 80, True),
        (85, 95, True),
        (90, 130, True),
        (60, 200, True),
        (130, 140, True),
        (131, 140, False),
    ],
)
def test_an_event_blocks_its_frames_and_those_around_it(first: int, last: int, blocked: bool) -> None:
    span = EventSpan("cam1", "s1", first_frame=90, last_frame=120)
    assert reason(camera_event(header_for(BANK, first=first, last=last), span, 10)) == (
        "camera_event" if blocked else None
    )


def test_an_open_event_blocks_all_that_follows() -> None:
    span = EventSpan("cam1", "s1", first_frame=90, last_frame=None)
    assert camera_event(header_for(BANK, first=10_000, last=10_010), span, 10) is not None
    assert camera_event(header_for(BANK, first=0, last=79), span, 10) is None


def test_an_event_blocks_its_own_camera_and_session_only() -> None:
    header = header_for(BANK, first=90, last=95)
    assert camera_event(header, EventSpan("cam2", "s1", 90, None), 10) is None
    assert camera_event(header, EventSpan("cam1", "s2", 90, None), 10) is None


def test_a_frozen_bank_takes_nothing() -> None:
    assert frozen(BANK) is None
    assert reason(frozen(replace(BANK, frozen=True))) == "frozen"


def test_a_budget_must_not_be_reached() -> None:
    assert change_budget(0.4, 0.5) is None
    assert reason(change_budget(0.5, 0.5)) == "change_budget"
    assert reason(change_budget(float("nan"), 0.5)) == "change_budget"
    assert change_budget(100.0, None) is None


def test_the_anchor_holds_an_item_near() -> None:
    assert anchor_distance(0.99, 1.0) is None
    assert reason(anchor_distance(1.0, 1.0)) == "anchor_distance"
    assert reason(anchor_distance(float("nan"), 1.0)) == "anchor_distance"
    assert anchor_distance(2.0, None) is None


def test_counts_must_fit_the_frames_and_the_grid() -> None:
    assert implausible(GOOD, most_queries=12) is None
    assert reason(implausible(GOOD, most_queries=11)) == "implausible"
    million = ItemSums(GOOD.running_max_M, GOOD.sums_MC, np.full(4, 1e6, np.float32))
    assert reason(implausible(million, most_queries=768)) == "implausible"


@pytest.mark.parametrize(
    "claim",
    [
        {"num_frames": 11},
        {"num_frames": 10**18},
        {"first": 10, "last": 9, "num_frames": 1},
        {"captured_from": NOW + timedelta(seconds=1)},
        {"first": 0, "last": 9_999},
        {"first": 0, "last": 9_999, "captured_to": NOW + timedelta(hours=1)},
    ],
)
def test_the_frames_claimed_must_fit_their_numbers_and_their_time(claim: dict[str, object]) -> None:
    assert false_claim(header_for(BANK)) is None
    assert reason(false_claim(header_for(BANK, **claim))) == "implausible"  # type: ignore[arg-type]


def test_what_teaches_nothing_is_empty() -> None:
    assert empty(GOOD, None) is None
    assert reason(empty(ItemSums.empty(4, 6), None)) == "empty"


@pytest.mark.parametrize(
    ("bank_id", "template", "known"),
    [("lobby", "lobby", True), ("dock", "lobby", False), ("cam1", "{camera_id}", True), ("cam2", "{camera_id}", False)],
)
def test_only_the_settings_name_a_bank(bank_id: str, template: str, known: bool) -> None:
    assert (unknown_bank(header_for(BANK, "cam1", bank_id=bank_id), template) is None) == known


@pytest.mark.parametrize(
    ("items_MC", "why"),
    [
        (np.zeros((4, 6), np.float32), "implausible"),
        (2 * BANK.items_MC, "implausible"),
        (-BANK.items_MC, "anchor_distance"),
        (BANK.items_MC[:3], "bad_shape"),
        (BANK.items_MC, None),
    ],
)
def test_items_that_no_update_leads_to_are_unfit(items_MC: np.ndarray, why: str | None) -> None:
    bank = replace(BANK, items_MC=items_MC)
    assert reason(unfit(bank, InitialBank(BANK.bundle_digest, BANK.items_MC), 0.5)) == why


@pytest.mark.parametrize("epoch", ["zzzz", "initial", "99999999", "9" * 40 + "-" + "0" * 16, "00000000-" + "0" * 16])
def test_an_epoch_that_nobody_makes_is_no_age(epoch: str) -> None:
    assert reason(false_age(epoch, 0)) == "implausible"
    assert reason(false_age(BANK.epoch, 2**53)) == "implausible"
    assert false_age(BANK.epoch, 7) is None


def test_distances_are_between_unit_items() -> None:
    items_MC = np.eye(4, dtype=np.float32)
    turned_MC = items_MC.copy()
    turned_MC[0] = -turned_MC[0]
    assert distance_moved(items_MC, items_MC) == 0
    assert distance_moved(items_MC, turned_MC) == pytest.approx(0.5)
    assert distance_to_anchor(turned_MC, items_MC) == pytest.approx(2.0)
