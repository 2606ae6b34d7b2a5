"""A primary, a replica that follows it, and sentinels that make the replica primary when the first is gone."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from redis import Redis

from deploy.local.ports import LOOPBACK
from deploy.local.redis import LocalRedis
from deploy.local.requirements import find_redis_server
from deploy.local.server import LocalServer
from deploy.local.wait import wait_until

READY_S = 120.0
NAME = "banks"
DOWN_AFTER_MS = 1000


class LocalSentinel(LocalServer):
    """One sentinel.

    Args:
        folder: see ``LocalServer``.
        primary: ``host:port``.
        quorum: so many sentinels must agree that the primary is gone.
    """

    name = "sentinel"

    def __init__(self, folder: Path, primary: str, quorum: int) -> None:
        super().__init__(folder)
        self._primary = primary
        self._quorum = quorum

    def is_ready(self) -> bool:
        """Whether it answers PING."""
        try:
            with socket.create_connection((LOOPBACK, self._port("client")), timeout=0.5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def _command(self) -> Sequence[str]:
        host, _, port = self._primary.rpartition(":")
        lines = [
            f"bind {LOOPBACK}",
            f"port {self._port('client')}",
            f'dir "{self.folder}"',
            "daemonize no",
            f"sentinel monitor {NAME} {host} {port} {self._quorum}",
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {NAME} 10000",
        ]
        conf = self.folder / "sentinel.conf"
        if not conf.exists():  # it writes what it learns into the file itself
            conf.write_text("".join(f"{line}\n" for line in lines))
        return [str(find_redis_server()), str(conf), "--sentinel"]


@dataclass(frozen=True, slots=True)
class Guarded:
    """What runs.

    Attributes:
        first: primary at the start.
        second: its replica.
        sentinels: who watch them.
    """

    first: LocalRedis
    second: LocalRedis
    sentinels: Sequence[LocalSentinel]

    @property
    def url(self) -> str:
        """As ``store.url`` has it."""
        return f"redis+sentinel://{','.join(one.address for one in self.sentinels)}/{NAME}/0"

    def is_followed(self) -> bool:
        """Whether the second has heard all that the first has."""
        with closing(Redis.from_url(self.first.url)) as first, closing(Redis.from_url(self.second.url)) as second:
            heard = second.info("replication")
            is_linked = heard["role"] == "slave" and heard.get("master_link_status") == "up"
            return bool(is_linked and heard["slave_repl_offset"] == first.info("replication")["master_repl_offset"])


@contextmanager
def guarded_redis(folder: Path, num_sentinels: int = 1) -> Iterator[Guarded]:
    """They live until the context ends."""
    with ExitStack() as ended:
        first = LocalRedis(folder / "first")
        start(first, ended)
        host, _, port = first.address.rpartition(":")
        second = LocalRedis(folder / "second", {"replicaof": f"{host} {port}", "repl-diskless-sync-delay": "0"})
        start(second, ended)
        sentinels = [
            LocalSentinel(folder / f"sentinel-{number}", first.address, num_sentinels // 2 + 1)
            for number in range(num_sentinels)
        ]
        for one in sentinels:
            start(one, ended)
        guarded = Guarded(first, second, sentinels)
        assert wait_until(guarded.is_followed, READY_S)
        assert wait_until(lambda: all(knows_all(one, num_sentinels) for one in sentinels), READY_S)
        yield guarded


def start(server: LocalServer, ended: ExitStack) -> None:
    """Ready when this returns, gone when ``ended`` is."""
    ended.callback(server.kill)
    server.start()
    server.wait_ready(READY_S)


def knows_all(sentinel: LocalSentinel, num_sentinels: int) -> bool:
    """Whether a sentinel knows the replica and the others, without whom it would make nobody primary."""
    with closing(Redis.from_url(f"redis://{sentinel.address}")) as client:
        told = cast("dict[str, int]", client.sentinel_master(NAME))
        return bool(told["num-slaves"] == 1 and told["num-other-sentinels"] == num_sentinels - 1)
