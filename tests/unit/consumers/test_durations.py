"""Times as people write them."""

from datetime import datetime, timedelta, timezone

import pytest

from consumers.durations import duration, moment

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("0.5s", 0.5), ("10m", 600), ("1h30m", 5400), ("90d", 90 * 86400), ("2w", 1209600)],
)
def test_lengths_are_read(text: str, seconds: float) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "h", "-1h", "0s", "1h 30m", "1y", "999999w", "9" * 400 + "d", "1e3s"])
def test_what_is_no_length_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="such as 30s, 10m"):
        duration(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("2026-02-28", datetime(2026, 2, 28, tzinfo=timezone.utc)),
        ("2026-02-28T08:00Z", datetime(2026, 2, 28, 8, tzinfo=timezone.utc)),
        ("2026-02-28T08:00:30+01:00", datetime(2026, 2, 28, 7, 0, 30, tzinfo=timezone.utc)),
    ],
)
def test_moments_are_read(text: str, expected: datetime) -> None:
    assert moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["yesterday", "", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a length of time before now"):
        moment(text, NOW)
