"""What flows through the pipes: who is how far behind, and counts that must add up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from console.reading import ReadTally
from schemas.cameras import CameraStatus, FrameTally


@dataclass(frozen=True, slots=True)
class Account:
    """A whole and its parts; where they do not add up something is lost without a word."""

    name: str
    whole: int
    parts: Mapping[str, int]

    @property
    def missing(self) -> int:
        """What the parts fall short of the whole; 0 = it adds up."""
        return self.whole - sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a group is behind: records that wait, who is in it, and for whom how many of them wait.

    ``waiting`` has "nobody" for records of partitions that no member has.
    """

    name: str
    state: str
    num_waiting: int
    members: Sequence[str] = ()
    waiting: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plumbing:
    """All of it at one moment. ``trouble``: what could not be asked, in words."""

    lags: Sequence[Lag] = ()
    accounts: Sequence[Account] = ()
    trouble: Sequence[str] = field(default=())


def producer_account(status: CameraStatus) -> Account:
    """Frames of a camera's session, as its producer tells of them."""
    return frames_account(status.camera_id, status.frames)


def frames_account(name: str, frames: FrameTally) -> Account:
    """Frames of a session: captured and found on disk, and where each of them is."""
    parts = {
        "sent": frames.sent,
        "in flight": frames.in_flight,
        "on disk": frames.spooled,
        "sampled out": frames.sampled_out,
        **{f"lost: {loss.cause}": loss.num_frames for loss in frames.dropped},
    }
    return Account(name, frames.captured + frames.recovered, parts)


def reading_account(tally: ReadTally) -> Account:
    """Records of this console."""
    parts = {"taken": tally.taken, **{f"unreadable: {reason}": number for reason, number in tally.bad.items()}}
    return Account("this console", tally.received, parts)
