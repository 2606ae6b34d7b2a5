"""Waiting for a broker that is away, instead of giving up at the start."""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_when_event_set, wait_random_exponential
from tenacity.nap import sleep_using_event

from schemas.errors import TransientError

T = TypeVar("T")

log = logging.getLogger(__name__)


def connected(make: Callable[[], T], stop: threading.Event) -> T | None:
    """What ``make`` gives, tried until the world is right; None if ``stop`` was set before.

    Raises:
        FatalError: trying again makes no sense.
    """
    attempts = Retrying(
        retry=retry_if_exception_type(TransientError),
        wait=wait_random_exponential(multiplier=0.5, max=10.0),
        stop=stop_when_event_set(stop),
        sleep=sleep_using_event(stop),
        before_sleep=_tell,
        retry_error_callback=lambda _: None,
    )
    return attempts(make)


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    log.warning("trying again in %.1f s: %s", state.upcoming_sleep, error)
