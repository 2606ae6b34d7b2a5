"""However queries are spread over workers, the merged proposals write what one process would have written."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from memory_store.proposal import NEVER, ItemSums, merge_all, normalised
from schemas.codec import decode_proposal_arrays, encode_proposal_arrays
from tests.unit.memory_store.proposals import a_bank, header_for, sums_of, unit_rows, updated_by_formula

TOLERANCE = 1e-6


def close(left: ItemSums, right: ItemSums) -> bool:
    pairs = [(left.running_max_M, right.running_max_M), (left.sums_MC, right.sums_MC), (left.counts_M, right.counts_M)]
    return all(np.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in pairs)


def has_ties(queries_NC: np.ndarray, items_MC: np.ndarray) -> bool:
    """Whether rounding decides which item a query is nearest to: then one process is not sure of its result either."""
    if len(items_MC) == 1:
        return False
    best_N2 = np.sort(queries_NC.astype(np.float64) @ items_MC.T.astype(np.float64), axis=1)[:, -2:]
    return bool((best_N2[:, 1] - best_N2[:, 0]).min() < 1e-6)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    num_items=st.integers(1, 12),
    item_dim=st.integers(2, 64),
    frames=st.integers(1, 40),
    places=st.integers(1, 30),
    data=st.data(),
)
def test_any_split_over_workers_in_any_order_gives_what_one_process_writes(
    seed: int, num_items: int, item_dim: int, frames: int, places: int, data: st.DataObject
) -> None:
    items_MC = unit_rows(seed, num_items, item_dim)
    queries_FNC = unit_rows(seed + 1, frames * places, item_dim).reshape(frames, places, item_dim)
    assume(not has_ties(queries_FNC.reshape(-1, item_dim), items_MC))
    worker_of_F = data.draw(st.lists(st.integers(0, 5), min_size=frames, max_size=frames))
    order = data.draw(st.permutations(range(6)))
    parts = [sums_of(queries_FNC[np.array(worker_of_F) == worker].reshape(-1, item_dim), items_MC) for worker in order]
    expected_MC = updated_by_formula(queries_FNC.reshape(-1, item_dim), items_MC)
    assert np.abs(merge_all(parts).updated(items_MC) - expected_MC).max() <= TOLERANCE


def test_a_full_round_of_real_size_stays_within_the_tolerance() -> None:
    items_MC = unit_rows(0, 10, 512)
    queries_NC = unit_rows(1, 20_000, 512)
    assert not has_ties(queries_NC, items_MC)
    parts = [sums_of(part_NC, items_MC) for part_NC in np.array_split(queries_NC, 400)]
    one_by_one = parts[0]
    for part in parts[1:]:
        one_by_one = one_by_one.merge(part)
    expected_MC = updated_by_formula(queries_NC, items_MC)
    assert np.abs(merge_all(parts).updated(items_MC) - expected_MC).max() <= TOLERANCE
    assert np.abs(one_by_one.updated(items_MC) - expected_MC).max() <= TOLERANCE


@settings(max_examples=50, deadline=None)
@given(seeds=st.lists(st.integers(0, 2**31), min_size=3, max_size=3))
def test_merging_is_a_commutative_monoid(seeds: list[int]) -> None:
    items_MC = unit_rows(7, 5, 8)
    a, b, c = (sums_of(unit_rows(seed, 6, 8), items_MC) for seed in seeds)
    neutral = ItemSums.empty(5, 8)
    assert close(a.merge(b), b.merge(a))
    assert close(a.merge(b).merge(c), a.merge(b.merge(c)))
    assert close(a.merge(neutral), a)
    assert close(neutral.merge(a), a)


def test_nothing_merged_with_nothing_is_nothing() -> None:
    merged = merge_all([ItemSums.empty(3, 4), ItemSums.empty(3, 4)])
    assert (merged.running_max_M == NEVER).all()
    assert not merged.sums_MC.any()
    assert merged.running_max_M.dtype == merged.sums_MC.dtype == merged.counts_M.dtype == np.float32


def test_items_that_nobody_chose_stay_where_they_are() -> None:
    items_MC = unit_rows(0, 4, 8)
    np.testing.assert_allclose(ItemSums.empty(4, 8).updated(items_MC), items_MC, atol=1e-7)


def test_merging_survives_the_wire_bit_for_bit() -> None:
    bank = a_bank()
    sums = sums_of(unit_rows(3, 20, 6), bank.items_MC)
    value = encode_proposal_arrays(sums.running_max_M, sums.sums_MC, sums.counts_M)
    read = ItemSums(*decode_proposal_arrays(header_for(bank), value)[:3])
    np.testing.assert_array_equal(read.sums_MC, sums.sums_MC)
    np.testing.assert_array_equal(read.merge(sums).sums_MC, sums.merge(sums).sums_MC)


def test_a_row_of_zeros_stays_zero() -> None:
    rows_MC = np.array([[0, 0], [3, 4]], np.float32)
    np.testing.assert_allclose(normalised(rows_MC), np.array([[0, 0], [0.6, 0.8]]), atol=1e-7)
