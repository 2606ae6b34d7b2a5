"""What the benchmarks compute, on numbers that can be told beforehand; how fast it is stands in no test."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks import bank_limits, detection, live_score, plumbing
from benchmarks.bank import _Writer
from benchmarks.bank_limits import at_distance
from benchmarks.live_score import forms
from benchmarks.networks import _gmac, plain_unit
from bundles.calibration import SpeedScale
from engram.demo.comparison import Comparison, Finding
from engram.demo.show import DemoRequest
from inference.error_map import weighed
from memory_store.proposal import normalised
from memory_store.stores.sqlite import SqliteStore
from networks.mpn import PrototypeUnit
from producers.synthetic import Box, InjectedAnomaly
from schemas.codec import HEADER, decode_message
from schemas.messages import FrameHeader
from tests.unit.consumers.samples import event

ERRORS = np.array([[4.0, 9.0], [16.0, 25.0]], np.float32)
SPEEDS = np.array([[0.0, 2.0], [4.0, 6.0]], np.float32)


@pytest.mark.parametrize("distance", [0.0, 0.02, 0.3, 1.0, 2.0])
def test_items_move_by_exactly_the_distance_and_stay_of_unit_length(distance: float) -> None:
    items_MC = normalised(np.random.default_rng(3).normal(size=(7, 16)).astype(np.float32))
    moved_MC = at_distance(items_MC, distance, seed=1)
    assert np.linalg.norm(moved_MC - items_MC, axis=1) == pytest.approx(distance, abs=1e-5)
    assert np.linalg.norm(moved_MC, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_each_seed_moves_items_another_way() -> None:
    items_MC = normalised(np.eye(4, 9, dtype=np.float32))
    first, again, other = (at_distance(items_MC, 0.5, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


def test_the_worst_direction_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that only holds for a lucky direction is none."""
    answers = iter([(0.2, 0.9), (0.7, 0.4), (0.5, 0.6)])
    monkeypatch.setattr(bank_limits, "clips_of", lambda *_: [])
    monkeypatch.setattr(bank_limits, "_effect", lambda *_: next(answers))
    engine: Any = SimpleNamespace(bundle=SimpleNamespace(items_MC=np.eye(2, 3, dtype=np.float32)))
    (effect,) = bank_limits.effects(engine, (0.1,), (1,), num_clips=1, directions=3)
    assert (effect.distance, effect.score, effect.teaches) == (0.1, 0.7, 0.4)


def test_rounds_end_when_no_frame_may_teach(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = SimpleNamespace(calibration=SimpleNamespace(gate_threshold=0.5), items_MC=np.eye(2, 3, dtype=np.float32))
    engine: Any = SimpleNamespace(bundle=bundle)
    monkeypatch.setattr(bank_limits, "clips_of", lambda *_: [np.zeros(1)] * 6)
    monkeypatch.setattr(bank_limits, "infer", lambda *_: [SimpleNamespace(regular_score=0.5, sums=None)] * 2)
    assert bank_limits.honest_rounds(engine, 1, rounds=3, frames=2) == []


def test_the_last_form_is_what_workers_compute() -> None:
    scale = SpeedScale(top_px=2.0, bottom_px=6.0)
    *_, last = forms(scale).values()
    np.testing.assert_allclose(last(ERRORS, SPEEDS), weighed(ERRORS, SPEEDS, scale))


def test_each_form_is_the_formula_of_its_name() -> None:
    by_name = forms(SpeedScale(top_px=3.0, bottom_px=5.0))
    mean_px = 4.0
    told = {
        "e": ERRORS,
        "sqrt(e)": np.sqrt(ERRORS),
        "(v / v0)^2, v0 the same in all rows": SPEEDS**2,
        "e (1 + (v / v0)^2), v0 the same in all rows": ERRORS * (1 + (SPEEDS / mean_px) ** 2),
        "sqrt(e) (1 + (v / v0)^2), v0 the same in all rows": np.sqrt(ERRORS) * (1 + (SPEEDS / mean_px) ** 2),
    }
    for name, values in told.items():
        np.testing.assert_allclose(by_name[name](ERRORS, SPEEDS), values, rtol=1e-5)
    assert [*forms(None)] == ["e"], "without speeds there is nothing else to form"


@pytest.mark.parametrize(("smoothing_s", "weight"), [(0.0, 1.0), (0.5, 1 - np.exp(-0.2))])
def test_levels_are_smoothed_logarithms_of_the_worst_patch(smoothing_s: float, weight: float) -> None:
    """The image is smaller than a patch, whose mean is then that of all four cells."""
    calibration: Any = SimpleNamespace(fps=10.0, smoothing_s=smoothing_s)
    video: Any = [SimpleNamespace(cell_errors_RS=ERRORS * factor, cell_speeds_RS=SPEEDS) for factor in (1, 2, 0)]
    levels = live_score._levels(video, lambda errors, _: errors, calibration)
    first, second, third = np.log([13.5, 27.0, 1e-10])
    second = first + weight * (second - first)
    assert levels == pytest.approx([first, second, second + weight * (third - second)], rel=1e-5)


def test_the_plain_unit_computes_what_the_fast_one_does() -> None:
    torch.manual_seed(0)
    unit = PrototypeUnit(6, 4)
    features_BCHW = F.normalize(torch.rand(2, 6, 3, 5), dim=1)
    with torch.inference_mode():
        reading, _ = unit(features_BCHW)
        recalled_BCN, errors_BN = plain_unit(features_BCHW, unit.heads.weight)
        assert (recalled_BCN - reading.values().reshape(recalled_BCN.shape)).abs().max() < 1e-5
        assert (errors_BN - reading.distance_map().reshape(errors_BN.shape)).abs().max() < 1e-5


def test_a_multiplication_and_an_addition_count_as_one() -> None:
    a, b = torch.rand(1000, 500), torch.rand(500, 200)
    assert _gmac(lambda: a @ b) == pytest.approx(1000 * 500 * 200 / 1e9)


def test_cameras_take_turns_and_each_has_its_own_count_and_clock() -> None:
    records = [plumbing.frame_record("topic", index, b"jpeg") for index in range(2 * plumbing.CAMERAS + 1)]
    headers = [decode_message(FrameHeader, dict(record.headers)[HEADER]) for record in records]
    cameras = [f"cam{number}" for number in range(plumbing.CAMERAS)]
    assert [header.camera_id for header in headers] == [*cameras, *cameras, "cam0"]
    assert [record.key for record in records] == [header.camera_id for header in headers]
    assert [header.frame_index for header in headers] == [0] * len(cameras) + [1] * len(cameras) + [2]
    assert headers[-1].captured_at - headers[0].captured_at == timedelta(seconds=2 / (headers[0].fps or 0))
    assert {(record.topic, record.value) for record in records} == {("topic", b"jpeg")}


def test_every_commit_writes_the_next_version(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "banks.db")
    writer = _Writer(store, "bench", None)
    for _ in range(3):
        writer.commit()
    bank = store.read("bench")
    assert bank is not None
    assert (bank.version, bank.digest) == (3, writer.bank.digest)
    assert [entry.change.action for entry in store.log("bench")] == ["create", "update", "update", "update"]
    store.close()


def anomaly(kind: str) -> InjectedAnomaly:
    return InjectedAnomaly(kind, 0, 1, (Box(0, 0, 5, 5),) * 2)


def test_what_was_found_is_told_by_kind_and_in_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    hit = event(5, 9, "end", 1).data
    told = [("cyclist", hit), ("cyclist", None), ("bag", None), ("cyclist", hit)]
    findings = tuple(Finding("a", anomaly(kind), state) for kind, state in told)
    monkeypatch.setattr(detection, "detect", lambda *_: Comparison(findings, (hit,), false_frames=30, fps=10.0))
    detection.compare((1, 2, 3), 40.0)
    printed = capsys.readouterr().out
    cells = [[cell.strip() for cell in line.split("│")[1:4]] for line in printed.splitlines() if "│" in line]
    assert cells == [["bag", "1", "0"], ["cyclist", "3", "2"], ["all", "4", "2"]]
    assert "Synthetic walkway, 3 scenes of 40 s" in " ".join(printed.split())
    assert "1 false events; events hold 3 s further than 1 s from any anomaly; in 2.0 minutes of video" in printed


def test_each_scene_is_watched_as_the_demo_does(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, DemoRequest]] = []

    def note(settings: Any, request: DemoRequest, stop: object) -> Any:
        asked.append((settings, request))
        return SimpleNamespace(comparison="compared")

    monkeypatch.setattr(detection, "play", note)
    assert detection.detect((11, 22), 30.0) == "compared"  # type: ignore[comparison-overlap]
    ((settings, request),) = asked
    assert (dict(request.cameras), request.seconds) == ({"scene-11": 11, "scene-22": 22}, 30.0)
    assert settings.events.target_false_alarms_per_day == 1440.0
