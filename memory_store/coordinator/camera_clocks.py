"""How far each camera has come, by what was read of it. Pure: a camera's time is the capture time of its frames.

Two readings of it: how far its proposals go, and how far it has certainly come, with all that it published until then
read, events too. What is read at once comes from several partitions, so that the second is behind the first by a look
into the log.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

MAX_CAMERAS = 10_000
"""Names can be made up; those not heard of for longest are forgotten, and then not waited for."""


@dataclass(frozen=True, slots=True)
class Dated:
    """When something was captured, as rounds count it, seconds since 1970."""

    at_s: float
    was_set_back: bool


@dataclass(slots=True)
class _Clock:
    newest_s: float = -math.inf
    passed_s: float = -math.inf
    heard_at: float = -math.inf


@dataclass(frozen=True, slots=True)
class _Word:
    """What a camera let hear of itself; ``sets`` its time, or only says that it is not earlier."""

    camera_id: str
    at_s: float
    sets: bool = False


class CameraClocks:
    """The cameras and the banks that they teach.

    Args:
        slack_s: a camera that falls back by no more is only out of order.
    """

    def __init__(self, slack_s: float) -> None:
        self._slack_s = slack_s
        self._clocks: dict[str, _Clock] = {}
        self._banks: dict[str, set[str]] = {}
        self._read: list[_Word] = []
        self._reading: list[_Word] = []

    def date(self, camera_id: str, captured_s: float, now: float) -> Dated:
        """The time of a camera's next proposal: never before that of the one before, unless its clock was set back."""
        clock = self._clock(camera_id, now)
        was_set_back = captured_s < clock.newest_s - self._slack_s
        clock.newest_s = captured_s if was_set_back else max(clock.newest_s, captured_s)
        self._reading.append(_Word(camera_id, clock.newest_s, was_set_back))
        return Dated(clock.newest_s, was_set_back)

    def heard(self, camera_id: str, captured_s: float, now: float) -> None:
        """Something else that a camera has published."""
        self._clock(camera_id, now)
        self._reading.append(_Word(camera_id, captured_s))

    def begin_reading(self) -> None:
        """What comes from here on is read later than what came before."""
        self._read += self._reading
        self._reading = []

    def all_is_read(self) -> None:
        """All has been read that was published before what was read until ``begin_reading``."""
        for word in self._read:
            clock = self._clocks.get(word.camera_id)
            if clock is not None:
                clock.passed_s = word.at_s if word.sets else max(clock.passed_s, word.at_s)
        self._read = []

    def join(self, bank_id: str, camera_id: str) -> None:
        """A camera teaches a bank."""
        self._banks.setdefault(bank_id, set()).add(camera_id)

    def resume(self, bank_id: str, camera_id: str, at_s: float, now: float) -> None:
        """A camera taught a bank before we came, and had come so far then."""
        self.join(bank_id, camera_id)
        if camera_id not in self._clocks:
            clock = self._clock(camera_id, now)
            clock.newest_s = clock.passed_s = at_s

    def is_past(self, camera_id: str, at_s: float, is_read: bool) -> bool:
        """Whether a camera has come so far; ``is_read``: with all that it published until then."""
        clock = self._clocks.get(camera_id)
        return clock is not None and (clock.passed_s if is_read else clock.newest_s) >= at_s

    def all_past(self, bank_id: str, at_s: float, settled_s: float, since: float, is_read: bool) -> bool:
        """Whether all cameras of a bank that were heard of ``since`` then have come so far; False if none was.

        Whoever is behind what is settled already is late whatever we do, and is not waited for.
        """
        awaited = [one for one in self._alive(bank_id, since) if self._clocks[one].newest_s >= settled_s]
        return bool(awaited) and all(self.is_past(camera_id, at_s, is_read) for camera_id in awaited)

    def farthest(self, bank_id: str, since: float) -> float:
        """Time of the camera of a bank that is ahead of all others heard of ``since`` then."""
        return max((self._clocks[camera_id].newest_s for camera_id in self._alive(bank_id, since)), default=-math.inf)

    def _alive(self, bank_id: str, since: float) -> Iterable[str]:
        """Those heard of ``since`` then; the others are left out for good."""
        known = self._banks.get(bank_id, set())
        alive = {camera_id for camera_id in known if self._heard_at(camera_id) >= since}
        self._banks[bank_id] = alive
        return alive

    def _heard_at(self, camera_id: str) -> float:
        clock = self._clocks.get(camera_id)
        return -math.inf if clock is None else clock.heard_at

    def _clock(self, camera_id: str, now: float) -> _Clock:
        clock = self._clocks.pop(camera_id, None) or _Clock()
        clock.heard_at = now
        self._clocks[camera_id] = clock
        if len(self._clocks) > MAX_CAMERAS:
            del self._clocks[next(iter(self._clocks))]
        return clock
