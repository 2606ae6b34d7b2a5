"""A process that follows a topic, as it is seen: what it read, what became of that, what is tried in vain, what waits.

One shape for all of them: notifiers (a follower for each target), archives, makers of clips, printers, the console.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from prometheus_client.metrics_core import Metric

from consumers.group import GroupReader
from consumers.sieve import ReadCounts
from engram.observe.families import Family
from engram.observe.observed import STUCK_S, stuck_for
from schemas.errors import TransientError
from schemas.messages import AnomalyEvent

T = TypeVar("T")

GROUP = ("group",)
RECEIVED = Family("counter", "engram_consumer_records_received_total", "records read", GROUP)
SKIPPED = Family("counter", "engram_consumer_records_skipped_total", "records left out, by reason", ("group", "reason"))
MESSAGES = Family(
    "counter", "engram_consumer_messages_total", "what became of the others, by outcome", ("group", "outcome")
)
FAILED = Family("counter", "engram_consumer_tries_failed_total", "tries that came to nothing and are repeated", GROUP)
WAITING = Family(
    "gauge", "engram_consumer_waiting_seconds", "since what is tried now failed first; 0 = nothing is repeated", GROUP
)
OPEN = Family("gauge", "engram_consumer_messages_open", "messages in hand", GROUP)
LAG = Family("gauge", "engram_consumer_lag_records", "records that wait in the group's partitions held here", GROUP)
PARTITIONS = Family("gauge", "engram_consumer_partitions", "partitions held; absent where there is no group", GROUP)
FAMILIES = (RECEIVED, SKIPPED, MESSAGES, FAILED, WAITING, OPEN, LAG, PARTITIONS)
SKIPS = ("repeated", "filtered", "foreign", "invalid_message", "future_version")
"""Shown with 0 before they happen: a series that begins at 1 has not grown, as Prometheus sees it."""


@dataclass(frozen=True, slots=True)
class Follower:
    """One loop that follows a topic, at one moment.

    Attributes:
        group: of consumers, or what stands for one.
        received: records read.
        skipped: those left out, by reason.
        outcomes: what became of the messages, by outcome; each that can be, also before it was.
        failed: tries that came to nothing and were repeated.
        waiting_s: since what is tried now failed first; 0 = nothing is repeated.
        num_open: messages in hand.
        lag: records that wait.
        num_partitions: held; None = it is in no group.
        turned_at_s: when its loop came round, or will have waited, on the monotonic clock.
        stuck_s: a loop that has not come round for so long will not do so any more.
        trouble: what keeps it from its work, in words; None = nothing.
    """

    group: str
    received: int
    skipped: Mapping[str, int]
    outcomes: Mapping[str, int]
    turned_at_s: float
    lag: int = 0
    num_partitions: int | None = None
    failed: int = 0
    waiting_s: float = 0.0
    num_open: int = 0
    stuck_s: float = STUCK_S
    trouble: str | None = None


def skips(counts: ReadCounts) -> dict[str, int]:
    """Records left out, by reason; may be called while another thread counts."""
    return {"repeated": counts.repeated, "filtered": counts.filtered, **dict(list(counts.bad.items()))}


def member(group: str, reader: GroupReader[AnomalyEvent], outcomes: Mapping[str, int], turned_at_s: float) -> Follower:
    """What is common to all members of groups."""
    counts = reader.counts
    return Follower(
        group,
        counts.received,
        skips(counts),
        outcomes,
        turned_at_s,
        reader.lag(),
        reader.num_partitions,
        num_open=reader.num_open,
    )


class SeenConsumer:
    """See ``observed.Observed``.

    Args:
        name: of the process.
        look: its loops as they are now; called from another thread.
        monotonic: their monotonic clock.
    """

    def __init__(
        self, name: str, look: Callable[[], Sequence[Follower]], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self._look = look
        self._monotonic = monotonic

    def metrics(self) -> Iterator[Metric]:
        """See ``Observed``."""
        seen = {one.group: one for one in self._look()}
        yield RECEIVED.each({group: one.received for group, one in seen.items()})
        yield SKIPPED.each(
            {
                (group, reason): number
                for group, one in seen.items()
                for reason, number in (dict.fromkeys(SKIPS, 0) | dict(one.skipped)).items()
            }
        )
        yield MESSAGES.each(
            {(group, outcome): number for group, one in seen.items() for outcome, number in one.outcomes.items()}
        )
        yield FAILED.each({group: one.failed for group, one in seen.items()})
        yield WAITING.each({group: one.waiting_s for group, one in seen.items()})
        yield OPEN.each({group: one.num_open for group, one in seen.items()})
        yield LAG.each({group: one.lag for group, one in seen.items()})
        yield PARTITIONS.each(
            {group: one.num_partitions for group, one in seen.items() if one.num_partitions is not None}
        )

    def status(self) -> Mapping[str, object]:
        """See ``Observed``."""
        return {"groups": {one.group: _told(one) for one in self._look()}}

    def stuck(self) -> tuple[str, ...]:
        """See ``Observed``."""
        now_s = self._monotonic()
        return tuple(
            text for one in self._look() for text in stuck_for(f"{one.group}", one.turned_at_s, now_s, one.stuck_s)
        )

    def unready(self) -> tuple[str, ...]:
        """See ``Observed``. Who is to be told and takes nothing keeps it from nothing else, so that does not count."""
        seen = self._look()
        alone = "no partition is assigned: the group is forming, or has more members than partitions"
        return (
            *(f"{one.group}: {one.trouble}" for one in seen if one.trouble is not None),
            *(f"{one.group}: {alone}" for one in seen if one.num_partitions == 0),
        )

    def totals(self) -> Mapping[str, int]:
        """See ``Observed``."""
        return {f"{one.group}.received": one.received for one in self._look()}


@dataclass(slots=True)
class Tries:
    """Counts the tries of a loop whose step raises what is to be tried again; written by its thread alone.

    Attributes:
        turned_at_s: when it began last.
        done: messages that were dealt with, where the loop counts them.
        failed: tries that raised.
        trouble: what the last one raised; None = it did not.
        since_s: when the first of those in a row failed.
    """

    clock: Callable[[], float] = time.monotonic
    turned_at_s: float = field(default_factory=time.monotonic)
    done: int = 0
    failed: int = 0
    trouble: str | None = None
    since_s: float | None = None

    def of(self, step: Callable[[float], T]) -> Callable[[float], T]:
        """``step``, counted."""

        def counted(timeout_s: float) -> T:
            self.turned_at_s = self.clock()
            try:
                found = step(timeout_s)
            except TransientError as error:
                self.failed += 1
                self.trouble = str(error)
                self.since_s = self.clock() if self.since_s is None else self.since_s
                raise
            self.trouble = self.since_s = None
            return found

        return counted

    def waiting_s(self) -> float:
        """See ``Follower.waiting_s``."""
        since_s = self.since_s
        return 0.0 if since_s is None else self.clock() - since_s


def _told(one: Follower) -> dict[str, object]:
    told: dict[str, object] = {
        "received": one.received,
        "skipped": {reason: number for reason, number in one.skipped.items() if number},
        "messages": dict(one.outcomes),
        "tries_failed": one.failed,
        "waiting_s": round(one.waiting_s, 1),
        "open": one.num_open,
        "lag_records": one.lag,
    }
    return told if one.num_partitions is None else told | {"partitions": one.num_partitions}
