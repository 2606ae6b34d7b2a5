"""Banks, changes and requests for tests of memory stores."""

from datetime import datetime, timezone

import numpy as np

from memory_store.bank import Action, Bank, Change, next_epoch
from memory_store.store import BankStore, CommitOutcome, CommitRequest, Lease

NOW = datetime(2026, 5, 4, 12, 0, 0, 250000, tzinfo=timezone.utc)
BUNDLE = "b" * 64
FAR_S = 60.0
KEPT = 5
"""Versions that the stores of these tests keep."""


def items(seed: int, num_items: int = 4, item_dim: int = 6) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(num_items, item_dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def first_bank(bank_id: str, seed: int = 0, version: int = 0) -> Bank:
    return Bank(bank_id, version, next_epoch(), BUNDLE, items(seed), NOW)


def change(commit_id: str, action: Action = "update") -> Change:
    cameras = (("cam1", 20), ("cam2", 10))
    return Change(action, "c1", "a round", commit_id, 3, 30, 2, cameras, moved=0.25, anchor_distance=0.5)


def leased(store: BankStore, bank_id: str, holder: str = "c1") -> Lease:
    lease = store.acquire(bank_id, holder, FAR_S)
    assert lease is not None
    return lease


def commit_next(store: BankStore, lease: Lease, seed: int) -> tuple[Bank, CommitOutcome]:
    """Commit one more version with items of ``seed``."""
    current = store.read(lease.bank_id)
    assert current is not None
    bank = current.followed_by(items(seed), NOW)
    return bank, store.commit(CommitRequest(lease, bank, change(f"commit-{seed}")))
