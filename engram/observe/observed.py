"""What a part of Engram must tell to be seen."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from prometheus_client.metrics_core import Metric

STUCK_S = 120.0
"""A loop that has not come round for so long will not do so any more: longer than any wait it has by itself."""


class Observed(Protocol):
    """One running part: a producer, a worker, a coordinator. Asked from another thread, at any time.

    Attributes:
        name: its section in the status.
    """

    name: str

    def metrics(self) -> Iterable[Metric]:
        """All its families, now."""

    def status(self) -> Mapping[str, object]:
        """What a person wants to know, as values that JSON has."""

    def stuck(self) -> tuple[str, ...]:
        """Loops that do not turn any more; the process should be started again."""

    def unready(self) -> tuple[str, ...]:
        """What keeps it from doing its work now; waiting may heal it."""

    def totals(self) -> Mapping[str, int]:
        """Counters of which the status tells the rate, by a name that may be shown."""


class Starting:
    """A process whose parts are not made yet: it loads, or waits for somebody."""

    def __init__(self, name: str, waits_for: str) -> None:
        self.name = name
        self._waits_for = waits_for

    def metrics(self) -> Iterable[Metric]:
        """See ``Observed``."""
        return ()

    def status(self) -> Mapping[str, object]:
        """See ``Observed``."""
        return {"starting": self._waits_for}

    def stuck(self) -> tuple[str, ...]:
        """See ``Observed``. A broker that is away may be waited for without end."""
        return ()

    def unready(self) -> tuple[str, ...]:
        """See ``Observed``."""
        return (f"{self.name}: {self._waits_for}",)

    def totals(self) -> Mapping[str, int]:
        """See ``Observed``."""
        return {}


def stuck_for(what: str, turned_at_s: float, now_s: float, limit_s: float = STUCK_S) -> tuple[str, ...]:
    """``what``, with its time, if it has not come round for ``limit_s``."""
    quiet_s = now_s - turned_at_s
    return (f"{what} has not come round for {quiet_s:.0f} s",) if quiet_s > limit_s else ()
