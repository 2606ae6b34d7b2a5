"""How many frames are sent, and when: playing recordings at their own pace."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from producers.sources.frame import Source
from schemas.errors import SettingsError

Mode = Literal["live", "backfill"]
"""live: recordings play at their own pace, and a full buffer drops frames; backfill: as fast as it can be sent."""

_LONGEST_WAIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class PacingOptions:
    """How many frames are sent, and how fast.

    Attributes:
        fps: frames a second to send; None = every frame. A source slower than this sends all it has.
        mode: see ``Mode``.
        num_frames: the session ends after this many frames to send, dropped ones included; None = with its source.
    """

    fps: float | None = None
    mode: Mode = "live"
    num_frames: int | None = None

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise SettingsError(f"fps must lie in (0, 1000] or be left out, got {self.fps}")
        if self.num_frames is not None and self.num_frames < 1:
            raise SettingsError(f"num_frames must be at least 1 or be left out, got {self.num_frames}")


def session_fps(options: PacingOptions, source: Source) -> float:
    """Frames a second this session means to send.

    Raises:
        SettingsError: neither the options nor the source say.
    """
    rates = [rate for rate in (options.fps, source.fps) if rate is not None]
    if not rates:
        raise SettingsError(f"fps must be set for a source that does not say its own, {source.describe()} does not")
    return min(rates)


class Metronome:
    """Lets recorded frames pass at the pace of their own times."""

    def __init__(self, monotonic: Callable[[], float], stopping: threading.Event) -> None:
        """``stopping`` ends every wait."""
        self._monotonic = monotonic
        self._stopping = stopping
        self._origin: tuple[datetime, float] | None = None

    def wait_for(self, captured_at: datetime) -> None:
        """Wait until it is this frame's turn; the first frame's turn is now. A frame that is late passes at once."""
        now_s = self._monotonic()
        if self._origin is None:
            self._origin = (captured_at, now_s)
        first_at, first_s = self._origin
        wait_s = (captured_at - first_at).total_seconds() - (now_s - first_s)
        if wait_s > 0:
            self._stopping.wait(min(wait_s, _LONGEST_WAIT_S))
