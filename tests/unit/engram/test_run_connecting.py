"""Trying until the world is right, until told to stop, and not at all where it makes no sense."""

import threading
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from engram.run import process
from engram.run.process import MISDIRECTED_S, connected
from schemas.backoff import Backoff
from schemas.errors import FatalError, MisdirectedError, TransientError


class Impatient(threading.Event):
    """A stop that is never set and waits for nothing."""

    def wait(self, timeout: float | None = None) -> bool:
        """See ``threading.Event``."""
        return self.is_set()


def in_turn(*answers: Callable[[], str]) -> Callable[[], str]:
    """The first answer at the first call, and so on."""
    left = iter(answers)

    def answer() -> str:
        return next(left)()

    return answer


def misled() -> str:
    raise MisdirectedError("nobody knows 'kafka'")


def test_it_tries_again_until_it_works() -> None:
    answers: list[Exception | str] = [TransientError("away"), "here"]

    def make() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert connected(make, threading.Event()) == "here"
    assert answers == []


def test_a_stop_ends_the_trying() -> None:
    stop = threading.Event()

    def make() -> str:
        stop.set()
        raise TransientError("away")

    assert connected(make, stop) is None


def test_what_makes_no_sense_is_raised_at_once() -> None:
    calls = []

    def make() -> str:
        calls.append(1)
        raise FatalError("refused")

    with pytest.raises(FatalError, match="refused"):
        connected(make, threading.Event())
    assert len(calls) == 1


def test_an_address_that_leads_nowhere_is_given_up_after_a_while() -> None:
    seconds: Iterator[int] = count(step=5)
    with pytest.raises(FatalError, match=rf"nobody knows 'kafka' \(given up after {MISDIRECTED_S:.0f} s\)"):
        connected(misled, Impatient(), clock=lambda: next(seconds))


def test_a_name_that_is_registered_late_is_waited_for() -> None:
    answers = in_turn(misled, misled, lambda: "here")
    assert connected(answers, Impatient(), clock=lambda: 0.0) == "here"


def test_a_broker_that_is_away_in_between_begins_the_patience_anew() -> None:
    def away() -> str:
        raise TransientError("away")

    answers = in_turn(misled, away, misled, away, misled, lambda: "here")
    seconds: Iterator[float] = count(step=MISDIRECTED_S)
    assert connected(answers, Impatient(), clock=lambda: next(seconds)) == "here"


def test_every_try_that_failed_is_told_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    connected(in_turn(misled, lambda: "here"), Impatient())
    assert [record.levelname for record in caplog.records if record.name == process.__name__] == ["WARNING"]
    assert "nobody knows 'kafka'" in caplog.text


def test_waits_double_up_to_the_limit_and_begin_anew_after_a_success() -> None:
    backoff = Backoff(1.0, 5.0, spread=0.0)
    assert [backoff.next_s() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.next_s() == 1


def test_waits_differ_by_chance_within_their_bounds() -> None:
    waits = {Backoff(2.0, 2.0, spread=0.5).next_s() for _ in range(50)}
    assert len(waits) > 1
    assert all(1 <= wait <= 2 for wait in waits)


@pytest.mark.parametrize("wrong", [(0.0, 1.0, 0.5), (2.0, 1.0, 0.5), (1.0, 2.0, 1.5)])
def test_waits_that_make_no_sense_are_refused(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="a back-off needs"):
        Backoff(*wrong)
