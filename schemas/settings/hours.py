"""Hours of the week as people write them: ``Mon-Fri 08:00-18:00``, ``22:00-06:00``, ``Sat,Sun``."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, StringConstraints

from schemas.settings.section import from_json_text

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY = "(?:mon|tue|wed|thu|fri|sat|sun)"
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d"
_SPAN = re.compile(
    rf"(?P<days>{_DAY}(?:-{_DAY})?(?:,{_DAY}(?:-{_DAY})?)*)?\s*(?P<times>(?P<start>{_TIME})-(?P<end>{_TIME}|24:00))?",
    re.IGNORECASE,
)


def _checked(text: str) -> str:
    found = _SPAN.fullmatch(text)
    if not text or found is None or found["start"] == found["end"] is not None:
        raise ValueError(f"hours must be like 'Mon-Fri 08:00-18:00', '22:00-06:00' or 'Sat,Sun', not '{text:.60}'")
    return text


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except Exception as error:  # a file that is none, a name that leads out of the folder, no data at all
        raise ValueError("a time zone must have a name like Europe/Berlin, and be known to this machine") from error
    return name


HourSpan = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_checked)]
"""Days, times of day, or both; a span that ends before it begins goes on into the next day."""
Hours = Annotated[tuple[HourSpan, ...], BeforeValidator(from_json_text)]
"""Several; text (environment, flag) is read as JSON."""
TimeZone = Annotated[str, AfterValidator(_known_zone)]
"""A name of the IANA data base."""


def is_open(hours: Sequence[str], zone: str | None, at: datetime) -> bool:
    """Whether a moment lies in one of the spans; without spans it always does.

    Args:
        hours: ``HourSpan`` each.
        zone: a ``TimeZone`` in which they are meant; None = this machine's.
        at: with a time zone.
    """
    local = at.astimezone(ZoneInfo(zone) if zone else None)
    return not hours or any(_holds(span, local) for span in hours)


def _holds(text: str, local: datetime) -> bool:
    span = _SPAN.fullmatch(text)
    assert span is not None, "checked when it was read"
    days = _days(span["days"])
    now = f"{local:%H:%M}"
    start, end = span["start"] or "00:00", span["end"] or "24:00"
    if start < end:
        return local.weekday() in days and start <= now < end
    yesterday = (local - timedelta(days=1)).weekday()
    return (local.weekday() in days and now >= start) or (yesterday in days and now < end)


def _days(text: str | None) -> frozenset[int]:
    """Monday = 0; none named = all."""
    if text is None:
        return frozenset(range(7))
    found = set[int]()
    for part in text.split(","):
        first, *rest = (DAYS.index(name.capitalize()) for name in part.split("-"))
        last = rest[0] if rest else first
        found |= {day % 7 for day in range(first, last + 1 if first <= last else last + 8)}
    return frozenset(found)
