"""How long a bank takes to read and to commit, items alone and with counts, against a round trip to the same Redis."""

import itertools
import socket
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.timing import latencies, print_latencies
from deploy.local.redis import LocalRedis
from memory_store.bank import Bank, Change
from memory_store.normality import Grid, Normality
from memory_store.proposal import normalised
from memory_store.store import BankStore, CommitRequest
from memory_store.stores.redis import RedisStore
from memory_store.stores.redis_client import RedisAddress
from memory_store.stores.sqlite import SqliteStore

ROUNDS = 500
ITEMS, CHANNELS = 10, 512


def run() -> None:
    """Start a Redis, fill both stores, time them in turn."""
    with tempfile.TemporaryDirectory() as folder:
        server = LocalRedis(Path(folder))
        server.start()
        try:
            server.wait_ready(30)
            compare(server.url, "bench", Path(folder), ROUNDS)
        finally:
            server.stop()


def compare(url: str, prefix: str, folder: Path, rounds: int) -> None:
    """Print the table; keys of the Redis at ``url`` begin with ``prefix``, and the SQLite file is in ``folder``."""
    redis = RedisStore.for_coordinator(RedisAddress(url, prefix))
    sqlite = SqliteStore(folder / "banks.db")
    steps: dict[str, Callable[[], object]] = {"Redis PING (baseline)": _ping(url)}
    for name, store in (("Redis", redis), ("SQLite", sqlite)):
        for bank_id, what, counts in (("items", "items", None), ("counts", "items and counts", _counts())):
            writer = _Writer(store, bank_id, counts)
            steps |= {
                f"{name}, {what}: read": partial(store.read, bank_id),
                f"{name}, {what}: read if newer, unchanged": writer.look,
                f"{name}, {what}: commit": writer.commit,
            }
    content = ITEMS * CHANNELS * 4
    whole = content + _counts().values_N.nbytes
    print_latencies(
        f"Bank of {ITEMS} x {CHANNELS} items, {content} bytes; with counts for 192 x 128 pixels, {whole} bytes",
        latencies(steps, rounds),
    )


class _Writer:
    """Commits one version after another, as the coordinator does."""

    def __init__(self, store: BankStore, bank_id: str, counts: Normality | None) -> None:
        items_MC = normalised(np.random.default_rng(0).normal(size=(ITEMS, CHANNELS)).astype(np.float32))
        self._store = store
        self._numbers = itertools.count()
        bank = Bank(bank_id, 0, "e0", "0" * 64, items_MC, _now(), normality=counts)
        self.bank = store.create(bank, self._change("create"))
        lease = store.acquire(bank_id, "bench", 600)
        assert lease is not None, "nobody else writes to a store made for this benchmark"
        self._lease = lease

    def look(self) -> Bank | None:
        """Ask for what is newer than the newest."""
        return self._store.read_if_newer(self.bank)

    def commit(self) -> None:
        """Write the next version."""
        after = self.bank.followed_by(self.bank.items_MC[::-1], _now())
        self._store.commit(CommitRequest(self._lease, after, self._change("update")))
        self.bank = after

    def _change(self, action: str) -> Change:
        return Change(action, "bench", "benchmark", f"{action}-{next(self._numbers)}")  # type: ignore[arg-type]


def _counts() -> Normality:
    """Counts as of some video, (32, 48) cells."""
    counts = Normality.empty(Grid(32, 48))
    return Normality(counts.grid, _now().timestamp(), counts.values_N + 1000.0)


def _ping(url: str) -> Callable[[], None]:
    """One round trip without any client library: the floor under everything else."""
    host, port = url.removeprefix("redis://").split("/")[0].rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), timeout=5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ping() -> None:
        connection.sendall(b"PING\r\n")
        assert connection.recv(16) == b"+PONG\r\n"

    return ping


def _now() -> datetime:
    return datetime.now(timezone.utc)
