"""Every benchmark at a tiny size: that it runs and prints its table, not how fast."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import backends, bank, detection, live_score, networks, pipeline, plumbing
from benchmarks.__main__ import NAMES, app
from bundles.bundle import save_bundle
from engram.build.bundles import shipped_bundle
from inference.engine import Engine, network_of
from inference.formats import FrameFormat
from inference.loading import open_engine
from tests.small_bundle import small_bundle
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
        "Kafka: consume, decode, window",
    ]


def test_bank(
    redis_url: str, fresh_name: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank.compare(redis_url, fresh_name(), tmp_path, rounds=3)
    told = rows(capsys.readouterr().out)
    assert len(told) == 7
    assert all(float(cell) > 0 for _, *cells in told for cell in cells)


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


def test_pipeline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_bundle(tmp_path, small_bundle())
    pipeline.compare(open_engine(tmp_path), num_frames=48, rounds=2)
    assert [name for name, *_ in rows(capsys.readouterr().out)] == [
        "bare network, batch of 8 (baseline)",
        "whole pipeline, in-process bus",
    ]
