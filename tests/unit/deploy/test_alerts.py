"""Alerts and dashboard ask for metrics that exist, by labels that they have. They fire: ``integration/deploy``."""

import json
import re
from pathlib import Path

import pytest

from engram.observe import consumer, coordinator, desk, producer, worker
from engram.observe.families import Family

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "deploy" / "grafana" / "alerts.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "engram.json"
FAMILIES = {
    family.name: family for module in (desk, producer, worker, coordinator, consumer) for family in module.FAMILIES
}
OF_EVERY_TARGET = {"instance", "job", "le"}
NAMES = re.findall(r"- alert: (\w+)", ALERTS.read_text())


def queries() -> list[str]:
    """Every expression of the rules and of the panels."""
    text = ALERTS.read_text()
    found = re.findall(r"expr: (?!>-)(.+)", text) + [
        " ".join(one.split()) for one in re.findall(r">-\n((?:\s{10}.+\n)+)", text)
    ]
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return found + [target["expr"] for panel in panels for target in panel["targets"]]


def family_of(series: str) -> Family:
    """The family that gives a series its name."""
    stem = re.sub(r"_(bucket|sum|count)$", "", series)
    return FAMILIES[stem if stem in FAMILIES and FAMILIES[stem].kind == "histogram" else series]


@pytest.mark.parametrize("query", queries())
def test_a_query_asks_for_what_there_is(query: str) -> None:
    names = re.findall(r"\bengram_\w+", query)
    assert names or re.search(r"\bprocess_|^up{", query)
    families = [family_of(name) for name in names]
    has = {label for family in families for label in family.labels} | OF_EVERY_TARGET
    grouped = {label.strip() for labels in re.findall(r"by \(([^)]*)\)", query) for label in labels.split(",")}
    matched = set(re.findall(r"[{,]\s*(\w+)\s*[!=]", query))
    assert grouped | matched <= has
    for name in names:
        if family_of(name).kind == "counter":
            assert re.search(rf"(rate|increase)\({name}", query), "a counter alone says nothing"


def test_every_expression_is_looked_at() -> None:
    assert len(queries()) == len(NAMES) + sum(
        len(one["targets"]) for one in json.loads(DASHBOARD.read_text())["panels"]
    )
    assert len(NAMES) == len(set(NAMES)) > 10


def test_panels_have_names_of_their_own_and_lie_side_by_side() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["title"] for panel in panels}) == len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
    labels = {
        label for panel in panels for one in panel["targets"] for label in re.findall(r"{{(\w+)}}", one["legendFormat"])
    }
    assert labels <= {label for family in FAMILIES.values() for label in family.labels} | OF_EVERY_TARGET


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_says_what_to_do_about_it(name: str) -> None:
    assert f"| `{name}` |" in (ROOT / "docs" / "operations.md").read_text()
