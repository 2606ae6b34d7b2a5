"""One redis-server with an append-only file, on the loopback interface."""

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.local.ports import LOOPBACK
from deploy.local.requirements import find_redis_server
from deploy.local.server import LocalServer

_PING_TIMEOUT_S = 0.5


class LocalRedis(LocalServer):
    """A real Redis whose keys survive restarts of its folder; a SIGKILL loses at most the last second.

    Args:
        folder: see ``LocalServer``.
        more: further lines of ``redis.conf``; they win over the ones made here.
    """

    name = "redis"

    def __init__(self, folder: Path, more: Mapping[str, str] | None = None) -> None:
        super().__init__(folder)
        self._more = more or {}

    @property
    def url(self) -> str:
        """``redis://host:port/0``, as clients want it."""
        return f"redis://{self.address}/0"

    def is_ready(self) -> bool:
        """Whether it answers PING; not while it still loads its data."""
        return self.pid is not None and _answers_ping(self._port("client"))

    def _command(self) -> Sequence[str]:
        program = find_redis_server()
        data = self.folder / "redis-data"
        data.mkdir(parents=True, exist_ok=True)
        settings = {
            "bind": LOOPBACK,
            "port": self._port("client"),
            "dir": f'"{data}"',
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "daemonize": "no",
            "maxmemory-policy": "noeviction",
            **self._more,
        }
        conf = self.folder / "redis.conf"
        conf.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
        return [str(program), str(conf)]


def _answers_ping(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=_PING_TIMEOUT_S) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False
