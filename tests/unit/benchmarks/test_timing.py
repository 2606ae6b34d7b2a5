"""The arithmetic of the benchmarks' tables: what is counted, in which unit, against which row."""

import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

import benchmarks.__main__ as program
from benchmarks.timing import Figure, latencies, print_latencies, print_rates


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are cut to the terminal."""
    monkeypatch.setenv("COLUMNS", "200")


def rows(printed: str) -> list[list[str]]:
    """Cells of the tables' lines."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in printed.splitlines() if "│" in line]


def columns(printed: str) -> list[str]:
    (header,) = [line for line in printed.splitlines() if "┃" in line]
    return [cell.strip() for cell in header.strip("┃").split("┃")]


def test_a_figure_is_the_middle_of_its_rounds() -> None:
    assert Figure("odd", (9.0, 1.0, 2.0)).median_s == 2.0
    assert Figure("even", (1.0, 2.0, 3.0, 9.0)).median_s == 2.5


def test_a_percentile_is_what_so_many_calls_stayed_below() -> None:
    even = Figure("even", tuple(float(number) for number in range(1, 100)))
    assert [even.percentile_s(percent) for percent in (1, 50, 99)] == [1.0, 50.0, 99.0]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time; moved by whoever works."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_contenders_take_turns_and_the_first_round_is_not_counted(clock: list[float]) -> None:
    """A machine that slows down slows both alike: the order is a, b, a, b."""
    order: list[str] = []

    def work(name: str, seconds: list[float]) -> Callable[[], None]:
        taken = iter(seconds)

        def call() -> None:
            order.append(name)
            clock[0] += next(taken)

        return call

    first, second = latencies({"a": work("a", [50, 1, 2, 3]), "b": work("b", [70, 4, 5, 6])}, rounds=3)
    assert order == ["a", "b"] * 4
    assert (first, second) == (Figure("a", (1.0, 2.0, 3.0)), Figure("b", (4.0, 5.0, 6.0)))


def test_latencies_are_told_in_microseconds_against_the_first_row(capsys: pytest.CaptureFixture[str]) -> None:
    spread = tuple(0.001 + number * 1e-5 for number in range(100))
    print_latencies("Title", [Figure("base", (0.002,) * 100), Figure("half", (0.001,) * 100), Figure("some", spread)])
    printed = capsys.readouterr().out
    assert printed.startswith("Title")
    assert columns(printed) == ["operation", "p50 µs", "p99 µs", "ratio"]
    assert rows(printed) == [
        ["base", "2000", "2000", "1.00"],
        ["half", "1000", "1000", "0.50"],
        ["some", "1495", "1990", "0.75"],
    ]


def test_rates_are_told_in_frames_a_second_against_the_first_row(capsys: pytest.CaptureFixture[str]) -> None:
    """More is better here, so that a ratio above one is a gain."""
    print_rates("Title", [Figure("base", (2.0, 2.0)), Figure("twice as fast", (1.0, 1.0))], frames=400)
    printed = capsys.readouterr().out
    assert columns(printed) == ["what", "frames/s", "ms per frame", "ratio"]
    assert rows(printed) == [["base", "200", "5.000", "1.00"], ["twice as fast", "400", "2.500", "2.00"]]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which benchmarks were run, in place of running them."""
    names: list[str] = []

    def imported(name: str) -> ModuleType:
        module = ModuleType(name)
        module.run = lambda: names.append(name.removeprefix("benchmarks."))  # type: ignore[attr-defined]
        return module

    monkeypatch.setattr(program, "import_module", imported)
    return names


def test_all_are_run_when_none_is_named(ran: list[str]) -> None:
    assert CliRunner().invoke(program.app, []).exit_code == 0
    assert tuple(ran) == program.NAMES


def test_those_that_are_named_are_run_in_that_order(ran: list[str]) -> None:
    assert CliRunner().invoke(program.app, ["pipeline", "bank"]).exit_code == 0
    assert ran == ["pipeline", "bank"]


def test_none_is_run_when_one_of_them_is_unknown(ran: list[str]) -> None:
    done = CliRunner(env={"TERM": "dumb"}).invoke(program.app, ["bank", "pipelines"])
    assert (done.exit_code, ran) == (2, [])


def test_every_benchmark_is_a_module_of_its_own() -> None:
    modules = {path.stem for path in Path(program.__file__).parent.glob("*.py")}
    parts = {"__init__", "__main__", "timing", "autoscaler"}
    assert modules - set(program.NAMES) == parts | {"soak"}, "which runs for as long as asked"
