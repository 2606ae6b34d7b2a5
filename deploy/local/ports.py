"""TCP ports on the loopback interface."""

import random
import socket
from collections.abc import Collection
from contextlib import closing

LOOPBACK = "127.0.0.1"

# Below the range from which systems take the ports of outgoing connections (32768 on Linux, 49152 on macOS): from
# within it, a client that keeps connecting while the server is down would in the end take the server's own port.
_LOWEST, _HIGHEST = 20_000, 32_000
_TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` now."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def accepts(port: int, timeout_s: float = 0.5) -> bool:
    """Whether somebody accepts connections on ``port``."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def free_port(taken: Collection[int] = ()) -> int:
    """A port that is free now and is not one of ``taken``.

    Raises:
        OSError: none was found.
    """
    for _ in range(_TRIES):
        port = random.randrange(_LOWEST, _HIGHEST)
        if port not in taken and is_free(port):
            return port
    raise OSError(f"no free port found between {_LOWEST} and {_HIGHEST} on {LOOPBACK} in {_TRIES} tries")
