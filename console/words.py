"""Numbers as people read them: how rare, how long, how many, and why."""

import math
from collections.abc import Mapping
from datetime import datetime, timezone

EVIDENCE: Mapping[str, tuple[str, str]] = {
    "motion": ("Motion", "moves unusually for its place: too fast, or where nothing moves"),
    "direction": ("Direction", "moves where others do not go"),
    "speed": ("Speed", "is faster or slower than what is usual in this row"),
    "place": ("Place", "looks unlike what is usual at its place"),
    "background": ("Background", "something is here that is not here otherwise"),
    "error": ("Prediction error", "is not what the network expected to see"),
}
"""What each question to the memory is called, and what a high answer means. Others are shown by their own name."""

TROUBLES: Mapping[str, str] = {
    "picture": "it shows another picture than its memory knows",
    "error": "all of its picture is badly foreseen",
    "shift": "it shakes",
    "light": "its light changes",
}
END_REASONS: Mapping[str, str] = {
    "cleared": "it was calm again",
    "session_ended": "the recording ended, or the camera began anew",
    "camera_lost": "nothing came from the camera any more",
    "timeout": "it lasted as long as an event may",
    "shutdown": "Engram was stopped",
    "worker_lost": "the workers lost it",
}
SEVERITIES: tuple[str, ...] = ("critical", "warning", "info")
"""Worst first."""


def p_value(anomaly_score: float) -> float:
    """The share of normal frames that are as unusual: score = s / (s + 4), s = -log10 p."""
    return 0.0 if anomaly_score >= 1 else 10.0 ** (-4 * anomaly_score / (1 - anomaly_score))


def odds(anomaly_score: float) -> str:
    """How rare a frame of this score is on normal video, of which nobody has seen enough to vouch for less.

    >>> odds(0.5)
    'one normal frame in 10,000'
    """
    p = p_value(anomaly_score)
    if p < 1e-6:
        return "nothing in a million normal frames"
    if p > 0.5:
        return "most normal frames"
    number = 1 / p
    rounded = round(number, 1 - math.floor(math.log10(number)))
    return f"one normal frame in {rounded:,.0f}"


def lasting(seconds: float) -> str:
    """A length of time, to the unit that matters.

    >>> lasting(0.41), lasting(75), lasting(7300)
    ('0.4 s', '75 s', '2 h')
    """
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s" if seconds >= 10 else f"{max(0.0, seconds):.1f} s"


def ago(at: datetime, now: datetime) -> str:
    """How long since; clocks of two machines may differ, so it is never less than nothing."""
    return f"{lasting(max(0.0, (now - at).total_seconds()))} ago"


def utc(at: datetime) -> str:
    """A time with its zone, for where no script turns it into the reader's own."""
    return f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 camera``, ``2 cameras``."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
