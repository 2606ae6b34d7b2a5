"""Hours of the week as people write them: ``Mon-Fri 08:00-18:00``, ``22:00-06:00``, ``Sat,Sun``."""

import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, StringConstraints

from schemas.settings.section import from_json_text

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY = "(?:mon|tue|wed|thu|fri|sat|sun)"
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
TIMES = rf"{_TIME}-(?:{_TIME}|24:00)"
"""Two times of day, as a regular expression: the part of a span that says from when to when."""
_SPAN = re.compile(rf"(?P<days>{_DAY}(?:-{_DAY})?(?:,{_DAY}(?:-{_DAY})?)*)?\s*(?P<times>{TIMES})?", re.IGNORECASE)


def _checked(text: str) -> str:
    if not text or not _SPAN.fullmatch(text):
        raise ValueError(f"hours must be like 'Mon-Fri 08:00-18:00', '22:00-06:00' or 'Sat,Sun', not '{text:.60}'")
    return text


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except Exception as error:  # a file that is none, a name that leads out of the folder, no data at all
        raise ValueError("a time zone must have a name like Europe/Berlin, and be known to this machine") from error
    return name


HourSpan = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_checked)]
"""Days, times of day, or both; see ``holds``."""
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


def holds(times: str, days: Collection[int], local: datetime) -> bool:
    """Whether a moment lies between two times of day: from the first on, to just before the second.

    Where the second is not after the first, it is of the next day: ``22:00-06:00`` is a night, ``00:00-00:00`` a whole
    day as ``00:00-24:00`` is, ``08:00-08:00`` the 24 hours from eight on.

    Args:
        times: as ``TIMES`` wants them.
        days: on which it may begin; Monday = 0.
        local: the moment, in the time zone that is meant.
    """
    start, end = times.split("-")
    now, today = f"{local:%H:%M}", local.weekday()
    if start < end:
        return today in days and start <= now < end
    return (today in days and now >= start) or ((today - 1) % 7 in days and now < end)


def _holds(text: str, local: datetime) -> bool:
    span = _SPAN.fullmatch(text)
    assert span is not None, "checked when it was read"
    return holds(span["times"] or "00:00-24:00", _days(span["days"]), local)


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
