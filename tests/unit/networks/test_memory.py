"""Properties of the memory that no reference array shows: banks per sample, merging, where gradients go."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from memory_store.proposal import ItemSums, merge_all
from networks.memory import ItemStatistics, Maximum, hold_against, initial_items, updated


def maps(seed: int, samples: int = 3, channels: int = 6, height: int = 4, width: int = 5) -> Tensor:
    return torch.randn(samples, channels, height, width, generator=torch.Generator().manual_seed(seed))


def bank(seed: int, num_items: int = 4, channels: int = 6) -> Tensor:
    return torch.nn.functional.normalize(
        torch.randn(num_items, channels, generator=torch.Generator().manual_seed(seed)), dim=1
    )


def test_each_sample_reads_its_own_bank() -> None:
    queries, banks = maps(0), torch.stack([bank(1), bank(2), bank(3)])
    together = hold_against(queries, banks)
    for index in range(3):
        alone = hold_against(queries[index : index + 1], banks[index])
        assert torch.allclose(together.values()[index], alone.values()[0], atol=1e-6)
        assert torch.allclose(together.distance()[index], alone.distance()[0], atol=1e-7)
        assert torch.equal(together.nearest_BN[index], alone.nearest_BN[0])
        sums, own = together.statistics(), alone.statistics()
        assert torch.allclose(sums.sums_BMC[index], own.sums_BMC[0], atol=1e-5)
        assert torch.equal(sums.counts_BM[index], own.counts_BM[0])


def test_statistics_are_those_of_a_plain_loop() -> None:
    reading = hold_against(maps(4, samples=1), bank(5))
    queries = reading.queries_BCN[0].T.numpy()
    items = bank(5).numpy()
    similarity = queries @ items.T
    nearest = similarity.argmax(axis=1)
    statistics = reading.statistics()
    for item in range(4):
        mine = nearest == item
        top = similarity[:, item].max()
        expected = (np.exp(similarity[mine, item] - top)[:, None] * queries[mine]).sum(axis=0)
        assert np.isclose(statistics.running_max_BM[0, item], top, atol=1e-6)
        assert np.allclose(statistics.sums_BMC[0, item], expected, atol=1e-5)
        assert statistics.counts_BM[0, item] == mine.sum()


@pytest.mark.parametrize("maximum", ["all", "assigned"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), samples=st.integers(1, 6), num_items=st.integers(2, 30))
def test_joint_update_is_the_merged_proposal(maximum: Maximum, seed: int, samples: int, num_items: int) -> None:
    """Also with more items than queries, so that some are nobody's in a sample and some nobody's at all."""
    items = bank(seed, num_items)
    statistics = hold_against(maps(seed + 1, samples, height=2, width=2), items).statistics(maximum)
    merged = merge_all(proposals(statistics)).updated(items.numpy())
    assert np.isfinite(merged).all()
    assert np.allclose(merged, updated(items, statistics).numpy(), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), samples=st.integers(1, 6), num_items=st.integers(2, 30))
def test_frame_wise_update_adds_up_what_each_frame_says_by_itself(seed: int, samples: int, num_items: int) -> None:
    items = bank(seed, num_items)
    statistics = hold_against(maps(seed + 1, samples, height=2, width=2), items).statistics("assigned")
    alone = np.stack([part.sums_MC for part in proposals(statistics)]).sum(axis=0)
    expected = torch.nn.functional.normalize(items + torch.from_numpy(alone), dim=1)
    assert torch.allclose(updated(items, statistics, over="frame"), expected, atol=1e-6)


def test_frames_and_batch_differ_only_by_whose_maximum_it_is() -> None:
    items, statistics = bank(1), hold_against(maps(2), bank(1)).statistics()
    one_maximum = ItemStatistics(
        torch.full_like(statistics.running_max_BM, 0.5), statistics.sums_BMC, statistics.counts_BM
    )
    assert not torch.allclose(updated(items, statistics, "frame"), updated(items, statistics, "batch"), atol=1e-5)
    assert torch.allclose(updated(items, one_maximum, "frame"), updated(items, one_maximum, "batch"), atol=1e-6)


def test_assigned_maximum_is_that_of_a_plain_loop() -> None:
    """An item that is nobody's has a finite maximum below all others, and sums of zero."""
    items = bank(5, num_items=30)
    reading = hold_against(maps(4, samples=1), items)
    queries, similarity = reading.queries_BCN[0].T, reading.similarity_BMN[0]
    statistics = reading.statistics("assigned")
    chosen = [item for item in range(30) if (reading.nearest_BN[0] == item).any()]
    assert 0 < len(chosen) < 30
    for item in range(30):
        mine = reading.nearest_BN[0] == item
        if item not in chosen:
            assert -torch.inf < statistics.running_max_BM[0, item] < -1
            assert (statistics.sums_BMC[0, item] == 0).all()
            continue
        top = similarity[item, mine].max()
        expected = (torch.exp(similarity[item, mine] - top).unsqueeze(1) * queries[mine]).sum(dim=0)
        assert torch.isclose(statistics.running_max_BM[0, item], top)
        assert torch.allclose(statistics.sums_BMC[0, item], expected, atol=1e-5)
    assert torch.isfinite(updated(items, statistics)).all()


def test_the_assigned_maximum_gives_the_nearest_query_full_weight() -> None:
    """So every chosen item moves at least as far as with the maximum over all queries."""
    items = bank(5)
    reading = hold_against(maps(4), items)
    of_all, of_assigned = (reading.statistics(maximum) for maximum in ("all", "assigned"))
    chosen = of_all.counts_BM > 0
    assert (of_assigned.running_max_BM <= of_all.running_max_BM).all()
    longer = of_assigned.sums_BMC.norm(dim=2) >= of_all.sums_BMC.norm(dim=2) - 1e-6
    assert longer[chosen].all()


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
def test_momentum_keeps_its_share_of_the_old_items(momentum: float) -> None:
    items, statistics = bank(1), hold_against(maps(2), bank(1)).statistics()
    at_once, kept = updated(items, statistics), updated(items, statistics, momentum=momentum)
    expected = torch.nn.functional.normalize(momentum * items + (1 - momentum) * at_once, dim=1)
    assert torch.allclose(kept, expected, atol=1e-6)
    assert torch.allclose(kept.norm(dim=1), torch.ones(4), atol=1e-6)


def proposals(statistics: ItemStatistics) -> list[ItemSums]:
    samples = zip(statistics.running_max_BM, statistics.sums_BMC, statistics.counts_BM, strict=True)
    return [ItemSums(top.numpy(), sums.numpy(), counts.numpy()) for top, sums, counts in samples]


def test_autocast_does_not_touch_the_memory() -> None:
    items, queries = bank(1), maps(2)
    plain = hold_against(queries, items)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = hold_against(queries, items)
        values, distance = mixed.values(), mixed.distance_map()
    assert torch.equal(plain.similarity_BMN, mixed.similarity_BMN)
    assert torch.equal(plain.values(), values)
    assert torch.equal(plain.distance_map(), distance)
    half = hold_against(queries.bfloat16(), items)
    assert half.similarity_BMN.dtype == torch.float32


def test_items_nobody_chose_stay() -> None:
    items = torch.eye(3, 6)
    queries = torch.zeros(1, 6, 2, 2)
    queries[:, 0] = 2.0
    after = updated(items, hold_against(queries, items).statistics())
    assert torch.allclose(after[1:], items[1:])


def test_gradient_reaches_the_queries_only() -> None:
    queries, items = maps(7).requires_grad_(), bank(8).requires_grad_()
    reading = hold_against(queries, items)
    assert not reading.values().requires_grad
    (reading.compactness() + reading.separateness()).backward()
    assert items.grad is None
    assert queries.grad is not None
    assert queries.grad.abs().sum() > 0


def test_lower_temperature_reads_nearer_to_the_nearest_item() -> None:
    reading = hold_against(maps(9), bank(10))
    gaps = [(reading.values(t) - reading.nearest_items()).norm() for t in (1.0, 0.1, 0.001)]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.2 * gaps[0]


def test_distance_is_zero_on_an_item_and_grows_away_from_it() -> None:
    items = torch.eye(3, 6)
    on, off = torch.zeros(2, 6, 1, 1).unbind()
    on[0] = 5.0
    off[5] = 5.0
    near, far = hold_against(torch.stack([on, off]), items).distance()
    assert near == 0.0
    assert torch.isclose(far, torch.tensor(2.0 / 6))


def test_zero_queries_give_finite_numbers() -> None:
    queries = torch.zeros(1, 6, 2, 2, requires_grad=True)
    reading = hold_against(queries, bank(11))
    (reading.compactness() + reading.separateness()).backward()
    assert queries.grad is not None
    assert torch.isfinite(queries.grad).all()
    assert torch.isfinite(reading.values()).all()


def test_initial_items_have_unit_length_and_follow_the_seed() -> None:
    first, second = (initial_items(5, 7, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.allclose(first.norm(dim=1), torch.ones(5))
    assert (first >= 0).all()
