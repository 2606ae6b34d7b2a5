"""How fast counters grow, from looks at them every few seconds."""

from collections import deque
from collections.abc import Mapping

SPAN_S = 60.0


class Rates:
    """Remembers what counters were over the last ``span_s``; for one thread at a time."""

    def __init__(self, span_s: float = SPAN_S) -> None:
        self._span_s = span_s
        self._looks: deque[tuple[float, Mapping[str, int]]] = deque()

    def look(self, now_s: float, totals: Mapping[str, int]) -> None:
        """Note the counters; looks older than the span go, but for the last of them."""
        self._looks.append((now_s, dict(totals)))
        while len(self._looks) > 1 and self._looks[1][0] <= now_s - self._span_s:
            self._looks.popleft()

    def per_s(self, now_s: float, totals: Mapping[str, int]) -> dict[str, float]:
        """Growth a second since the oldest look; nothing before the first one.

        A counter that is new, or smaller than it was, began anew: it is counted from 0.
        """
        if not self._looks or now_s <= self._looks[0][0]:
            return {}
        since_s, before = self._looks[0]
        grown = {name: value - (old if (old := before.get(name, 0)) <= value else 0) for name, value in totals.items()}
        return {name: round(number / (now_s - since_s), 3) for name, number in grown.items()}
