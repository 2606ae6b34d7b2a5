"""What every source of images gives: captured frames, its state, and a name that is safe to log."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.messages import Clock

Image = NDArray[np.uint8]
"""One decoded image, uint8 (H, W, 3) BGR."""

Size = tuple[int, int]
"""(width, height) in pixels."""

Maker = Callable[[Size | None], Image]
"""Makes an image in its own size; told at which it is wanted, it may have halved the sides as ``shrunk`` would."""

State = Literal["online", "stale", "offline"]
"""online: frames come; stale: connected, but no frame for a while; offline: not connected, or at its end."""


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """One image with the time it was taken.

    Attributes:
        picture: the image, or what makes it.
        captured_at: UTC.
        clock: where ``captured_at`` comes from.
        missed: capture times of the frames right before this one that could not be decoded.
        offset_s: where in its recording it is, as a player shows it, in seconds; None = it is no recording.
    """

    picture: Image | Maker
    captured_at: datetime
    clock: Clock
    missed: tuple[datetime, ...] = ()
    offset_s: float | None = None

    @property
    def image(self) -> Image:
        """uint8 (H, W, 3) BGR; made on each call, where it is made, so that a frame that nobody looks at costs nothing.

        Raises:
            BadMessageError: it cannot be made.
        """
        return self.picture(None) if callable(self.picture) else self.picture

    def image_for(self, wanted: Size) -> Image:
        """As ``image``, for who makes it as small as ``wanted``: one that is made costs half if it is made smaller."""
        return self.picture(wanted) if callable(self.picture) else self.picture


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How a source fares. ``reason`` is for people and never holds credentials."""

    state: State
    reason: str


class Source(Protocol):
    """Images in order of time. Iterate once; iteration ends at the end of the material or after ``close``."""

    @property
    def fps(self) -> float | None:
        """Native frames a second; None if unknown."""

    @property
    def is_live(self) -> bool:
        """Whether frames come when they come, so that a slow reader misses some."""

    @property
    def status(self) -> SourceStatus:
        """State as last known."""

    @property
    def num_overrun(self) -> int:
        """Frames that were captured but overwritten by newer ones, because the reader was slower."""

    @property
    def num_unreadable(self) -> int:
        """Frames that are in the material, or came in, and could not be decoded."""

    def __iter__(self) -> Iterator[CapturedFrame]:
        """The frames.

        Raises:
            FatalError: the material cannot be read and trying again makes no sense.
        """

    def describe(self) -> str:
        """Name for logs, credentials masked."""

    def close(self) -> None:
        """End the iteration soon, from any thread. May be called twice."""


def as_bgr(array: Any) -> Image:
    """What OpenCV decoded, typed as an image."""
    return np.asarray(array, dtype=np.uint8)
