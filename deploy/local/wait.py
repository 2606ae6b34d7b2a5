"""Waiting for a condition, with a deadline."""

import time
from collections.abc import Callable

_INTERVAL_S = 0.02


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Ask ``condition`` until it holds; False if ``timeout_s`` passed first. It is asked at least once."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_INTERVAL_S)
    return True
