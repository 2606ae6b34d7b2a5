"""Trying until the world is right, until told to stop, and not at all where it makes no sense."""

import threading

import pytest

from engram.run.connecting import connected
from schemas.errors import FatalError, TransientError


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
