"""Which frames of a recording count, by when they were taken: alike for who sends them and for who learns from them.

What a network is to judge must move as what it has learned, also in a film whose rate varies: there the number of a
frame says nothing of its time. Plain numbers, no I/O.
"""

import math
from datetime import datetime, timedelta

LONGEST_STEP_S = 3600.0
"""A longer time between two frames is a damaged time stamp, no pause, however slow a rate is said to be."""
SHORTEST_STEP_S = 1e-6
"""A shorter one is lost in ``captured_at``, which counts microseconds: the stamp stands still."""
PAUSE_FRAMES = 3.0
"""Frame times between two frames above which there was a pause, see ``workers.continuity``."""
LEAST_PAUSE_S = 0.5
"""Whatever the rate: cameras on a radio link deliver in bursts."""


def longest_step(fps: float) -> timedelta:
    """The longest time between two frames that is no pause: a clip reaches over it."""
    return timedelta(seconds=min(max(PAUSE_FRAMES / fps, LEAST_PAUSE_S), LONGEST_STEP_S))


class FilmClock:
    """Seconds from the first frame on: as the container stamps them, as long as its stamps run forwards.

    A stamp that does not is replaced by one step of the frame rate, and what follows is counted from there.
    """

    def __init__(self, fps: float, is_rate_given: bool) -> None:
        """``is_rate_given``: somebody said the rate, so that stamps are not looked at."""
        self._step_s = 1 / fps
        self._is_rate_given = is_rate_given
        self._last_ms = math.nan
        self._has_begun = False
        self._now_s = 0.0
        self._index = 0
        self.previous_s = 0.0

    def next(self, pts_ms: float, was_damaged: bool) -> tuple[float, int]:
        """Time of the next frame, and how many before it were lost, which is known only where there was damage."""
        self.previous_s = self._now_s
        last_ms, self._last_ms = self._last_ms, pts_ms if math.isfinite(pts_ms) else self._last_ms
        if not self._has_begun:
            self._has_begun = True
            return self._now_s, 0
        step_s = (pts_ms - last_ms) / 1000
        runs = math.isfinite(step_s) and SHORTEST_STEP_S <= step_s <= LONGEST_STEP_S
        num_lost = max(0, round(step_s / self._step_s) - 1) if runs and was_damaged else 0
        if self._is_rate_given:
            self._index += 1 + num_lost
            self._now_s = self._index * self._step_s
        else:
            self._now_s += step_s if runs else self._step_s
        return self._now_s, num_lost


class Sampler:
    """Chooses frames so that their times come as close as they can to a steady rate.

    Frames keep their own times: nothing is moved or repeated. A time that runs backwards (a clock was set) or a pause
    starts the rhythm anew.
    """

    def __init__(self, fps: float | None) -> None:
        self._interval = timedelta(seconds=1 / fps) if fps else None
        self._due: datetime | None = None
        self._previous: datetime | None = None

    def takes(self, captured_at: datetime) -> bool:
        """Whether the frame captured at this time is to be sent. To be asked once for each frame, in order."""
        if self._interval is None:
            return True
        previous, self._previous = self._previous, captured_at
        if self._due is None or previous is None or captured_at < previous:
            self._due = captured_at + self._interval
            return True
        # A frame is taken if the next one would be farther from the due time than this one.
        tolerance = min(captured_at - previous, self._interval) / 2
        if captured_at < self._due - tolerance:
            return False
        late = captured_at - self._due > self._interval
        self._due = (captured_at if late else self._due) + self._interval
        return True
