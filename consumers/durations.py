"""Lengths of time and moments as people write them: ``90d``, ``1h30m``, ``2026-03-01T08:00:00Z``."""

import re
from datetime import datetime, timedelta, timezone

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
LONGEST_S = 100 * 366 * 86400.0


def duration(text: str) -> timedelta:
    """A length of time, above nothing and below a century.

    >>> duration("1h30m")
    datetime.timedelta(seconds=5400)

    Raises:
        ValueError: it is none; the message says what must be written.
    """
    parts = _PART.findall(text)
    total_s = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not 0 < total_s <= LONGEST_S:
        raise ValueError(f"must be a length of time such as 30s, 10m, 2h, 1h30m or 90d, got {text!r:.40}")
    return timedelta(seconds=total_s)


def moment(text: str, now: datetime) -> datetime:
    """A point in time: a length of time before ``now``, or a date, which is UTC unless it says otherwise.

    Raises:
        ValueError: it is neither.
    """
    try:
        return now - duration(text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", text))
        return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        text = (
            f"must be a length of time before now, such as 2h, or a time, such as 2026-03-01T08:00Z, got {text!r:.40}"
        )
        raise ValueError(text) from None
