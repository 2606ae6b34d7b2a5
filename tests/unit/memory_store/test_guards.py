"""Each guard stops what it is for and nothing else."""

from dataclasses import replace

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
    foreign_bundle,
    frozen,
    implausible,
    not_finite,
    passes,
    stale_base,
)
from memory_store.proposal import ItemSums
from tests.unit.memory_store.proposals import a_bank, header_for, never, sums_of, unit_rows

BANK = a_bank()
GOOD = sums_of(unit_rows(2, 12, 6), BANK.items_MC)


def reason(rejection: object) -> str | None:
    return getattr(rejection, "reason", None)


def test_the_gate_lets_only_scores_below_the_threshold_pass() -> None:
    assert passes(0.009, 0.01)
    assert not passes(0.01, 0.01)
    assert not passes(float("nan"), 0.01)


def test_a_base_is_known_by_content_not_by_number() -> None:
    assert stale_base(header_for(BANK), BANK) is None
    assert stale_base(header_for(BANK, base_version=7), BANK) is None
    assert reason(stale_base(header_for(a_bank(seed=5)), BANK)) == "stale_base"


def test_another_bundle_is_foreign() -> None:
    assert foreign_bundle(header_for(BANK), BANK.bundle_digest) is None
    assert reason(foreign_bundle(header_for(BANK), "c" * 64)) == "foreign_bundle"


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


def test_the_budget_counts_what_was_spent() -> None:
    assert change_budget(0.4, 0.6, 1.0) is None
    assert reason(change_budget(0.5, 0.6, 1.0)) == "change_budget"
    assert change_budget(100.0, 100.0, None) is None


def test_the_anchor_holds_an_item_near() -> None:
    assert anchor_distance(1.0, 1.0) is None
    assert reason(anchor_distance(1.01, 1.0)) == "anchor_distance"
    assert anchor_distance(2.0, None) is None


def test_distances_are_between_unit_items() -> None:
    items_MC = np.eye(4, dtype=np.float32)
    turned_MC = items_MC.copy()
    turned_MC[0] = -turned_MC[0]
    assert distance_moved(items_MC, items_MC) == 0
    assert distance_moved(items_MC, turned_MC) == pytest.approx(0.5)
    assert distance_to_anchor(turned_MC, items_MC) == pytest.approx(2.0)
