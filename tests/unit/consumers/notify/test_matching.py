"""Which events a rule fits."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from consumers.notify.facts import facts_of, told
from consumers.notify.matching import DAYS, first_fitting, fits, is_in_hours
from schemas.codec import encode_message
from schemas.settings.hours import HourSpan, is_open
from tests.unit.consumers.notify.facts import facts, record_of, rule
from tests.unit.consumers.samples import event

UTC = ZoneInfo("UTC")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, True),
        ({"cameras": ["gate"]}, True),
        ({"cameras": ["yard", "ga*"]}, True),
        ({"cameras": ["yard"]}, False),
        ({"min_score": 0.97}, True),
        ({"min_score": 0.98}, False),
        ({"hours": ["08:00-09:00"]}, True),
        ({"hours": ["09:00-08:00"]}, False),
        ({"days": ["sun"]}, True),
        ({"days": ["mon", "sat"]}, False),
        ({"zones": ["door"]}, True),
        ({"min_severity": "critical"}, True),
    ],
)
def test_a_rule_fits_by_camera_score_and_time(wanted: dict[str, Any], expected: bool) -> None:
    """The event: camera gate, Sunday 08:00:00.5 UTC, peak 0.97, no zone, no severity."""
    assert fits(rule(**wanted), facts(), UTC) == expected


@pytest.mark.parametrize(
    ("severity", "least", "expected"),
    [
        ("info", "warning", False),
        ("warning", "warning", True),
        ("critical", "warning", True),
        ("dire", "critical", True),
    ],
)
def test_severity_is_an_order(severity: str, least: str, expected: bool) -> None:
    assert fits(rule(min_severity=least), replace(facts(), severity=severity), UTC) == expected


def test_zones_are_those_the_event_names() -> None:
    seen = replace(facts(), zones=("door", "path"))
    assert fits(rule(zones=["do*"]), seen, UTC)
    assert not fits(rule(zones=["fence"]), seen, UTC)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-03-06T21:59", False),
        ("2026-03-06T22:00", True),
        ("2026-03-07T05:59", True),
        ("2026-03-07T06:00", False),
        ("2026-03-07T22:00", False),
        ("2026-03-06T05:00", False),
    ],
)
def test_hours_over_midnight_belong_to_the_day_they_begin_on(at: str, expected: bool) -> None:
    """2026-03-06 is a Friday."""
    assert is_in_hours(rule(hours=["22:00-06:00"], days=["fri"]), datetime.fromisoformat(at)) == expected


@pytest.mark.parametrize("times", ["00:00-24:00", "00:00-00:00"])
def test_a_whole_day_is_from_midnight_to_midnight(times: str) -> None:
    """2026-03-01 is a Sunday."""
    whole = rule(hours=[times], days=["sun"])
    assert is_in_hours(whole, datetime(2026, 3, 1, 0, 0))
    assert is_in_hours(whole, datetime(2026, 3, 1, 23, 59, 59))
    assert not is_in_hours(whole, datetime(2026, 3, 2, 0, 0))


@given(
    st.sampled_from(["00:00-00:00", "00:00-24:00", "06:00-22:00", "22:00-06:00", "08:00-08:00"]),
    st.sets(st.sampled_from(DAYS), min_size=1),
    st.integers(0, 7 * 24 * 60 - 1),
)
def test_a_camera_and_a_rule_take_the_same_words_for_the_same_hours(times: str, days: set[str], minute: int) -> None:
    at = datetime(2026, 3, 2, tzinfo=UTC) + timedelta(minutes=minute)
    span = TypeAdapter(HourSpan).validate_python(f"{','.join(days)} {times}")
    assert is_in_hours(rule(hours=[times], days=sorted(days)), at) == is_open([span], "UTC", at)


def test_hours_are_those_of_the_time_zone() -> None:
    assert fits(rule(hours=["09:00-09:01"]), facts(), ZoneInfo("Europe/Berlin"))
    assert not fits(rule(hours=["09:00-09:01"]), facts(), UTC)


def test_start_and_end_are_judged_alike() -> None:
    """An event from before the end of the hours to after it."""
    night = rule(hours=["07:00-08:01"])
    assert fits(night, facts(5, 5), UTC)
    assert fits(night, facts(5, 5000, "end", 9), UTC)


def test_the_first_rule_that_fits_decides() -> None:
    rules = [rule(name="a", cameras=["yard"]), rule(name="b"), rule(name="c")]
    found = first_fitting(rules, facts(), UTC)
    assert found is not None
    assert found.name == "b"
    assert first_fitting(rules[:1], facts(), UTC) is None


def test_what_a_newer_event_says_is_understood_and_anything_else_passes() -> None:
    body = json.loads(encode_message(event(5, 5)))
    body["data"] |= {"severity": "critical", "zones": ["door", 7, None], "regions": [{"zone": "path"}, 3]}
    body["data"]["peak"]["rarity"] = {"words": "as unusual as once in 9 days here"}
    seen = facts_of(event(5, 5), record_of(event(5, 5), body=json.dumps(body).encode()))
    assert (seen.severity, seen.zones) == ("critical", ("door", "path"))
    assert "critical, as unusual as once in 9 days here" in told(seen)
    body["data"] |= {"severity": 3, "zones": "door", "regions": None, "peak": []}
    seen = facts_of(event(5, 5), record_of(event(5, 5), body=json.dumps(body).encode()))
    assert (seen.severity, seen.zones, seen.rarity) == (None, (), "")


def test_what_people_read() -> None:
    assert told(facts()) == "gate: something unusual since 2026-03-01 08:00:00 UTC (score 0.97)"
    assert told(facts(5, 105, "end", 2)) == "gate: over after 10 s, it began 2026-03-01 08:00:00 UTC (score 0.97)"
