"""The line that says in which trace a record was made, ``traceparent`` of W3C Trace Context.

    00-<trace, 32 hex digits>-<span, 16 hex digits>-<flags, 2 hex digits>

It is passed on as text, which needs no library. Anybody may write one, so it is either read as the standard says or as
if it were not there; nothing else depends on it.
"""

import re

TRACEPARENT = "traceparent"
"""Name of the header, of a record or of HTTP, and of the attribute of a CloudEvent."""
PATTERN = r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
"""Of what is passed on. Neither id is all zeros."""

_LENGTH = 55
_LINE = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII)
_SAMPLED, _RANDOM = 1, 2


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


def is_sampled(traceparent: str) -> bool:
    """Whether the spans of this trace are wanted; of a line that ``traceparent_of`` gave."""
    return bool(int(traceparent[-2:], 16) & _SAMPLED)
