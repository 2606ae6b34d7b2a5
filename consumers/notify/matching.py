"""Whether a rule fits an event. Pure; times of day are those of the rules' time zone."""

from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

from consumers.notify.facts import EventFacts
from consumers.notify.rules import Rule
from schemas.settings.hours import holds

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WHOLE_DAY = ("00:00-24:00",)
SEVERITIES = ("info", "warning", "critical")


def fits(rule: Rule, facts: EventFacts, zone: ZoneInfo) -> bool:
    """Whether ``rule`` is about this event, whatever the phase.

    All of it is judged by what does not change from start to end, or only grows: an alarm that was told also ends. What
    an event does not say (zone, severity) speaks for it: an alarm must not be missed for want of a field.
    """
    return (
        _any_fits(rule.cameras, [facts.camera_id])
        and (not rule.zones or not facts.zones or _any_fits(rule.zones, facts.zones))
        and facts.peak >= rule.min_score
        and _is_severe(rule, facts.severity)
        and is_in_hours(rule, facts.started_at.astimezone(zone))
    )


def first_fitting(rules: Iterable[Rule], facts: EventFacts, zone: ZoneInfo) -> Rule | None:
    """The rule that decides; None if none fits."""
    return next((rule for rule in rules if fits(rule, facts, zone)), None)


def is_in_hours(rule: Rule, at: datetime) -> bool:
    """Whether ``at``, a local time, lies in the hours of the rule, on its days. None given = always."""
    days = [DAYS.index(day) for day in rule.days or DAYS]
    return any(holds(times, days, at) for times in rule.hours or WHOLE_DAY)


def _any_fits(patterns: Iterable[str], names: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _is_severe(rule: Rule, severity: str | None) -> bool:
    """A word that is not known is of a newer Engram, and severe enough."""
    if rule.min_severity is None or severity not in SEVERITIES:
        return True
    return SEVERITIES.index(severity) >= SEVERITIES.index(rule.min_severity)
