"""From time stamps that may lie to times that run forwards, of cameras; those of films: ``inference.sampling``."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from inference.sampling import LONGEST_STEP_S
from producers.sources.options import CameraClock
from schemas.messages import Clock

TRUSTED_S = 10.0
"""A camera whose wall clock is farther from ours than this has one that nobody has set."""
LONGEST_LAG_S = 30.0
"""A frame that came so much later than its stamp says was not held up on its way: the stamps do not keep time."""
DRIFT = 500e-6
"""So much, in seconds a second, the clocks of camera and host may drift apart."""
LARGEST_STAMP_S = 1e9
"""Thirty years; more is no stamp."""
CLOCK_WAS_SET_S = 2.0
"""A time that runs back by more is a clock that was set; by less, frames that overtook each other."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """When a frame was captured, UTC, and by which clock."""

    captured_at: datetime
    clock: Clock


class StreamClock:
    """Capture times of the frames of one camera: by its own wall clock, its time stamps, or on arrival.

    Time stamps count from anywhere. What they are in UTC shows the frame that was fastest on its way: no frame arrives
    before it was captured. So what the network holds up for a while still gets its true place in time.

    Attributes:
        complaint: in words, why the camera's wall clock or stamps are not believed, once there is something to say.
    """

    def __init__(self, believed: CameraClock, host: Literal["ntp", "arrival"]) -> None:
        """``believed``: see ``SourceOptions.clock``; ``host``: what times on arrival are called."""
        self._believed = believed
        self._host = host
        self._anchor: datetime | None = None
        self._last_stamp_s = math.nan
        self._last_at: datetime | None = None
        self._stamps_keep_time = True
        self.complaint: str | None = None

    def next(self, arrived_at: datetime, stamp_s: float | None, wall_at: datetime | None) -> Stamped:
        """The time of the next frame.

        Args:
            arrived_at: UTC, by the host's clock.
            stamp_s: of the stream, from anywhere; None = it has none.
            wall_at: UTC by the camera's clock; None = it does not tell.
        """
        return self._forwards(self._best(arrived_at, stamp_s, wall_at))

    def reconnect(self) -> None:
        """The stamps of another connection count from elsewhere."""
        self._anchor, self._last_stamp_s = None, math.nan

    def _best(self, arrived_at: datetime, stamp_s: float | None, wall_at: datetime | None) -> Stamped:
        if self._believed == "auto" and wall_at is not None:
            off_s = (wall_at - arrived_at).total_seconds()
            if abs(off_s) <= TRUSTED_S:
                return Stamped(wall_at, "ntp")
            self._complain(f"its clock is {off_s:+.0f} s off, and is not believed; set it by NTP")
        is_stamped = stamp_s is not None and abs(stamp_s) < LARGEST_STAMP_S
        if self._believed == "arrival" or not is_stamped or not self._stamps_keep_time:
            return Stamped(arrived_at, self._host)
        assert stamp_s is not None
        return self._by_stamp(arrived_at, stamp_s)

    def _by_stamp(self, arrived_at: datetime, stamp_s: float) -> Stamped:
        step_s, self._last_stamp_s = stamp_s - self._last_stamp_s, stamp_s
        zero = arrived_at - timedelta(seconds=stamp_s)
        if self._anchor is None or not 0 <= step_s <= LONGEST_STEP_S:
            self._anchor = zero  # the first one, or the stamps jumped
        drifted = self._anchor + timedelta(seconds=DRIFT * step_s) if step_s > 0 else self._anchor
        self._anchor = min(zero, drifted)
        if (zero - self._anchor).total_seconds() > LONGEST_LAG_S:
            self._stamps_keep_time = False
            self._complain(
                f"its time stamps fall back by {LONGEST_LAG_S:.0f} s; frames are stamped on arrival from here on"
            )
            return Stamped(arrived_at, self._host)
        return Stamped(self._anchor + timedelta(seconds=stamp_s), "camera")

    def _forwards(self, found: Stamped) -> Stamped:
        """Never the same time twice, and back only where a clock was set."""
        last, at = self._last_at, found.captured_at
        if last is not None and at <= last and (last - at).total_seconds() <= CLOCK_WAS_SET_S:
            at = last + timedelta(microseconds=1)
        self._last_at = at
        return Stamped(at, found.clock)

    def _complain(self, text: str) -> None:
        if self.complaint is None:
            self.complaint = text
