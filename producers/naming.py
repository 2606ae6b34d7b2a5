"""Names for cameras that nobody has named: the same after each restart, and never the same on two machines."""

import hashlib
import re
import socket
import uuid
from pathlib import Path

_MACHINE_ID = Path("/etc/machine-id")
_MULTICAST = 1 << 40
"""Set in what ``uuid.getnode`` made up for want of a network card: new at each start, so of no use."""


def machine_name() -> str:
    """Host name and, since many boxes are called alike, six hex digits of what tells this one from others."""
    host = re.sub(r"[^A-Za-z0-9.-]+", "-", socket.gethostname()).strip("-.")[:40].rstrip("-.") or "host"
    mark = _machine_mark()
    return f"{host}-{hashlib.sha256(mark.encode()).hexdigest()[:6]}" if mark else host


def _machine_mark() -> str:
    try:
        mark = _MACHINE_ID.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        mark = ""
    card = uuid.getnode()
    return mark or ("" if card & _MULTICAST else f"{card:012x}")


def default_camera_names(num_sources: int) -> tuple[str, ...]:
    """``<machine>-1``, ``<machine>-2`` and so on."""
    machine = machine_name()
    return tuple(f"{machine}-{number}" for number in range(1, num_sources + 1))
