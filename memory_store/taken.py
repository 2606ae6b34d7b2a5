"""What a settled round has taken in: enough for whoever goes on from a log to count nothing twice.

A version and its log entry are written in one step, the position in the log of proposals is not: after a crash some are
read again that are part of a version. Counts add up, so they must be known again by something that was written with
them: how far each session had come.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.messages import ProposalHeader

MAX_THROUGH_BYTES = 5 * 1024
"""An entry travels in a record's header, so of very many cameras it names some; see ``Taken.is_whole``."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How far one session was taken in: highest frame, and its capture time, seconds since 1970."""

    last_frame: int
    captured_s: float


@dataclass(frozen=True, slots=True)
class Taken:
    """What is part of a bank.

    Attributes:
        until_s: capture time that the round ended with, seconds since 1970.
        through: how far each camera's session has come.
        is_whole: whether all of them are named.
    """

    until_s: float
    through: Mapping[tuple[str, str], Reached] = field(default_factory=dict)
    is_whole: bool = True

    @property
    def cameras(self) -> Sequence[str]:
        """Those that are named."""
        return sorted({camera_id for camera_id, _ in self.through})

    def holds(self, header: ProposalHeader, at_s: float) -> bool:
        """Whether a proposal is in it already; ``at_s``: as of when rounds count it.

        Both must say so, frame and time: a session may begin to count anew, and a clock may be set back.
        """
        reached = self.through.get((header.camera_id, header.session_id))
        if reached is None:
            return not self.is_whole and at_s < self.until_s
        return header.last_frame <= reached.last_frame and header.captured_to.timestamp() <= reached.captured_s

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        rows = [[*key, reached.last_frame, reached.captured_s] for key, reached in sorted(self.through.items())]
        return {"until_s": self.until_s, "through": rows, "is_whole": self.is_whole}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Taken":
        """Inverse of ``to_json``.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        through = {
            (str(camera), str(session)): Reached(int(frame), float(at_s))
            for camera, session, frame, at_s in content["through"]
        }
        return cls(float(content["until_s"]), through, bool(content["is_whole"]))


def taken_of(headers: Iterable[ProposalHeader], until_s: float) -> Taken:
    """Of one round, as much as an entry has room for."""
    through: dict[tuple[str, str], Reached] = {}
    for header in headers:
        key, at_s = (header.camera_id, header.session_id), header.captured_to.timestamp()
        through[key] = _farther(through.get(key), Reached(header.last_frame, at_s))
    return _bounded(Taken(until_s, through))


def joined(parts: Iterable[Taken]) -> Taken | None:
    """Of several rounds of one bank; None of none."""
    until_s, through, is_whole = -math.inf, dict[tuple[str, str], Reached](), True
    for part in parts:
        until_s, is_whole = max(until_s, part.until_s), is_whole and part.is_whole
        for key, reached in part.through.items():
            through[key] = _farther(through.get(key), reached)
    return None if until_s == -math.inf else Taken(until_s, through, is_whole)


def _farther(one: Reached | None, other: Reached) -> Reached:
    if one is None:
        return other
    return Reached(max(one.last_frame, other.last_frame), max(one.captured_s, other.captured_s))


def _bounded(taken: Taken) -> Taken:
    room, kept = MAX_THROUGH_BYTES, dict[tuple[str, str], Reached]()
    for key, reached in sorted(taken.through.items()):
        room -= len(json.dumps([*key, reached.last_frame, reached.captured_s])) + 2
        if room < 0:
            return Taken(taken.until_s, kept, is_whole=False)
        kept[key] = reached
    return taken
