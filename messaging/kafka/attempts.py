"""How often owners began with a record and died, counted in the metadata of committed offsets.

Before an owner hands over the first record at its committed offset, it commits the same offset again with one attempt
more. Progress sets the count back, and so does a hand-over that the owner lives to see. After a death the next owner is
*cautious*: it hands over one record at a time, each marked before, so that within a few deaths the record that kills
stands alone at the committed offset, and those that came in the same batch have passed.
"""

import sys

from messaging.kafka.marks import Mark

CAUTIOUS_RECORDS = 64
"""After a death, so many offsets go one by one."""
PATIENCE_S = 2.0
"""A user that has not committed for so long may need more records before it can: it gets the next one, unmarked."""

_EVERYTHING = sys.maxsize


class Trial:
    """One claim: which offsets may be handed over, and what must be committed before. Its marks tell of no checkpoint.

    Args:
        next_offset: committed for the partition.
        replay_from: committed with it.
        attempts: that earlier owners made at ``next_offset``.
        is_marked: whether our own mark stands there already (after a rewind); ``attempts`` does not count it.
    """

    def __init__(self, next_offset: int, replay_from: int, attempts: int, is_marked: bool = False) -> None:
        self._next_offset = next_offset
        self._replay_from = replay_from
        self._attempts = attempts
        self._marked_attempts = attempts + 1 if is_marked else 0
        self._cautious_until = next_offset + CAUTIOUS_RECORDS if attempts else next_offset
        self._suspect: int | None = None
        self._opened_at_s = 0.0
        self.open_below = next_offset
        """Offsets below may be handed over."""

    def waive(self) -> None:
        """Let everything go unmarked, for users whose progress waits for more records (a coordinator's rounds)."""
        self.open_below = _EVERYTHING

    @property
    def is_open(self) -> bool:
        """Whether everything may be handed over, whatever its offset."""
        return self.open_below == _EVERYTHING

    @property
    def standing_mark(self) -> Mark | None:
        """Our mark, if nothing was committed beyond it since."""
        if not self._marked_attempts:
            return None
        return Mark(self._next_offset, self._replay_from, self._marked_attempts)

    def wanted(self, offset: int) -> Mark | None:
        """What to commit before the record at ``offset``, the first that is held, may go; None if nothing."""
        if self._marked_attempts or offset < self.open_below:
            return None
        return Mark(self._next_offset, self._replay_from, self._attempts + 1)

    def may_open(self, offset: int, now_s: float) -> bool:
        """Whether the held record at ``offset`` is next, once marked."""
        is_first = self.open_below <= self._next_offset
        return offset >= self.open_below and (is_first or now_s - self._opened_at_s >= PATIENCE_S)

    def open(self, offset: int, mark: Mark | None, now_s: float) -> None:
        """Let the record at ``offset`` go, and all after it where nobody has died."""
        if mark is not None:
            self._marked_attempts = mark.attempts
        if self._suspect is None:
            self._suspect = offset
        self._opened_at_s = now_s
        self.open_below = offset + 1 if offset < self._cautious_until else _EVERYTHING

    def attempts_at(self, offset: int) -> int:
        """Earlier attempts at the record at ``offset``."""
        return self._attempts if offset == self._suspect else 0

    def progressed(self, next_offset: int, replay_from: int) -> None:
        """``next_offset`` is committed."""
        self._replay_from = replay_from
        if next_offset > self._next_offset:
            self._next_offset, self._attempts, self._marked_attempts = next_offset, 0, 0
            if self._suspect is not None and next_offset > self._suspect:
                self._suspect = _EVERYTHING
            if next_offset >= self._cautious_until:
                self.open_below = _EVERYTHING
