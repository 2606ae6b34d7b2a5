"""Names of metrics: after the conventions, each once, and all in the docs."""

import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from engram.observe import consumer, coordinator, desk, producer, worker
from engram.observe.families import Family, choices
from engram.observe.rates import SPAN_S, Rates
from producers.counters import FrameCounts
from schemas.messages import EventPhase, MemoryState

ROOT = Path(__file__).parents[3]
MODULES = {"every process": desk, "produce": producer, "work": worker, "coordinate": coordinator, "consumers": consumer}
FAMILIES = [family for module in MODULES.values() for family in module.FAMILIES]


def row(family: Family) -> str:
    """The line of a family in the table of the docs."""
    labels = ", ".join(f"`{label}`" for label in family.labels)
    return f"| `{family.name}` | {family.kind} | {labels} | {family.text} |"


def test_the_table_in_the_docs_is_that_of_the_code() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    listed = [line for line in text.splitlines() if line.startswith("| `engram_")]
    assert listed == [row(family) for family in FAMILIES]


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_every_family_of_a_module_is_listed(module: object) -> None:
    named = [value for value in vars(module).values() if isinstance(value, Family)]
    assert set(named) == set(module.FAMILIES)  # type: ignore[attr-defined]


def test_each_name_stands_for_one_thing() -> None:
    names = [family.name for family in FAMILIES]
    assert len(names) == len(set(names)) > 50


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_names_follow_the_conventions(family: Family) -> None:
    assert re.fullmatch(r"engram(_[a-z]+)+", family.name)
    assert (family.kind == "counter") == family.name.endswith("_total")
    assert family.text and not family.text.endswith(".") and "|" not in family.text
    assert all(re.fullmatch(r"[a-z]+", label) for label in family.labels)
    if family.kind == "histogram":
        assert family.name.endswith(("_seconds", "_frames"))
    assert "event_id" not in family.labels, "as many series as there are events"


def test_reasons_that_are_shown_beforehand_are_those_of_the_docs() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text("utf-8")
    rows = operations.partition("| Reason | Means |")[2].partition("\n\n")[0].splitlines()[2:]
    named = {reason for row in rows for reason in re.findall(r"`([a-z_]+)`", row.split("|")[1])}
    assert set(worker.DEAD_REASONS) == named - {"bad_payload", "bad_state"}


def test_the_words_of_a_literal_are_found_whatever_it_is_marked_with() -> None:
    assert choices(Literal["a", "b"]) == choices(Annotated[Literal["a", "b"], 7]) == ("a", "b")
    assert {"live", "stale"} <= set(choices(MemoryState))
    assert set(choices(EventPhase)) == {"start", "update", "end"}


def test_causes_that_are_shown_beforehand_are_those_of_the_counters() -> None:
    told = FrameCounts.__doc__ or ""
    assert set(producer.CAUSES) - {"twin"} == set(re.findall(r"``([a-z_]+)``", told)) - {"max_staleness_s", "sent"}


class Bins:
    bounds = (0.5, 2.0)
    counts = (1, 0, 4)
    total = 41.5


def test_a_histogram_is_given_out_cumulated() -> None:
    family = Family("histogram", "engram_x_seconds", "x")

    class Collected:
        def collect(self) -> list[object]:
            return [family.spread(Bins())]

    registry = CollectorRegistry()
    registry.register(Collected())  # type: ignore[arg-type]
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    assert lines == [
        'engram_x_seconds_bucket{le="0.5"} 1.0',
        'engram_x_seconds_bucket{le="2"} 1.0',
        'engram_x_seconds_bucket{le="+Inf"} 5.0',
        "engram_x_seconds_count 5.0",
        "engram_x_seconds_sum 41.5",
    ]


def test_a_hostile_label_breaks_no_line() -> None:
    family = Family("gauge", "engram_x", "x", ("camera",))

    class Collected:
        def collect(self) -> list[object]:
            return [family.each({'a"\n\\b': 1})]

    registry = CollectorRegistry()
    registry.register(Collected())  # type: ignore[arg-type]
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    assert lines == ['engram_x{camera="a\\"\\n\\\\b"} 1.0']


def test_rates_are_of_the_last_minute() -> None:
    rates = Rates()
    assert rates.per_s(0.0, {"a": 1}) == {}
    for second in range(0, 121, 5):
        rates.look(float(second), {"a": second * second})
    assert rates.per_s(120.0, {"a": 120 * 120}) == {"a": (120**2 - 60**2) / SPAN_S}


def test_a_counter_that_is_new_or_began_anew_counts_from_nothing() -> None:
    rates = Rates()
    rates.look(0.0, {"a": 100})
    assert rates.per_s(10.0, {"a": 20, "b": 5}) == {"a": 2.0, "b": 0.5}
