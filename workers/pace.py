"""How fast a worker is and how late its scores come.

Written by the worker's thread alone and read by any, without a lock: who reads may miss the newest value, no more.
"""

import logging
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from workers.output import Output

_log = logging.getLogger(__name__)

BATCH_FRAMES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
NETWORK_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
CAPTURE_TO_SCORE_S = (0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
TOLD_EVERY_S = 60.0
SOMEWHAT = 0.25


class Histogram:
    """Values counted by bins: at most the first bound, at most the second, …, above the last."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.total = 0.0
        self._counts = [0] * (len(bounds) + 1)

    @property
    def counts(self) -> Sequence[int]:
        """Values in each bin, as they are now."""
        return tuple(self._counts)

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def quantile(self, share: float) -> float | None:
        """Upper end of the bin in which ``share`` of all values is reached; infinite beyond the last, None of none."""
        counts = self.counts
        wanted, reached = share * sum(counts), 0
        for bound, count in zip((*self.bounds, float("inf")), counts, strict=True):
            reached += count
            if reached and reached >= wanted:
                return bound
        return None


@dataclass(slots=True)
class Pace:
    """What was measured of one worker since it began.

    Attributes:
        began_at_s: on the worker's monotonic clock, as all that ends so.
        turned_at_s: when its loop came round last.
        caught_up_at_s: when it last had all that the log had, as far as was known.
        committed_at_s: when records were made durable last.
        oldest_at: when the log took the oldest of them; None before the first.
        num_learning: frames scored of cameras that were not known well enough to be judged.
        batch_frames: clips that went through the network at once.
        network_s: what that took.
        capture_to_score_s: from a frame's capture until its score was durable. A clock of a camera that is ahead of
            ours counts as no time.
    """

    began_at_s: float
    turned_at_s: float
    caught_up_at_s: float = float("-inf")
    committed_at_s: float = float("-inf")
    oldest_at: datetime | None = None
    num_learning: int = 0
    batch_frames: Histogram = field(default_factory=lambda: Histogram(BATCH_FRAMES))
    network_s: Histogram = field(default_factory=lambda: Histogram(NETWORK_S))
    capture_to_score_s: Histogram = field(default_factory=lambda: Histogram(CAPTURE_TO_SCORE_S))

    def computed(self, num_clips: int, took_s: float) -> None:
        """One batch went through the network."""
        self.batch_frames.add(num_clips)
        self.network_s.add(took_s)

    def committed(self, output: Output, now: datetime, now_s: float) -> None:
        """Scores became durable.

        Args:
            output: what was; one that is about nothing but silence tells no age.
            now: wall clock.
            now_s: monotonic clock.
        """
        for at in output.captured:
            self.capture_to_score_s.add(max(0.0, (now - at).total_seconds()))
        self.num_learning += output.num_learning
        if output.oldest_at is not None:
            self.oldest_at, self.committed_at_s = output.oldest_at, now_s

    def behind_s(self, lag: int, now: datetime, now_s: float) -> float:
        """How late scores are against the log: 0 while nothing waits, else the age of what was made durable last.

        If the worker has had all that there was since then, or has made nothing durable yet, what waits has come later:
        then it is the time from that moment on.

        Args:
            lag: records that wait.
            now: wall clock.
            now_s: monotonic clock.
        """
        if lag == 0:
            return 0.0
        if self.oldest_at is None or self.caught_up_at_s > self.committed_at_s:
            return now_s - max(self.began_at_s, self.caught_up_at_s)
        return max(0.0, (now - self.oldest_at).total_seconds())


class LateWarning:
    """Says that scores come too late, once a minute while they do, and when they do no more.

    A worker that is a little too slow becomes late slowly, so it is told as well when scores that are somewhat late
    (``SOMEWHAT`` of the limit) have become later within half the limit: long before they are too late, and not while a
    worker catches up.

    Args:
        limit_s: how late is too late; None = never.
    """

    def __init__(self, limit_s: float | None) -> None:
        self._limit_s = limit_s
        self._told_at_s: float | None = None
        self._mark: tuple[float, float] | None = None

    def look(self, behind_s: float, lag: int, now_s: float) -> None:
        """Hold what is against the limit.

        Args:
            behind_s: how late scores are.
            lag: records that wait.
            now_s: monotonic clock.
        """
        if self._limit_s is None:
            return
        if self._is_growing(behind_s, now_s, self._limit_s) or behind_s > self._limit_s:
            if self._told_at_s is None or now_s - self._told_at_s >= TOLD_EVERY_S:
                self._told_at_s = now_s
                text = "scores are %.0f s late, %d records wait: this worker is slower than its cameras; add workers,"
                _log.warning(f"{text} lower the frame rate, or set worker.max_staleness_s", behind_s, lag)
        elif self._told_at_s is not None and behind_s <= self._limit_s / 2:
            self._told_at_s = None
            _log.info("scores are no longer late: %.1f s, %d records wait", behind_s, lag)

    def _is_growing(self, behind_s: float, now_s: float, limit_s: float) -> bool:
        """Whether scores are later than half the limit ago; it is looked at that often."""
        if behind_s <= SOMEWHAT * limit_s:
            self._mark = None
            return False
        if self._mark is not None and now_s - self._mark[0] < limit_s / 2:
            return False
        before, self._mark = self._mark, (now_s, behind_s)
        return before is not None and behind_s > before[1]
