"""Alerts and dashboard ask for metrics that exist, by labels that they have; each alert fires for its cause."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from engram.observe import coordinator, desk, producer, worker
from engram.observe.families import Family

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "deploy" / "grafana" / "alerts.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "engram.json"
FAMILIES = {family.name: family for module in (desk, producer, worker, coordinator) for family in module.FAMILIES}
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
    assert names or "process_" in query
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


Series = tuple[str, str]
CAUSES: dict[str, list[Series]] = {
    "EngramNotReady": [("engram_ready", "0x60")],
    "EngramScoresLate": [("engram_worker_lag_seconds", "224x60")],
    "EngramNothingScored": [
        ("engram_worker_records_received_total", "700x60"),
        ("engram_producer_frames_sent_total{camera='gate'}", "0+600x60"),
    ],
    "EngramFramesLost": [("engram_worker_records_lost_total", "0x50 9x10")],
    "EngramSlow": [
        ("engram_worker_capture_to_score_seconds_bucket{le='5'}", "0+1x60"),
        ("engram_worker_capture_to_score_seconds_bucket{le='10'}", "0+100x60"),
        ("engram_worker_capture_to_score_seconds_bucket{le='+Inf'}", "0+100x60"),
    ],
    "EngramDeadLetters": [("engram_worker_records_dead_lettered_total{reason='poison'}", "0x50 1x10")],
    "EngramCameraDown": [("engram_producer_camera_up{camera='gate'}", "0x60")],
    "EngramFramesDropped": [("engram_producer_frames_dropped_total{camera='gate',cause='buffer_full'}", "0+60x60")],
    "EngramLogAway": [("engram_producer_log_up", "0x60")],
    "EngramBankCopyOld": [("engram_worker_bank_copy_age_seconds{bank='shared'}", "0+60x60")],
    "EngramNoCoordinator": [("engram_coordinator_leader", "0x60")],
    "EngramMemoryFar": [
        ("engram_coordinator_bank_anchor_distance{bank='shared'}", "0.045x60"),
        ("engram_coordinator_anchor_distance_limit", "0.05x60"),
    ],
    "EngramProposalsRejected": [
        ("engram_coordinator_proposals_rejected_total{reason='implausible'}", "0+60x60"),
        ("engram_coordinator_proposals_received_total", "0+100x60"),
    ],
}
CALM: list[Series] = [
    ("engram_ready", "1x60"),
    ("engram_worker_lag_seconds", "0 3x59"),
    ("engram_worker_records_received_total", "0+600x60"),
    ("engram_producer_frames_sent_total{camera='gate'}", "0+600x60"),
    ("engram_worker_records_lost_total", "9x60"),
    ("engram_worker_capture_to_score_seconds_bucket{le='5'}", "0+100x60"),
    ("engram_worker_capture_to_score_seconds_bucket{le='+Inf'}", "0+100x60"),
    ("engram_worker_records_dead_lettered_total{reason='poison'}", "1x60"),
    ("engram_producer_camera_up{camera='gate'}", "1x60"),
    ("engram_producer_frames_dropped_total{camera='gate',cause='stopped'}", "0+60x60"),
    ("engram_producer_log_up", "1x60"),
    ("engram_worker_bank_copy_age_seconds{bank='shared'}", "1x60"),
    ("engram_coordinator_leader{instance='a'}", "1x60"),
    ("engram_coordinator_leader{instance='b'}", "0x60"),
    ("engram_coordinator_bank_anchor_distance{bank='shared'}", "0.03x60"),
    ("engram_coordinator_anchor_distance_limit", "0.05x60"),
    ("engram_coordinator_proposals_rejected_total{reason='stale_base'}", "0+60x60"),
    ("engram_coordinator_proposals_rejected_total{reason='implausible'}", "0+1x60"),
    ("engram_coordinator_proposals_received_total", "0+100x60"),
]


def test_every_alert_has_a_cause_here() -> None:
    assert list(CAUSES) == NAMES


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is missing (Debian: prometheus)")
    return found


def fired(promtool: str, folder: Path, series: list[Series], alert: str, count: int) -> None:
    """Run the rules over an hour of these series; ``alert`` must stand ``count`` times at its end."""
    # JSON is YAML, too.
    asked = f'count(ALERTS{{alertname=~"{alert}",alertstate="firing"}})'
    test = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series],
                "promql_expr_test": [
                    {
                        "expr": asked,
                        "eval_time": "59m",
                        "exp_samples": [{"labels": "{}", "value": count}] if count else [],
                    }
                ],
            }
        ],
    }
    path = folder / "rules.yaml"
    path.write_text(json.dumps(test))
    done = subprocess.run(
        [promtool, "test", "rules", str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_fires_when_its_cause_is_there(promtool: str, tmp_path: Path, name: str) -> None:
    fired(promtool, tmp_path, CAUSES[name], name, 1)


def test_all_is_calm_when_all_is_well(promtool: str, tmp_path: Path) -> None:
    fired(promtool, tmp_path, CALM, ".+", 0)
