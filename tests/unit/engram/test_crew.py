"""Threads whose errors are not lost."""

import threading

import pytest

from engram.run.process import Crew


def test_work_runs_under_its_name_and_ends() -> None:
    crew, names, go = Crew(), [], threading.Event()

    def work() -> None:
        go.wait(10)
        names.append(threading.current_thread().name)

    crew.start("one", work)
    assert crew.is_running("one")
    go.set()
    assert crew.join(10) == ()
    assert not crew.is_running("one")
    assert names == ["one"]
    crew.raise_error()


def test_the_first_error_is_kept_and_raised() -> None:
    crew = Crew()
    later = threading.Event()

    def first() -> None:
        raise KeyError("first")

    def second() -> None:
        later.wait(10)
        raise KeyError("second")

    crew.start("second", second)
    crew.start("first", first)
    while crew.is_running("first"):
        pass
    assert crew.has_failed("first")
    assert not crew.has_failed("second")
    later.set()
    assert crew.join(10) == ()
    with pytest.raises(KeyError, match="first"):
        crew.raise_error()


def test_who_does_not_end_is_named() -> None:
    crew, go = Crew(), threading.Event()

    def wait() -> None:
        go.wait(30)

    crew.start("stuck", wait)
    assert crew.join(0.0) == ("stuck",)
    go.set()
    assert crew.join(10) == ()
