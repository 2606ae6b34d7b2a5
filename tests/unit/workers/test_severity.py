"""How rare a peak is: in honest words, and as a severity."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.rarity import Rate
from tests.unit.workers.test_tracker import RULES
from workers.severity import once_in, rarity_of, severity_of


@pytest.mark.parametrize(
    ("per_day", "words"),
    [
        (86_400.0, "once a second"),
        (8640.0, "once in 10 seconds"),
        (1440.0, "once in 60 seconds"),
        (24.0, "once in 60 minutes"),
        (12.0, "once in 2 hours"),
        (1.0, "once in 24 hours"),
        (1 / 9, "once in 9 days"),
        (1 / 365, "once in 360 days"),
        (1 / 3653, "once in 10 years"),
        (1e-9, "less than once in 100 years"),
        (0.0, "less than once in 100 years"),
    ],
)
def test_how_often_in_words(per_day: float, words: str) -> None:
    assert once_in(per_day) == words


def test_what_the_footage_can_vouch_for_is_said_plainly() -> None:
    rarity = rarity_of(Rate(1 / 9, 0.4), supported_per_day=0.1)
    assert (rarity.words, rarity.extrapolated) == ("as unusual as once in 9 days here", False)
    assert (rarity.per_day, rarity.at_most_per_day) == (1 / 9, 0.4)


def test_beyond_the_footage_the_words_say_how_far_it_goes_and_that_the_rest_is_extrapolated() -> None:
    rarity = rarity_of(Rate(1 / 9, 100.0), supported_per_day=72.0, place="there")
    assert rarity.words == "rarer than once in 20 minutes there; by extrapolation once in 9 days"
    assert rarity.extrapolated


@given(st.floats(0, 1e5), st.floats(1e-3, 8640))
def test_words_are_short_and_never_promise_what_the_footage_cannot(per_day: float, supported: float) -> None:
    rarity = rarity_of(Rate(per_day, per_day), supported)
    assert len(rarity.words) < 100
    assert rarity.extrapolated == (per_day < supported)
    assert rarity.words.startswith("rarer than " if rarity.extrapolated else "as unusual as ")


@pytest.mark.parametrize(
    ("per_day", "severity"), [(1.0, "info"), (0.11, "info"), (0.1, "warning"), (0.011, "warning"), (0.01, "critical")]
)
def test_the_rarer_the_more_severe(per_day: float, severity: str) -> None:
    rules = replace(RULES, warning_per_day=0.1, critical_per_day=0.01)
    assert severity_of(rarity_of(Rate(per_day, per_day), 1.0), rules) == severity
