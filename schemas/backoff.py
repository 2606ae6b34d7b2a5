"""How long to wait before the next try: doubled up to a limit, with chance in it, short again after a success.

The chance keeps a fleet that lost its broker at one moment from coming back at one moment.
"""

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Waits of one thing that is tried again and again.

    Attributes:
        first_s: longest first wait.
        limit_s: longest wait of all.
        spread: share of a wait that is left to chance, 0 = none, 1 = all of it.
    """

    first_s: float
    limit_s: float
    spread: float = 0.5
    _next_s: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.first_s <= self.limit_s or not 0 <= self.spread <= 1:
            raise ValueError(f"a back-off needs 0 < first_s <= limit_s and 0 <= spread <= 1, got {self}")
        self._next_s = self.first_s

    def next_s(self) -> float:
        """The wait before the next try, in seconds; each call is one more try that failed."""
        wait_s, self._next_s = self._next_s, min(2 * self._next_s, self.limit_s)
        return wait_s * (1 - self.spread * random.random())

    def reset(self) -> None:
        """Begin anew, after a try that went well."""
        self._next_s = self.first_s
