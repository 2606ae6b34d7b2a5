"""A metric as it is named, explained and given out.

Each part of Engram has a module here that names its families and reads their values from the counters that exist, at
the moment somebody asks. ``docs/metrics.md`` lists all of them; a test holds the two equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, Protocol, TypeVar, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

L = TypeVar("L", bound="str | tuple[str, ...]")


class Spread(Protocol):
    """How values were spread, as somebody counted them.

    Attributes:
        bounds: upper ends of the bins but the last, ascending.
        counts: values in each bin; one more than ``bounds``.
        total: sum of the values.
    """

    @property
    def bounds(self) -> Sequence[float]:
        """See the class."""

    @property
    def counts(self) -> Sequence[int]:
        """See the class."""

    @property
    def total(self) -> float:
        """See the class."""


def choices(literal: object) -> tuple[str, ...]:
    """The words of a ``Literal``, plain or annotated."""
    found = get_args(literal)
    return found if all(isinstance(word, str) for word in found) else choices(found[0])


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: ``kind``, name after Prometheus' conventions (unit at the end, counters ``_total``), labels."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    text: str
    labels: tuple[str, ...] = ()

    def one(self, value: float) -> Metric:
        """The metric without labels."""
        return self.each({(): value})

    def each(self, values: Mapping[L, float]) -> Metric:
        """One sample for each value of the label, or of the labels."""
        kind = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        metric = kind(self.name, self.text, labels=self.labels)
        for label, value in values.items():
            metric.add_metric((label,) if isinstance(label, str) else label, value)
        return metric

    def spread(self, values: Spread) -> Metric:
        """A histogram. The count is that of the bins, so that the two agree even while a value is being added."""
        bounds = [*(f"{bound:g}" for bound in values.bounds), "+Inf"]
        metric = HistogramMetricFamily(self.name, self.text)
        metric.add_metric((), list(zip(bounds, accumulate(values.counts), strict=True)), values.total)
        return metric
