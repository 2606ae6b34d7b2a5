"""How rare an event's peak is: in words a person uses, and as a severity.

The words promise no more than the calibration's normal video can vouch for; what lies beyond is called extrapolated.
"""

from inference.rarity import Rate
from schemas.messages import Rarity, Severity
from workers.tracker import EventRules

SECONDS_PER_DAY = 86_400.0
DAYS_PER_YEAR = 365.25
UNITS = (
    ("year", DAYS_PER_YEAR * SECONDS_PER_DAY),
    ("day", SECONDS_PER_DAY),
    ("hour", 3600.0),
    ("minute", 60.0),
    ("second", 1.0),
)
MOST_YEARS = 100


def rarity_of(rate: Rate, supported_per_day: float, place: str = "here") -> Rarity:
    """What an event says of its peak.

    Args:
        rate: at which normal video is as unusual.
        supported_per_day: the lowest rate that the calibration's footage can vouch for.
        place: where that video was taken, in words.
    """
    extrapolated = rate.per_day < supported_per_day
    if extrapolated:
        words = f"rarer than {once_in(supported_per_day)} {place}; by extrapolation {once_in(rate.per_day)}"
    else:
        words = f"as unusual as {once_in(rate.per_day)} {place}"
    return Rarity(per_day=rate.per_day, at_most_per_day=rate.at_most, extrapolated=extrapolated, words=words)


def severity_of(rarity: Rarity, rules: EventRules) -> Severity:
    """By the best estimate of how rare it is, extrapolated or not: an order of urgency, not a promise."""
    if rarity.per_day <= rules.critical_per_day:
        return "critical"
    return "warning" if rarity.per_day <= rules.warning_per_day else "info"


def once_in(per_day: float) -> str:
    """For example ``once in 9 days``, of how often a day something happens; rounded."""
    seconds = SECONDS_PER_DAY / per_day if per_day > 0 else float("inf")
    if seconds > MOST_YEARS * UNITS[0][1]:
        return f"less than once in {MOST_YEARS} years"
    unit, length = next(((name, length) for name, length in UNITS if seconds >= 2 * length), UNITS[-1])
    count = round(seconds / length) if seconds < 100 * length else round(seconds / length, -1)
    return f"once in {count:.0f} {unit}s" if count > 1 else f"once a {unit}"
