"""Kafka and Redis together: what ``engram stack up``, ``down`` and ``status`` do."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.kafka import KafkaSettings, LocalKafka
from deploy.local.redis import LocalRedis
from deploy.local.requirements import find_java, find_redis_server
from deploy.local.server import LocalServer
from schemas.errors import EngramError

READY_TIMEOUT_S = 90.0


def default_folder() -> Path:
    """``$ENGRAM_HOME/stack``, where ENGRAM_HOME is ``.engram`` under the current directory unless set."""
    return Path(os.environ.get("ENGRAM_HOME") or ".engram").absolute() / "stack"


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server: its address (None before its first start), its process (None when it is down), its log."""

    name: str
    address: str | None
    pid: int | None
    is_ready: bool
    log_path: Path

    def __str__(self) -> str:
        state = "ready" if self.is_ready else "down" if self.pid is None else "not ready"
        return f"{self.name:<6} {state:<10} {self.address or '-':<22} pid {self.pid or '-'!s:<8} log {self.log_path}"


@dataclass(frozen=True, slots=True)
class StackStatus:
    """Both servers, their folder, and the file of settings that others read (there while the stack is up)."""

    folder: Path
    kafka: ServerStatus
    redis: ServerStatus
    env_path: Path

    @property
    def is_ready(self) -> bool:
        """Whether both serve."""
        return self.kafka.is_ready and self.redis.is_ready

    def __str__(self) -> str:
        lines = [str(self.kafka), str(self.redis), f"folder {self.folder}"]
        if self.is_ready:
            lines.append(f"for this shell: set -a; . {self.env_path}; set +a")
        return "\n".join(lines)


class Stack:
    """One Kafka and one Redis in ``folder``. Every object on the same folder sees the same servers."""

    def __init__(self, folder: Path | None = None, kafka: KafkaSettings | None = None) -> None:
        self.folder = (folder or default_folder()).absolute()
        self.kafka = LocalKafka(self.folder, settings=kafka)
        self.redis = LocalRedis(self.folder)

    @property
    def env_path(self) -> Path:
        """Where the addresses are written as settings, one ``NAME=value`` a line."""
        return self.folder / "stack.env"

    def environment(self) -> dict[str, str]:
        """The settings that point Engram at this stack."""
        return {
            "ENGRAM_KAFKA__BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "ENGRAM_STORE__URL": self.redis.url,
        }

    def up(self, timeout_s: float = READY_TIMEOUT_S) -> StackStatus:
        """Start what is not running and wait until both serve. The servers outlive the caller.

        Raises:
            FatalError: a program is missing, a port is taken, or a server died (with the end of its log).
            TransientError: Kafka could not be downloaded, or a server was not ready in time.
        """
        find_java()
        find_redis_server()
        with self._locked():
            self.redis.start()
            self.kafka.start()
            self.redis.wait_ready(timeout_s)
            self.kafka.wait_ready(timeout_s)
            self.env_path.write_text("".join(f"{name}={value}\n" for name, value in self.environment().items()))
        return self.status()

    def down(self) -> StackStatus:
        """End both servers in good order; their data stays."""
        if self.folder.is_dir():
            with self._locked():
                self.env_path.unlink(missing_ok=True)
                self.kafka.stop()
                self.redis.stop()
        return self.status()

    def wipe(self) -> StackStatus:
        """As ``down``, then delete the folder with all topics, keys and logs."""
        self.down()
        shutil.rmtree(self.folder, ignore_errors=True)
        return self.status()

    def status(self) -> StackStatus:
        """How things stand; changes nothing."""
        return StackStatus(self.folder, _status_of(self.kafka), _status_of(self.redis), self.env_path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One ``up`` or ``down`` at a time; the lock falls with the process that holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _status_of(server: LocalServer) -> ServerStatus:
    return ServerStatus(
        name=server.name,
        address=server.known_address,
        pid=server.pid,
        is_ready=server.is_ready(),
        log_path=server.log_path,
    )


def stack_settings(folder: Path | None = None) -> dict[str, str]:
    """The settings of the stack that is up in ``folder``; empty when none is.

    Raises:
        EngramError: the file is not as ``up`` wrote it.
    """
    path = (folder or default_folder()) / "stack.env"
    if not path.exists():
        return {}
    pairs = [line.partition("=") for line in path.read_text().splitlines() if line]
    if not all(equals for _, equals, _ in pairs):
        raise EngramError(f"{path} must hold NAME=value lines; run `engram stack up` to write it again")
    return {name: value for name, _, value in pairs}
