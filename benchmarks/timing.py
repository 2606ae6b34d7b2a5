"""Timing contenders in turn, so that a machine whose speed drifts slows all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """Seconds per call over all rounds."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """Median seconds per call."""
        return statistics.median(self.seconds)

    def percentile_s(self, percent: int) -> float:
        """Seconds that ``percent`` of the calls stayed below."""
        return statistics.quantiles(self.seconds, n=100)[percent - 1]


def latencies(contenders: Mapping[str, Callable[[], object]], rounds: int) -> list[Figure]:
    """Time each call of each contender, one after the other, ``rounds`` times; the first round is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for each in range(rounds + 1):
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            if each:
                taken[name].append(time.perf_counter() - start)
    return [Figure(name, tuple(seconds)) for name, seconds in taken.items()]


def print_latencies(title: str, figures: list[Figure]) -> None:
    """A table in microseconds; ratios are to the first figure."""
    table = Table("operation", "p50 µs", "p99 µs", "ratio", title=title, title_justify="left")
    for figure in figures:
        ratio = figure.median_s / figures[0].median_s
        table.add_row(
            figure.name, f"{figure.median_s * 1e6:.0f}", f"{figure.percentile_s(99) * 1e6:.0f}", f"{ratio:.2f}"
        )
    Console().print(table)


def print_rates(title: str, figures: list[Figure], frames: int) -> None:
    """A table in frames a second, each call having handled ``frames``; ratios are to the first figure."""
    table = Table("what", "frames/s", "ms per frame", "ratio", title=title, title_justify="left")
    base = frames / figures[0].median_s
    for figure in figures:
        rate = frames / figure.median_s
        table.add_row(figure.name, f"{rate:.0f}", f"{1000 / rate:.3f}", f"{rate / base:.2f}")
    Console().print(table)
