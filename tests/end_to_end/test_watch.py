"""``engram watch``: video in, events and scores out, as a user runs it."""

import csv
import json
import re
import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bundles.bundle import save_bundle
from consumers.score_table import COLUMNS
from engram.cli.app import app
from producers.naming import default_camera_names
from schemas.messages import AnomalyEvent
from tests.end_to_end.conftest import Engram
from tests.small_bundle import small_bundle

DEADLINE_S = 120


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def events_of(stdout: str) -> list[AnomalyEvent]:
    return [AnomalyEvent.model_validate_json(line) for line in stdout.splitlines()]


def anomaly_scores(path: Path, camera: str) -> list[str]:
    return [row["anomaly_score"] for row in rows_of(path) if row["camera_id"] == camera]


def test_a_recording_gives_every_score_and_an_event_for_each_disturbance(
    engram: Engram, bundle: Path, footage: Path, tmp_path: Path
) -> None:
    scores = tmp_path / "scores.csv"
    child = engram("watch", footage, "--camera", "calm", "--bundle", bundle, "--scores", scores, "-o", "json")
    stdout, stderr = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 0, stderr

    rows = rows_of(scores)
    assert tuple(rows[0]) == COLUMNS
    assert [int(row["frame_index"]) for row in rows] == list(range(200))
    assert [row["anomaly_score"] == "" for row in rows] == [index < 4 for index in range(200)]
    assert all(0 <= float(row["anomaly_score"]) <= 1 for row in rows[4:])
    assert "200 frames sent: 196 scored, 4 while a window filled" in stderr

    events = events_of(stdout)
    spans = [(event.data.frames.first, event.data.frames.last) for event in events if event.data.phase == "end"]
    assert len(spans) == 2
    for (first, last), (begins, ends) in zip(spans, [(70, 89), (160, 179)], strict=True):
        assert begins <= first <= begins + 5
        assert ends - 5 <= last <= ends + 10
    assert len({(event.source, event.id) for event in events}) == len(events)


def test_scores_do_not_depend_on_the_company_or_the_run(
    engram: Engram, bundle: Path, footage: Path, tmp_path: Path
) -> None:
    alone, together = tmp_path / "alone.csv", tmp_path / "together.csv"
    common = ("--bundle", bundle, "--no-updates", "--store", f"sqlite:///{tmp_path}/banks.db")
    first = engram("watch", footage, "--camera", "a", *common, "--scores", alone)
    assert first.wait(DEADLINE_S) == 0
    other = "synthetic://walkway?seed=3&seconds=8"
    both = engram("watch", footage, other, "--camera", "a", "--camera", "b", *common, "--scores", together)
    assert both.wait(DEADLINE_S) == 0
    assert len(anomaly_scores(together, "b")) == 80
    expected = [float(text) for text in anomaly_scores(alone, "a")[4:]]
    assert [float(text) for text in anomaly_scores(together, "a")[4:]] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("model", ["mpn", "memae"])
def test_networks_without_a_bank_find_the_disturbances_too(
    engram: Engram, footage: Path, tmp_path: Path, model: str
) -> None:
    save_bundle(tmp_path / "bundle", small_bundle(model=model))
    scores = tmp_path / "scores.csv"
    child = engram("watch", footage, "--bundle", tmp_path / "bundle", "--scores", scores, "-o", "json")
    stdout, stderr = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 0, stderr
    assert {row["memory_state"] for row in rows_of(scores)} == {"none"}
    ends = [event.data.frames for event in events_of(stdout) if event.data.phase == "end"]
    assert [70 <= end.first <= 75 or 160 <= end.first <= 165 for end in ends] == [True, True]
    refused = engram("coordinate", "--bundle", tmp_path / "bundle", "--store", f"sqlite:///{tmp_path}/banks.db")
    _, stderr = refused.communicate(timeout=DEADLINE_S)
    assert refused.returncode == 2
    assert f"the network '{model}' keeps what it knows in its weights" in stderr


def test_sigterm_drains_a_camera_without_end(engram: Engram, bundle: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores.csv"
    child = engram(
        *("watch", "synthetic://walkway?seed=5&seconds=0", "--camera", "gate", "--bundle", bundle, "--pace", "live"),
        *("--scores", scores, "-o", "json"),
        ENGRAM_EVENTS__ENTER="0",
        ENGRAM_EVENTS__EXIT="0",
    )
    assert child.stdout is not None
    opened = json.loads(child.stdout.readline())
    assert opened["data"]["phase"] == "start"
    child.send_signal(signal.SIGTERM)
    stdout, stderr = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 0, stderr
    last = events_of(stdout)[-1].data
    assert (last.phase, last.end_reason) == ("end", "session_ended")
    sent = re.search(r"(\d+) frames sent", stderr)
    assert sent is not None
    assert [int(row["frame_index"]) for row in rows_of(scores)] == list(range(int(sent[1])))


def test_the_memory_outlives_the_process_and_can_be_looked_at(
    engram: Engram, bundle: Path, footage: Path, tmp_path: Path
) -> None:
    store = f"sqlite:///{tmp_path}/banks.db"
    child = engram(
        *("watch", footage, "--bundle", bundle, "--store", store, "--pace", "live", "--log-level", "warning"),
        ENGRAM_COORDINATOR__ROUND_S="1",
        ENGRAM_COORDINATOR__QUARANTINE_S="0.5",
        ENGRAM_COORDINATOR__MAX_ANCHOR_DISTANCE="2",
        ENGRAM_COORDINATOR__CHANGE_BUDGET_PER_HOUR="1000",
        ENGRAM_COORDINATOR__CHANGE_BUDGET_PER_ROUND="2",
    )
    _, stderr = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 0, stderr
    shown = engram("bank", "log", "shared", "--store", store, "-o", "json")
    stdout, stderr = shown.communicate(timeout=DEADLINE_S)
    assert shown.returncode == 0, stderr
    entries = json.loads(stdout)
    assert [entry["version"] for entry in entries] == list(range(len(entries)))
    assert entries[-1]["version"] >= 1
    assert [entries[-1]["cameras"][0][0]] == list(default_camera_names(1))


def test_a_wrong_source_is_one_line_and_exit_code_2(engram: Engram, bundle: Path) -> None:
    child = engram("watch", "nowhere.mp4", "--bundle", bundle)
    stdout, stderr = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 2
    assert stdout == ""
    assert stderr.splitlines()[-1].startswith("error: ")
    assert "nowhere.mp4" in stderr.splitlines()[-1]
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ftp://camera/1"], "must start with one of"),
        (["synthetic://walkway", "synthetic://walkway", "--camera", "one"], "--camera must be given once per source"),
        (["synthetic://walkway", "--camera", "two words"], "two words"),
    ],
)
def test_whatever_is_wrong_with_a_source_is_named(bundle: Path, arguments: list[str], message: str) -> None:
    refused = CliRunner().invoke(app, ["watch", *arguments, "--bundle", str(bundle)])
    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert refused.stderr.splitlines()[-1].startswith("error: ")
    assert message in refused.stderr.splitlines()[-1]


def test_the_synthetic_scene_comes_with_a_bundle(tmp_path: Path) -> None:
    shown = ["watch", "synthetic://walkway?seconds=2", "--store", f"sqlite:///{tmp_path / 'banks.db'}"]
    done = CliRunner().invoke(app, [*shown, "--scores", str(tmp_path / "scores.csv")])
    assert done.exit_code == 0, done.stderr
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 1 + 10, "2 s, 5 frames a second"


def test_any_other_camera_is_learned_by_the_bundle_for_any(tmp_path: Path) -> None:
    shown = ["watch", "synthetic://walkway?seconds=2&camera=5", "--store", f"sqlite:///{tmp_path / 'banks.db'}"]
    done = CliRunner().invoke(app, [*shown, "--camera", "yard", "--scores", str(tmp_path / "scores.csv")])
    assert done.exit_code == 0, done.stderr
    assert "no bundle is named: the one for any camera is used" in done.stderr
    rows = rows_of(tmp_path / "scores.csv")
    assert len(rows) == 20, "2 s, 10 frames a second"
    assert {row["memory_state"] for row in rows} <= {"initial", "learning", ""}, "not judged yet"
