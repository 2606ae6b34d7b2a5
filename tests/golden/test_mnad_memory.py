"""MNAD's memory against the published implementation: read, update, losses, gradients."""

import numpy as np
import pytest
import torch
from torch import Tensor

from memory_store.proposal import ItemSums, merge_all
from networks.memory import ItemStatistics, Reading, hold_against, updated
from tests.golden.reference import Array, arrays, close, probe

CASES = ("c0_", "c1_", "c2_", "c3_")


def held(case: dict[str, Array], prefix: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Reading]:
    queries = torch.from_numpy(case[prefix + "fea"]).to(dtype).requires_grad_()
    return queries, hold_against(queries, torch.from_numpy(case[prefix + "items"]).to(dtype))


def by_position(values_BXN: Tensor) -> Tensor:
    """(B, X, N) to rows over batch and place."""
    return values_BXN.permute(0, 2, 1).flatten(0, 1)


def joined(reading: Reading, shape: Array) -> Tensor:
    B, _, H, W, _ = shape
    return torch.cat([reading.queries_BCN, reading.values()], dim=1).reshape(B, -1, H, W)


def away_from_zero_queries(case: dict[str, Array], prefix: str) -> Array:
    B, _, H, W, _ = case[prefix + "shape"]
    keep = np.ones((B, H, W), bool)
    if prefix + "zero_positions" in case:
        keep[tuple(case[prefix + "zero_positions"].T)] = False
    return keep


@pytest.mark.parametrize("prefix", CASES)
def test_read(prefix: str) -> None:
    case = arrays("mnad_memory")
    _, reading = held(case, prefix)
    close(joined(reading, case[prefix + "shape"]), case[prefix + "updated_fea"])
    similarity = by_position(reading.similarity_BMN)
    close(similarity.softmax(dim=1), case[prefix + "score_memory"])
    close(similarity.softmax(dim=0), case[prefix + "score_query"])


@pytest.mark.parametrize("prefix", CASES)
def test_nearest_items_and_distance(prefix: str) -> None:
    case = arrays("mnad_memory")
    _, reading = held(case, prefix)
    keep = away_from_zero_queries(case, prefix).ravel()
    assert np.array_equal(reading.nearest_BN.flatten().numpy()[keep], case[prefix + "test_top1"][keep])
    close(reading.distance().mean(), case[prefix + "test_compact"])
    counts = reading.statistics().counts_BM.sum(dim=0)
    assert np.array_equal(counts.numpy(), case[prefix + "assigned_count"])


@pytest.mark.parametrize("prefix", CASES)
def test_update(prefix: str) -> None:
    case = arrays("mnad_memory")
    _, reading = held(case, prefix)
    items_MC = torch.from_numpy(case[prefix + "items"])
    close(updated(items_MC, reading.statistics()), case[prefix + "items_after"])


@pytest.mark.parametrize("prefix", CASES)
def test_update_through_merged_proposals(prefix: str) -> None:
    """One proposal per sample, merged as a coordinator does, is the published update of the whole batch."""
    case = arrays("mnad_memory")
    _, reading = held(case, prefix)
    merged = merge_all(proposals(reading.statistics()))
    close(merged.updated(case[prefix + "items"]), case[prefix + "items_after"])
    assert np.array_equal(merged.counts_M, case[prefix + "assigned_count"])


@pytest.mark.parametrize("prefix", CASES)
def test_losses(prefix: str) -> None:
    case = arrays("mnad_memory")
    _, reading = held(case, prefix)
    close(reading.compactness(), case[prefix + "loss_compact"])
    close(reading.separateness(), case[prefix + "loss_separate"])


@pytest.mark.parametrize("prefix", CASES)
def test_gradients(prefix: str) -> None:
    case = arrays("mnad_memory")
    keep = torch.from_numpy(away_from_zero_queries(case, prefix)).unsqueeze(1)
    queries, reading = held(case, prefix)
    (grad,) = torch.autograd.grad(0.1 * reading.compactness() + 0.1 * reading.separateness(), queries)
    close(torch.where(keep, grad, 0.0), case[prefix + "grad_losses"])
    queries, reading = held(case, prefix)
    read = joined(reading, case[prefix + "shape"])
    cotangent = np.random.RandomState(3000 + int(prefix[1])).standard_normal(tuple(read.shape)).astype(np.float32)
    (grad,) = torch.autograd.grad((torch.from_numpy(cotangent) * read).sum(), queries)
    close(torch.where(keep, grad, 0.0), case[prefix + "grad_read"])


def test_successive_updates() -> None:
    case = arrays("mnad_memory")
    items_MC = torch.from_numpy(case["seq_items0"])
    for maps, items_after, losses in zip(case["seq_fea"], case["seq_items"], case["seq_losses"], strict=True):
        reading = hold_against(torch.from_numpy(maps), items_MC)
        close(torch.stack([reading.separateness(), reading.compactness()]), losses)
        items_MC = updated(items_MC, reading.statistics())
        close(items_MC, items_after)


def test_full_size() -> None:
    case = arrays("mnad_memory")
    maps = np.random.RandomState(2300).standard_normal(tuple(case["big_shape"][:4])).astype(np.float32)
    queries = torch.from_numpy(maps)
    check = np.append(probe(queries, 16), maps.astype(np.float64).sum())
    close(check, case["big_fea_check"])
    items_MC = torch.from_numpy(case["big_items"])
    reading = hold_against(queries, items_MC)
    rows = torch.cat([reading.queries_BCN, reading.values()], dim=1)
    close(by_position(rows)[case["big_rows"]], case["big_updated_rows"])
    similarity = by_position(reading.similarity_BMN)
    close(similarity.softmax(dim=1)[::4], case["big_score_memory"])
    close(similarity.softmax(dim=0), case["big_score_query"])
    close(updated(items_MC, reading.statistics()), case["big_items_after"])
    close(reading.separateness(), case["big_loss_separate"])
    close(reading.compactness(), case["big_loss_compact"])


def proposals(statistics: ItemStatistics) -> list[ItemSums]:
    samples = zip(statistics.running_max_BM, statistics.sums_BMC, statistics.counts_BM, strict=True)
    return [ItemSums(top.numpy(), sums.numpy(), counts.numpy()) for top, sums, counts in samples]
