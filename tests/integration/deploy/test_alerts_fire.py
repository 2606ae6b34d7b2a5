"""Every alert fires when its cause is there and at no other time: what real parts show, held against the rules."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.deploy import alert_causes as causes
from tests.integration.deploy import consumer_causes
from tests.integration.deploy.alert_causes import Scene

yaml = pytest.importorskip("yaml")

ALERTS = Path(__file__).parents[3] / "deploy" / "grafana" / "alerts.yaml"
RULES = {rule["alert"]: rule for rule in yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]}
HOURS = 2
CAUSES: dict[Callable[[Scene], Iterator[None]], set[str]] = {
    causes.a_process_that_dies: {"EngramProcessGone"},
    causes.more_workers_than_partitions: {"EngramNotReady"},
    causes.a_worker_that_falls_behind: {"EngramScoresLate"},
    causes.a_worker_that_hangs: {"EngramNothingScored"},
    causes.a_worker_that_is_gone: {"EngramNothingScored", "EngramProcessGone"},
    causes.retention_that_is_too_short: {"EngramFramesLost"},
    causes.scores_that_come_seconds_late: {"EngramSlow"},
    causes.a_record_that_is_no_image: {"EngramDeadLetters"},
    causes.a_proposal_that_is_none: {"EngramDeadLetters"},
    causes.an_event_that_does_not_end: {"EngramEventWithoutEnd"},
    causes.a_camera_that_goes_away: {"EngramCameraDown"},
    causes.a_way_to_the_log_that_is_too_narrow: {"EngramFramesDropped"},
    causes.a_log_that_is_away: {"EngramFramesDropped", "EngramLogAway", "EngramNotReady"},
    causes.a_store_that_a_worker_does_not_reach: {"EngramBankCopyOld", "EngramNotReady"},
    causes.a_lease_of_one_that_hangs: {"EngramNoCoordinator"},
    causes.no_coordinator: {"EngramNoCoordinator", "EngramProcessGone"},
    causes.a_memory_that_somebody_froze: {"EngramMemoryFrozen"},
    causes.a_memory_that_wanders_off: {"EngramMemoryFar"},
    causes.proposals_to_a_frozen_memory: {"EngramMemoryFrozen", "EngramProposalsRejected"},
    consumer_causes.a_target_that_takes_nothing: {"EngramNotDelivered"},
    consumer_causes.a_target_that_refuses: {"EngramNeverDelivered"},
    consumer_causes.a_target_that_is_too_slow: {"EngramConsumerBehind"},
}

Series = Mapping[str, float]
"""Samples by name and labels, as Prometheus writes them."""
ONCE = {name for name, rule in RULES.items() if "for" not in rule}
"""Alerts of what happens once; the others are of what goes on."""


def samples(pages: Mapping[str, str], expected: set[str]) -> dict[str, float]:
    """What Prometheus would have after reading these pages; a process that it expects and does not find is down."""
    found = {f'up{{job="engram",instance="{process}"}}': float(process in pages) for process in expected}
    for process, text in pages.items():
        for family in text_string_to_metric_families(text):
            for one in family.samples:
                labels = one.labels | {"job": "engram", "instance": process}
                told = ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
                found[f"{one.name}{{{told}}}"] = one.value
    return found


def hours(first: Series, calm: Series, harmed: Series, happens_once: bool) -> list[dict[str, str]]:
    """Two stretches for ``promtool``, a sample a minute: minutes like the calm one, then minutes like the harmed one.

    A counter that grew in such a minute grows in each of them, or in the first alone; all else stays as it was.
    """
    minutes = HOURS * 60
    lines = []
    for name in first.keys() | calm.keys() | harmed.keys():
        is_counter = name.partition("{")[0].endswith(("_total", "_bucket", "_count", "_sum"))
        at, words = first.get(name), []
        for until in (calm.get(name), harmed.get(name)):
            before, at = at, until
            if until is None:
                words.append(f"_x{minutes}" if before is None else f"stale _x{minutes - 1}")
            elif not is_counter or before is None:
                words.append(f"{until}x{minutes - 1}")
            elif happens_once:
                words.append(f"{before} {until}x{minutes - 2}")
            else:
                words.append(f"{before}+{until - before}x{minutes - 1}")
        lines.append({"series": name, "values": " ".join(words)})
    return lines


def asked(at: str, alerts: set[str]) -> dict[str, object]:
    """These and no others were firing at some time in the stretch that ends then."""
    return {
        "expr": f'group by (alertname) (max_over_time(ALERTS{{alertstate="firing"}}[{HOURS * 60 - 1}m]))',
        "eval_time": at,
        "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(alerts)],
    }


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is missing (Debian: prometheus)")
    return found


def test_every_alert_has_a_cause_here() -> None:
    assert set().union(*CAUSES.values()) == set(RULES)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.__name__)
def test_alerts_fire_for_their_cause_and_for_nothing_else(
    promtool: str, tmp_path: Path, cause: Callable[[Scene], Iterator[None]]
) -> None:
    scene = Scene(tmp_path)
    looks = [scene.pages() for _ in cause(scene)]
    expected = set().union(*looks)
    first, calm, harmed = (samples(pages, expected & set().union(*looks[: n + 1])) for n, pages in enumerate(looks))
    minutes = HOURS * 60
    test = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": hours(first, calm, harmed, CAUSES[cause] <= ONCE),
                "promql_expr_test": [
                    asked(f"{minutes - 1}m", set()),
                    asked(f"{2 * minutes - 1}m", CAUSES[cause]),
                ],
            }
        ],
    }
    path = tmp_path / "rules.yaml"
    path.write_text(json.dumps(test))  # JSON is YAML, too
    done = subprocess.run(
        [promtool, "test", "rules", str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
