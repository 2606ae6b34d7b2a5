"""What the two local servers have in common: a process, a port that is remembered, readiness, faults."""

import json
import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from deploy.local.ports import free_port, is_free
from deploy.local.process import DetachedProcess
from deploy.local.wait import wait_until
from schemas.errors import FatalError, TransientError

PORT_RELEASE_S = 3.0


class LocalServer(ABC):
    """One server whose ports, data, log and process id live in one folder; any object on that folder finds it again."""

    name: str
    stop_timeout_s = 20.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._process = DetachedProcess(self.name, self.folder)

    @property
    def pid(self) -> int | None:
        """Process id while it lives, else None."""
        return self._process.pid

    @property
    def log_path(self) -> Path:
        """Where its output goes."""
        return self._process.log_path

    @property
    def address(self) -> str:
        """``host:port`` for clients; the same for the life of the folder."""
        return f"127.0.0.1:{self._port('client')}"

    @property
    def known_address(self) -> str | None:
        """As ``address``, but None before the first start has chosen a port."""
        return self.address if self._ports_path.exists() else None

    def start(self) -> None:
        """Start it unless it lives. Does not wait; see ``wait_ready``.

        Raises:
            FatalError: a program that it needs is missing, or its remembered port is in use.
        """
        if self.pid is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self._command()
        for port in self._remembered_ports().values():
            # A process that was just killed may hold its port for a moment longer than its entry in the process table.
            if not wait_until(partial(is_free, port), PORT_RELEASE_S):
                raise FatalError(
                    f"port {port} of {self.name} in {self.folder} is in use by another program; "
                    f"end that program, or delete the folder to have another port (its data goes with it)"
                )
        self._process.start(command)

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until it serves clients.

        Raises:
            FatalError: it died; the message has the end of its log.
            TransientError: it lives but was not ready by the deadline.
        """
        wait_until(lambda: self.pid is None or self.is_ready(), timeout_s)
        if self.pid is None:
            raise FatalError(
                f"{self.name} died while starting. The end of {self.log_path}:\n{self._process.log_tail()}"
            )
        if not self.is_ready():
            raise TransientError(
                f"{self.name} (pid {self.pid}) was not ready within {timeout_s:.0f} s. "
                f"The end of {self.log_path}:\n{self._process.log_tail()}"
            )

    def pause(self) -> None:
        """Stop it from running (SIGSTOP); its connections stay open and silent."""
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run on after ``pause``."""
        self._process.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Take it away without warning (SIGKILL)."""
        self._process.kill()

    def stop(self) -> None:
        """End it in good order (SIGTERM), by force if it takes too long."""
        self._process.stop(self.stop_timeout_s)

    def restart(self, timeout_s: float = 60.0) -> None:
        """Stop it if it lives, start it with the same ports and data, wait until it is ready."""
        self.stop()
        self.start()
        self.wait_ready(timeout_s)

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it serves clients now."""

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """Prepare data and settings; the command line."""

    def _port(self, purpose: str) -> int:
        """The port for ``purpose``: the remembered one, else a free one, which is remembered from now on."""
        ports = self._remembered_ports()
        if purpose not in ports:
            ports[purpose] = free_port(ports.values())
            self.folder.mkdir(parents=True, exist_ok=True)
            self._ports_path.write_text(json.dumps(ports))
        return ports[purpose]

    @property
    def _ports_path(self) -> Path:
        return self.folder / f"{self.name}.ports.json"

    def _remembered_ports(self) -> dict[str, int]:
        if not self._ports_path.exists():
            return {}
        ports: dict[str, int] = json.loads(self._ports_path.read_text())
        return ports
