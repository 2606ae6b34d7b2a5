"""How a source is opened and how patient it is. Defaults fit a fixed camera on a local network."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from producers.sources.frame import SourceStatus
from schemas.errors import SettingsError
from schemas.messages import EARLIEST, LATEST, utc_now

CameraClock = Literal["auto", "camera", "arrival"]
"""auto: the camera's wall clock if it tells one and that is right, else its time stamps, else arrival; camera: its time
stamps only; arrival: when frames come in."""


def _ignore(_status: SourceStatus) -> None:
    return None


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """Patience with a camera.

    Attributes:
        open_timeout_s: longest wait for a connection.
        dead_after_s: without a frame for this long the connection is given up and made anew.
        stale_after_s: without a frame for this long the camera is reported stale.
        backoff_first_s: wait before the second try; doubles with each further try, plus jitter.
        backoff_max_s: longest wait between tries.
        backoff_jitter_s: up to this much is added at random, so that cameras do not return all at once.
        hung_after_s: a call that has not returned by then, with every time-out long over, hangs for ever.
        max_held_frames: newest frames kept for a slow reader; older ones are overwritten and counted.
        clock: what the host's clock is worth: ``ntp`` if it is synchronised, else ``arrival``.
    """

    open_timeout_s: float = 10.0
    dead_after_s: float = 10.0
    stale_after_s: float = 3.0
    hung_after_s: float = 60.0
    backoff_first_s: float = 1.0
    backoff_max_s: float = 30.0
    backoff_jitter_s: float = 1.0
    max_held_frames: int = 2
    clock: Literal["ntp", "arrival"] = "arrival"

    def __post_init__(self) -> None:
        waits = (self.open_timeout_s, self.dead_after_s, self.stale_after_s, self.backoff_first_s, self.backoff_max_s)
        if min(waits) <= 0 or self.backoff_jitter_s < 0 or self.max_held_frames < 1:
            raise SettingsError(f"times and max_held_frames of a live source must be positive, got {self}")


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What ``open_source`` needs besides the address.

    Attributes:
        start: capture time of a file's first frame; None = the moment it is opened.
        fps: overrides a file's rate; the rate of a folder of images and of a camera that does not tell.
        live: patience with cameras; files ignore it.
        clock: which clock of a camera is believed, see ``sources.stamps``; files have none.
        on_status: called once per change of state, from any thread; must return at once.
        now: the wall clock, UTC.
    """

    start: datetime | None = None
    fps: float | None = None
    live: LiveOptions = LiveOptions()
    clock: CameraClock = "auto"
    on_status: Callable[[SourceStatus], None] = _ignore
    now: Callable[[], datetime] = utc_now

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise SettingsError(f"fps of a source must lie in (0, 1000], got {self.fps}")
        if self.start is not None and self.start.tzinfo is None:
            raise SettingsError(f"start must have a time zone, got {self.start}; write e.g. 2026-01-31T08:00:00Z")
        if self.start is not None and not EARLIEST <= self.start < LATEST:
            raise SettingsError(f"start must lie from {EARLIEST:%Y} to {LATEST:%Y}, got {self.start}")
