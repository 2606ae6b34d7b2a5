"""MNAD's memory against the published implementation: read, update, losses, gradients."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from memory_store.proposal import ItemSums, merge_all
from networks.memory import ItemStatistics, Reading, hold_against, updated
from tests.golden.reference import Array, arrays, cases, close, compare, probe_and_sum, section, told_seed

FILE = "mnad_memory"
CASES = cases(FILE)
SECTIONS = (*CASES, "seq_", "big_")
SEED_OF_COTANGENTS = told_seed(r"RandomState\((\d+)\s*\+\s*case\)", 3000)
SEED_OF_BIG_MAP = told_seed(r"RandomState\((\d+)\)\.standard_normal\(shape\)", 2300)
GIVEN = ("shape", "fea", "items", "zero_positions")


def by_position(values_BXN: Tensor) -> Tensor:
    """(B, X, N) to rows over batch and place."""
    return values_BXN.permute(0, 2, 1).flatten(0, 1)


def joined(reading: Reading, shape: Array) -> Tensor:
    B, _, H, W, _ = shape
    return torch.cat([reading.queries_BCN, reading.values()], dim=1).reshape(B, -1, H, W)


def scores(reading: Reading) -> dict[str, Tensor]:
    similarity = by_position(reading.similarity_BMN)
    return {"score_query": similarity.softmax(dim=0), "score_memory": similarity.softmax(dim=1)}


def away_from_zero_queries(case: dict[str, Array]) -> Array:
    B, _, H, W, _ = case["shape"]
    keep = np.ones((B, H, W), bool)
    if "zero_positions" in case:
        keep[tuple(case["zero_positions"].T)] = False
    return keep


@pytest.mark.parametrize("prefix", CASES)
def test_case(prefix: str) -> None:
    case = section(FILE, prefix)
    items_MC = torch.from_numpy(case["items"])
    reading = hold_against(torch.from_numpy(case["fea"]), items_MC)
    statistics = reading.statistics()
    keep = away_from_zero_queries(case)
    nearest = np.where(keep.ravel(), reading.nearest_BN.flatten().numpy(), case["test_top1"])
    found: dict[str, Any] = {key: values for key, values in case.items() if key in GIVEN}
    found |= scores(reading) | gradients(case, int(prefix[1:-1]), torch.from_numpy(keep).unsqueeze(1))
    found |= {
        "updated_fea": joined(reading, case["shape"]),
        "items_after": updated(items_MC, statistics),
        "loss_compact": reading.compactness(),
        "loss_separate": reading.separateness(),
        "test_compact": reading.distance().mean(),
        "test_top1": nearest,
        "assigned_count": statistics.counts_BM.sum(dim=0),
    }
    compare(found, case)


def gradients(case: dict[str, Array], number: int, keep: Tensor) -> dict[str, Tensor]:
    """Of the losses and of the read; those of zero vectors are left out."""
    queries = torch.from_numpy(case["fea"]).requires_grad_()
    reading = hold_against(queries, torch.from_numpy(case["items"]))
    (of_losses,) = torch.autograd.grad(0.1 * reading.compactness() + 0.1 * reading.separateness(), queries)
    reading = hold_against(queries, torch.from_numpy(case["items"]))
    read = joined(reading, case["shape"])
    cotangent = np.random.RandomState(SEED_OF_COTANGENTS + number).standard_normal(tuple(read.shape)).astype(np.float32)
    (of_read,) = torch.autograd.grad((torch.from_numpy(cotangent) * read).sum(), queries)
    return {"grad_losses": torch.where(keep, of_losses, 0.0), "grad_read": torch.where(keep, of_read, 0.0)}


@pytest.mark.parametrize("prefix", CASES)
def test_update_through_merged_proposals(prefix: str) -> None:
    """One proposal per sample, merged as a coordinator does, is the published update of the whole batch."""
    case = section(FILE, prefix)
    reading = hold_against(torch.from_numpy(case["fea"]), torch.from_numpy(case["items"]))
    merged = merge_all(proposals(reading.statistics()))
    close(merged.updated(case["items"]), case["items_after"])
    assert np.array_equal(merged.counts_M, case["assigned_count"])


def proposals(statistics: ItemStatistics) -> list[ItemSums]:
    samples = zip(statistics.running_max_BM, statistics.sums_BMC, statistics.counts_BM, strict=True)
    return [ItemSums(top.numpy(), sums.numpy(), counts.numpy()) for top, sums, counts in samples]


def test_successive_updates() -> None:
    case = section(FILE, "seq_")
    items_MC = torch.from_numpy(case["items0"])
    banks, losses = [], []
    for maps in case["fea"]:
        reading = hold_against(torch.from_numpy(maps), items_MC)
        losses.append(torch.stack([reading.separateness(), reading.compactness()]))
        items_MC = updated(items_MC, reading.statistics())
        banks.append(items_MC)
    given = {"items0": case["items0"], "fea": case["fea"]}
    compare({**given, "items": torch.stack(banks), "losses": torch.stack(losses)}, case)


def test_full_size() -> None:
    case = section(FILE, "big_")
    maps = np.random.RandomState(SEED_OF_BIG_MAP).standard_normal(tuple(case["shape"][:4])).astype(np.float32)
    queries, items_MC = torch.from_numpy(maps), torch.from_numpy(case["items"])
    reading = hold_against(queries, items_MC)
    rows = by_position(torch.cat([reading.queries_BCN, reading.values()], dim=1))
    found = scores(reading)
    compare(
        {
            "shape": case["shape"],
            "rows": case["rows"],
            "items": case["items"],
            "fea_check": probe_and_sum(queries, len(case["fea_check"]) - 1),
            "updated_rows": rows[case["rows"]],
            "score_query": found["score_query"],
            "score_memory": found["score_memory"][:: len(found["score_memory"]) // len(case["score_memory"])],
            "items_after": updated(items_MC, reading.statistics()),
            "loss_separate": reading.separateness(),
            "loss_compact": reading.compactness(),
        },
        case,
    )


def test_nothing_is_left_out() -> None:
    assert all(key.startswith(SECTIONS) for key in arrays(FILE))
