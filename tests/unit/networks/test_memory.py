"""Properties of the memory that no reference array shows: banks per sample, merging, where gradients go."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from memory_store.proposal import ItemSums, merge_all
from networks.memory import hold_against, initial_items, updated


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


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), samples=st.integers(1, 6))
def test_joint_update_is_the_merged_proposal(seed: int, samples: int) -> None:
    items = bank(seed)
    statistics = hold_against(maps(seed + 1, samples), items).statistics()
    parts = [
        ItemSums(top.numpy(), sums.numpy(), counts.numpy())
        for top, sums, counts in zip(statistics.running_max_BM, statistics.sums_BMC, statistics.counts_BM, strict=True)
    ]
    assert np.allclose(merge_all(parts).updated(items.numpy()), updated(items, statistics).numpy(), atol=1e-5)


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
