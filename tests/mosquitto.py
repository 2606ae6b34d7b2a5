"""A real MQTT broker for tests; as ``deploy.local`` runs the other servers."""

import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from deploy.local.ports import LOOPBACK
from deploy.local.server import LocalServer
from schemas.errors import FatalError

CONNECT = bytes.fromhex("100c00044d5154540402000a0000")
"""MQTT 3.1.1, clean session, no client id."""


class LocalMosquitto(LocalServer):
    """One mosquitto on the loopback interface. What it retains is lost when it ends."""

    name = "mosquitto"

    @property
    def port(self) -> int:
        """For clients; the same for the life of the folder."""
        return self._port("client")

    def is_ready(self) -> bool:
        """Whether it lets a client in."""
        if self.pid is None:
            return False
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=0.5) as connection:
                connection.sendall(CONNECT)
                return connection.recv(4) == b"\x20\x02\x00\x00"
        except OSError:
            return False

    def _command(self) -> Sequence[str]:
        conf = self.folder / "mosquitto.conf"
        conf.write_text(f"listener {self.port} {LOOPBACK}\nallow_anonymous true\npersistence false\n")
        return [str(find_mosquitto()), "-c", str(conf)]


def find_mosquitto() -> Path:
    """The ``mosquitto`` on ``PATH`` or where Debian puts servers.

    Raises:
        FatalError: there is none.
    """
    found = shutil.which(
        "mosquitto", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    )
    if found is None:
        raise FatalError("an MQTT broker is needed, mosquitto was not found; install it: apt-get install -y mosquitto")
    return Path(found)
