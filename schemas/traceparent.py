"""The lines that say in which trace a record was made, ``traceparent`` and ``tracestate`` of W3C Trace Context.

    00-<trace, 32 hex digits>-<span, 16 hex digits>-<flags, 2 hex digits>
    <whose>=<what they want to find again>,…

They are passed on as text, which needs no library. Anybody may write them, so each is either read as the standard says
or as if it were not there; nothing else depends on it. The second means nothing without the first.
"""

import re

TRACEPARENT = "traceparent"
"""Name of the header, of a record or of HTTP, and of the attribute of a CloudEvent."""
PATTERN = r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
"""Of what is passed on. Neither id is all zeros."""

TRACESTATE = "tracestate"
"""Likewise."""
STATE_PATTERN = r"^[!-~](?:[ -~]{0,510}[!-~])?$"
"""Of what is passed on."""
MAX_STATE = 512
"""Letters: as many as the standard wants passed on."""

_LENGTH = 55
_LINE = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII)
_SAMPLED, _RANDOM = 1, 2
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_\-*/@]{0,255}=[ !-+\--<>-~]{0,255}[!-+\--<>-~]", re.ASCII)


def traceparent_of(value: str | bytes | None) -> str | None:
    """What is to be passed on of ``value``, as version 00; None if it is nothing of the kind.

    Of a version that is newer the part is taken that version 00 has too, and of the flags those that are known.
    """
    if value is None:
        return None
    line = value[: _LENGTH + 1]
    text = line.decode("latin-1") if isinstance(line, bytes) else line
    found = _LINE.match(text)
    if found is None or (text[_LENGTH:] and (found[1] == "00" or text[_LENGTH] != "-")):
        return None
    return f"00-{found[2]}-{found[3]}-{int(found[4], 16) & (_SAMPLED | _RANDOM):02x}"


def tracestate_of(value: str | bytes | None) -> str | None:
    """What is to be passed on of ``value``: its first members, as many as fit; None if one is none, or none is there.

    Members and their order stay as they are, and empty ones go.
    """
    if value is None or len(value) > 16 * MAX_STATE:
        return None
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    if not members or not all(map(_MEMBER.fullmatch, members)):
        return None
    while members and len(",".join(members)) > MAX_STATE:
        members.pop()
    return ",".join(members) or None


def is_sampled(traceparent: str) -> bool:
    """Whether the spans of this trace are wanted; of a line that ``traceparent_of`` gave."""
    return bool(int(traceparent[-2:], 16) & _SAMPLED)
