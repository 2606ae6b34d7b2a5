"""Proposals made from queries by the formula, for tests."""

from datetime import datetime, timedelta, timezone

import numpy as np

from memory_store.bank import Bank, Change, next_epoch
from memory_store.coordinator.positions import Place
from memory_store.coordinator.rounds import Held
from memory_store.proposal import NEVER, ItemSums
from messaging.ports import Claim
from schemas.messages import ProposalHeader

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=timezone.utc)
FREEZE = (Change("freeze", "ann", "a bad week", "freeze-1"), NOW)
THAW = (Change("thaw", "ann", "all is well", "thaw-1"), NOW)
BUNDLE = "b" * 64


def unit_rows(seed: int, rows: int, columns: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(rows, columns))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def sums_of(queries_NC: np.ndarray, items_MC: np.ndarray) -> ItemSums:
    """What a worker computes, in float32, from the queries of some frames."""
    if len(queries_NC) == 0:
        return ItemSums.empty(*items_MC.shape)
    similarity_NM = (queries_NC @ items_MC.T).astype(np.float32)
    nearest_N = similarity_NM.argmax(axis=1)
    running_max_M = similarity_NM.max(axis=0)
    assigned_NM = np.eye(len(items_MC), dtype=np.float32)[nearest_N]
    weights_NM = assigned_NM * np.exp(similarity_NM - running_max_M)
    return ItemSums(running_max_M, weights_NM.T @ queries_NC, assigned_NM.sum(axis=0))


def updated_by_formula(queries_NC: np.ndarray, items_MC: np.ndarray) -> np.ndarray:
    """MNAD's update (eq. 4-6) with softmax and maximum over all queries, as written, in float64."""
    queries_NC, items_MC = queries_NC.astype(np.float64), items_MC.astype(np.float64)
    similarity_NM = queries_NC @ items_MC.T
    softmax_NM = np.exp(similarity_NM) / np.exp(similarity_NM).sum(axis=0)
    weights_NM = softmax_NM / softmax_NM.max(axis=0)
    updated_MC = items_MC.copy()
    for query_C, nearest, weights_M in zip(queries_NC, similarity_NM.argmax(axis=1), weights_NM, strict=True):
        updated_MC[nearest] += weights_M[nearest] * query_C
    return updated_MC / np.linalg.norm(updated_MC, axis=1, keepdims=True)


def a_bank(seed: int = 0, num_items: int = 4, item_dim: int = 6, version: int = 0, bank_id: str = "lobby") -> Bank:
    return Bank(bank_id, version, next_epoch(), BUNDLE, unit_rows(seed, num_items, item_dim), NOW)


def header_for(bank: Bank, camera_id: str = "cam1", first: int = 0, last: int = 9, **changed: object) -> ProposalHeader:
    num_items, item_dim = bank.items_MC.shape
    values: dict[str, object] = {
        "proposal_id": f"{camera_id}:s1:{first}-{last}",
        "bank_id": bank.bank_id,
        "base_version": bank.version,
        "base_digest": bank.digest,
        "bundle_digest": bank.bundle_digest,
        "camera_id": camera_id,
        "session_id": "s1",
        "first_frame": first,
        "last_frame": last,
        "num_frames": last - first + 1,
        "captured_from": NOW,
        "captured_to": NOW,
        "num_items": num_items,
        "item_dim": item_dim,
    }
    return ProposalHeader.model_validate(values | changed)


def held_for(
    bank: Bank, camera_id: str = "cam1", first: int = 0, at: float = 0.0, seed: int = 1, late_s: float = 0.0
) -> Held:
    """A proposal of ten frames with 16 queries, captured ``late_s`` after ``NOW``; its place is its first frame."""
    sums = sums_of(unit_rows(seed, 16, bank.items_MC.shape[1]), bank.items_MC)
    captured = NOW + timedelta(seconds=late_s)
    header = header_for(bank, camera_id, first, first + 9, captured_from=captured, captured_to=captured)
    return Held(header, sums, at, place(first), f"{header.proposal_id}#{seed}")


def place(offset: int) -> Place:
    """Somewhere in one partition."""
    return Place(Claim("t.memory-updates", 0, 1), offset)


def never(num_items: int) -> np.ndarray:
    return np.full(num_items, NEVER, np.float32)
