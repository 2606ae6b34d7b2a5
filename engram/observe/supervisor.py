"""What the system's supervisor is told, where there is one: that the process began, that it lives, what it waits for.

The words are systemd's (sd_notify): ``NOTIFY_SOCKET`` names a socket of datagrams, ``WATCHDOG_USEC`` how long it may be
silent. Ready means begun, not connected: an edge box without a network is not to be started again and again for it; the
status says what it waits for. Silence means that a loop turns no more, as ``/healthz`` has it.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

log = logging.getLogger(__name__)

TELL_S = 5.0
"""So often at least the status is told anew."""
_CLOSE_S = 2.0

Troubles = Callable[[], tuple[str, ...]]


@contextmanager
def supervised(stuck: Troubles, unready: Troubles, environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Tell the supervisor that ``environment`` names how the process fares, from now until the end; none: nobody.

    Args:
        stuck: loops that do not turn any more; asked from a thread of its own, as is ``unready``.
        unready: what keeps the process from its work.
        environment: of the process.
    """
    address = environment.get("NOTIFY_SOCKET")
    if not address:
        yield
        return
    ended = threading.Event()
    every_s = _every_s(environment)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
        way.settimeout(_CLOSE_S)

        def tell(*words: str) -> None:
            try:
                way.sendto("\n".join(words).encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
            except OSError as error:
                log.debug("the supervisor at '%s' took no message: %s", address, error)

        def keep_telling() -> None:
            while not ended.wait(every_s):
                tell(*_fares(stuck(), unready()))

        tell("READY=1", *_fares(stuck(), unready()))
        teller = threading.Thread(target=keep_telling, name="supervisor", daemon=True)
        teller.start()
        try:
            yield
        finally:
            ended.set()
            teller.join(_CLOSE_S)
            tell("STOPPING=1")


def _every_s(environment: Mapping[str, str]) -> float:
    """A third of what the watchdog allows, if it is for this process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return TELL_S
    try:
        allowed_s = int(environment.get("WATCHDOG_USEC", "0")) / 1e6
    except ValueError:
        allowed_s = 0.0
    return min(TELL_S, allowed_s / 3) if allowed_s > 0 else TELL_S


def _fares(stuck: tuple[str, ...], unready: tuple[str, ...]) -> tuple[str, ...]:
    status = f"STATUS={'; '.join((*stuck, *unready)) or 'at work'}".replace("\n", " ")
    return (status,) if stuck else (status, "WATCHDOG=1")
