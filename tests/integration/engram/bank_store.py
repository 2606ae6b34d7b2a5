"""A bank with some versions in a real store, and what the commands about it say."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from typer.testing import Result

from memory_store.bank import Bank, Change
from memory_store.proposal import normalised
from memory_store.store import BankStore, CommitRequest
from schemas.messages import utc_now

Call = Callable[..., Result]
STEP = 0.004
"""How far the items of each version are moved, well within what updates may do."""


def moved_on(bank: Bank, item: int) -> Bank:
    """The next version, in which one item has moved more than the others."""
    steps_MC = np.random.default_rng(item).normal(size=bank.items_MC.shape).astype(np.float32)
    steps_MC *= STEP / np.linalg.norm(steps_MC, axis=1, keepdims=True)
    steps_MC[item] *= 3
    return bank.followed_by(normalised(bank.items_MC + steps_MC), utc_now())


def teach(store: BankStore, bank_id: str, numbers: Sequence[int]) -> None:
    lease = store.acquire(bank_id, "c1", 60.0)
    assert lease is not None
    for number in numbers:
        bank = store.read(bank_id)
        assert bank is not None
        cameras = ((f"cam{number}", 20), ("door", 10))
        change = Change("update", "c1", "round", f"commit-{number}", 3, 30, 2, cameras, STEP, 0.01 * number)
        assert store.commit(CommitRequest(lease, moved_on(bank, number), change)).status == "applied"


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def refused(result: Result, says: str, code: int = 2) -> None:
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert "unexpected" not in result.stderr


def forget_log(store: Any) -> None:
    if hasattr(store, "_client"):
        store._client.delete(store._key("lobby", "log"))
    else:
        with store._transaction() as cursor:
            cursor.execute("DELETE FROM log")
