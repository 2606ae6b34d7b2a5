"""MemAE's memory: what weights may be, where gradients go, what the parameters change."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from networks.sparse_memory import (
    Addressing,
    ReadRule,
    Shrinking,
    SparseReading,
    hard_shrunk,
    scaled_to_one,
    sparse_read,
)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("addressing", ["dot", "cosine"])
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), shrink=st.sampled_from([0.0, 0.02, 0.1, 0.3]))
def test_weights_add_up_to_one_or_nothing(addressing: Addressing, seed: int, shrink: float) -> None:
    reading = sparse_read(drawn(seed, 2, 6, 3, 4), drawn(seed + 1, 20, 6), ReadRule(shrink, addressing))
    total_BN = reading.weights_BMN.sum(dim=1)
    alive = reading.num_items_read() > 0
    assert (reading.weights_BMN >= 0).all()
    assert torch.allclose(total_BN, alive.float(), atol=1e-5)
    assert not reading.rebuilt_BCN.movedim(1, 2)[~alive].any()
    assert reading.entropy() >= -1e-6


def test_each_place_is_rebuilt_by_itself() -> None:
    queries, items, rule = drawn(0, 2, 6, 2, 3, 4), drawn(1, 20, 6), ReadRule(0.05)
    whole = sparse_read(queries, items, rule).rebuilt_BCN.reshape(queries.shape)
    one = sparse_read(queries[1:, :, 1:, 2:, 3:], items, rule).rebuilt_BCN
    assert torch.allclose(whole[1, :, 1, 2, 3], one[0, :, 0], atol=1e-6)


@pytest.mark.parametrize("shrinking", ["quotient", "step"])
def test_shrinking_cuts_at_the_threshold_and_keeps_what_is_above(shrinking: Shrinking) -> None:
    weights = torch.tensor([0.0, 0.1, 0.25, 0.250001, 0.7])
    kept = torch.tensor([0.0, 0.0, 0.0, 0.250001, 0.7])
    assert torch.allclose(hard_shrunk(weights, 0.25, shrinking), kept, atol=1e-6)


def test_the_published_gradient_has_spikes_that_the_step_has_not() -> None:
    """1 + 1e-12 w / (w - t)^2, here 1e-9 above the threshold."""
    weights = torch.tensor([0.0025 + 1e-9, 0.01], dtype=torch.float64, requires_grad=True)
    (published,) = torch.autograd.grad(hard_shrunk(weights, 0.0025, "quotient").sum(), weights)
    (step,) = torch.autograd.grad(hard_shrunk(weights, 0.0025, "step").sum(), weights)
    assert published[0] > 2000
    assert published[1] == pytest.approx(1.0, abs=1e-6)
    assert step.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("shrinking", ["quotient", "step"])
def test_half_precision_gives_no_nan(shrinking: Shrinking) -> None:
    """In which the small constants are 0."""
    weights = torch.tensor([[[0.0], [0.25], [0.75]]], dtype=torch.float16)
    assert scaled_to_one(hard_shrunk(weights, 0.25, shrinking)).flatten().tolist() == [0.0, 0.0, 1.0]


def test_gradients_reach_queries_and_items_where_something_is_read() -> None:
    queries, items = drawn(2, 1, 6, 8).requires_grad_(), drawn(3, 20, 6).requires_grad_()
    reading = sparse_read(queries, items, ReadRule(0.4))
    alive = reading.num_items_read()[0] > 0
    assert alive.any()
    assert not alive.all()
    (reading.rebuilt_BCN.square().sum() + reading.entropy()).backward()
    assert queries.grad is not None
    assert items.grad is not None
    assert not queries.grad[0, :, ~alive].any()
    assert torch.isfinite(queries.grad).all()
    assert items.grad.any()


def test_cosine_does_not_mind_lengths_and_dot_does() -> None:
    queries, items = drawn(4, 1, 6, 8), drawn(5, 20, 6)
    for rule, same in ((ReadRule(0.0, "cosine"), True), (ReadRule(0.0, "dot"), False)):
        weights = sparse_read(queries, items, rule).weights_BMN
        assert torch.allclose(weights, sparse_read(queries * 3, items, rule).weights_BMN, atol=1e-6) == same


def test_lower_temperature_reads_fewer_items() -> None:
    queries, items = drawn(6, 1, 6, 8), drawn(7, 20, 6)
    entropies = [sparse_read(queries, items, ReadRule(0.0, temperature=t)).entropy() for t in (4.0, 1.0, 0.1)]
    assert entropies[0] > entropies[1] > entropies[2]


def test_a_query_that_is_an_item_is_rebuilt_by_it() -> None:
    items = 10 * torch.eye(6)
    reading = sparse_read(items[2].reshape(1, 6, 1), items, ReadRule(0.01))
    assert torch.allclose(reading.rebuilt_BCN[0, :, 0], items[2])
    assert reading.distance_map().item() == pytest.approx(0.0, abs=1e-9)
    assert reading.num_items_read().item() == 1


def test_entropy_is_that_of_the_weights() -> None:
    """0 where one item does it all, ln 4 where four share alike, and the mean of both over places."""
    weights_BMN = torch.tensor([[1.0, 0.25], [0.0, 0.25], [0.0, 0.25], [0.0, 0.25]])[None]
    reading = SparseReading(torch.zeros(1, 2, 2), weights_BMN, torch.zeros(1, 2, 2))
    assert reading.entropy().item() == pytest.approx(math.log(4) / 2)
    assert reading.num_items_read().tolist() == [[1, 4]]


def test_the_distance_is_a_mean_over_channels_of_squares() -> None:
    queries_BCN = torch.tensor([[[1.0, 0.0], [3.0, 0.0]]])
    rebuilt_BCN = torch.tensor([[[0.0, 0.0], [1.0, 2.0]]])
    reading = SparseReading(queries_BCN, torch.ones(1, 1, 2), rebuilt_BCN)
    assert reading.distance_map().tolist() == [[(1 + 4) / 2, (0 + 4) / 2]]


@pytest.mark.parametrize(("temperature", "weights"), [(1.0, [3, 1]), (0.5, [9, 1])])
def test_weights_are_a_softmax_of_similarity_over_temperature(temperature: float, weights: list[float]) -> None:
    """The similarities differ by ln 3."""
    items_MC, queries = torch.tensor([[math.log(3.0)], [0.0]]), torch.ones(1, 1, 1)
    found = sparse_read(queries, items_MC, ReadRule(0.0, temperature=temperature)).weights_BMN.flatten()
    assert found.tolist() == pytest.approx([weight / sum(weights) for weight in weights])


def test_what_is_left_above_the_threshold_is_scaled_to_one() -> None:
    """Of the weights 6/10, 3/10 and 1/10 the last is cut: 2/3 and 1/3 are left of it."""
    items_MC = torch.tensor([[math.log(6.0), 1.0], [math.log(3.0), 0.0], [0.0, 0.0]])
    reading = sparse_read(torch.tensor([[[1.0], [0.0]]]), items_MC, ReadRule(0.2))
    assert reading.weights_BMN.flatten().tolist() == pytest.approx([2 / 3, 1 / 3, 0.0])
    wanted = [2 / 3 * math.log(6.0) + 1 / 3 * math.log(3.0), 2 / 3]
    assert reading.rebuilt_BCN.flatten().tolist() == pytest.approx(wanted)
