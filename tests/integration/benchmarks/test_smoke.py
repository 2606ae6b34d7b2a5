"""Every benchmark at a tiny size: that it runs and prints its table, not how fast."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import (
    backends,
    bank,
    bank_limits,
    detection,
    edge,
    live_score,
    networks,
    pipeline,
    plumbing,
    scaling,
    verdicts,
)
from benchmarks.__main__ import NAMES, app
from benchmarks.autoscaler import read_rule
from benchmarks.plumbing import CAMERAS
from bundles.bundle import save_bundle
from inference.engine import engine_of, network_of
from inference.fit import NUM_STEPS
from inference.formats import FrameFormat
from inference.loading import open_engine
from tests.small_bundle import FPS, small_bundle
from tests.unit.training.labelled_scene import write_scene


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are cut to the terminal."""
    monkeypatch.setenv("COLUMNS", "200")


def rows(printed: str) -> list[list[str]]:
    """Cells of the tables' lines."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in printed.splitlines() if "│" in line]


def test_plumbing(kafka_bootstrap: str, fresh_name: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    plumbing.compare(kafka_bootstrap, fresh_name(), num_frames=40, rounds=2)
    printed = capsys.readouterr().out
    assert "40 frames of 320 x 240" in printed
    assert [name for name, *_ in rows(printed)] == [
        "decode and resize, one thread (baseline)",
        "in-process: publish",
        "in-process: consume, decode, window",
        "Kafka: publish",
        "Kafka, plain client: send",
        "Kafka: consume, decode, window",
        "Kafka, plain client: poll, decode, one thread",
    ]


def test_edge(
    kafka_bootstrap: str, fresh_name: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edge.compare(kafka_bootstrap, f"{fresh_name()}.", tmp_path, 4.0, (320, 180), (1, 2), warm_s=0.5)
    told = rows(capsys.readouterr().out)
    assert [name for name, *_ in told] == ["1 camera", "2 cameras"]
    assert all(float(cell) > 0 for _, *cells in told for cell in cells)


def test_bank(
    redis_url: str, fresh_name: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank.compare(redis_url, fresh_name(), tmp_path, rounds=3)
    told = rows(capsys.readouterr().out)
    assert len(told) == 13
    assert all(float(cell) > 0 for _, median, longest, _ in told for cell in (median, longest))
    assert float(told[0][3]) == 1.0, "all others are ratios to it; where it was held up, rounded to 0.00"


def test_verdicts(
    kafka_bootstrap: str, redis_url: str, fresh_name: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    verdicts.compare(kafka_bootstrap, redis_url, fresh_name()[-60:], num_verdicts=2)
    told = {name: tuple(map(float, cells)) for name, *cells in rows(capsys.readouterr().out)}
    assert list(told) == ["answered", "in force at a worker"]
    assert all(0.0 <= median <= longest for median, longest in told.values())


def test_networks(capsys: pytest.CaptureFixture[str]) -> None:
    networks.compare({"small": (8, 16, 24)}, ["mnad-prediction"], unit_rounds=2, rounds=2)
    told = rows(capsys.readouterr().out)
    assert [name.split(",")[0] for name, *_ in told] == [
        "plain: B x N x M x C temporaries",
        "products of matrices",
        "mnad-prediction",
    ]


def test_backends(capsys: pytest.CaptureFixture[str]) -> None:
    for library in ("openvino", "onnxruntime", "nncf"):
        pytest.importorskip(library)
    bundle = small_bundle()
    frame = FrameFormat(bundle.manifest.width, bundle.manifest.height, bundle.manifest.channels)
    backends.compare("small", network_of(bundle), frame, bundle.items_MC, rounds=2)
    told = rows(capsys.readouterr().out)
    assert [name for name, *_ in told] == ["torch (baseline)", "onnx", "openvino", "openvino-int8"] * len(
        backends.BATCHES
    )


def test_pipeline(tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    bundle = small_bundle()
    slower = replace(bundle, manifest=bundle.manifest.model_copy(update={"fps": FPS / 2}))
    save_bundle(tmp_path / "bundle", slower)
    pipeline.compare(open_engine(tmp_path / "bundle"), num_frames=(NUM_STEPS + 4) * CAMERAS, rounds=2)
    assert [name for name, *_ in rows(capsys.readouterr().out)] == [
        "bare network, batch of 8 (baseline)",
        "whole pipeline, in-process bus",
    ]
    assert all(record.levelno < logging.WARNING for record in caplog.records), "frames must come as it learned them"


def test_detection(capsys: pytest.CaptureFixture[str]) -> None:
    detection.compare((11,), 20.0)
    printed = capsys.readouterr().out
    assert "Synthetic walkway" in printed
    assert rows(printed)[-1][0] == "all"
    assert "false events; events hold" in printed


def test_bank_limits() -> None:
    engine = engine_of(small_bundle())
    near, far = bank_limits.effects(engine, (0.0, 1.0), (1,), 12, 1)
    assert (near.distance, far.distance) == (0.0, 1.0)
    assert 0 <= near.teaches <= 1
    assert 0 <= far.score <= 1
    moved_MC = bank_limits.at_distance(engine.bundle.items_MC, 0.3, 0)
    assert np.linalg.norm(moved_MC - engine.bundle.items_MC, axis=1) == pytest.approx(0.3, abs=1e-4)
    moves = bank_limits.honest_rounds(engine, 2, rounds=2, frames=12)
    assert all(0 <= each.moved <= each.anchor_distance <= 2 for each in moves)


def test_live_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    save_bundle(tmp_path / "bundle", small_bundle())
    write_scene(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENGRAM_BENCH_BUNDLE", str(tmp_path / "bundle"))
    monkeypatch.setenv("ENGRAM_BENCH_DATA", str(tmp_path / "data"))
    live_score.run()
    told = rows(capsys.readouterr().out)
    assert told[0][0] == "e"
    assert all(0 <= float(auc) <= 100 for _, auc in told)


def test_live_score_says_what_to_set(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("ENGRAM_BENCH_BUNDLE", raising=False)
    live_score.run()
    assert "set ENGRAM_BENCH_BUNDLE" in capsys.readouterr().out


def test_scaling(capsys: pytest.CaptureFixture[str]) -> None:
    rule = read_rule()
    day = scaling.Day(600.0, (scaling.Camera(0, 0.0, 600.0),))
    scaling.compare({"as shipped": rule, "always 2": replace(rule, least=2)}, [day], scaling.Habits(), rule.most)
    told = rows(capsys.readouterr().out)
    assert [name for name, *_ in told] == ["as shipped", "always 2"]
    assert [cells[3:5] for _, *cells in told] == [["0", "1"], ["0", "1"]]


def test_every_benchmark_is_smoked_and_others_are_refused() -> None:
    assert {f"test_{name}" for name in NAMES} <= globals().keys()
    done = CliRunner().invoke(app, ["plumbing", "plumping"])
    assert done.exit_code == 2
    assert "got plumping" in done.stderr
