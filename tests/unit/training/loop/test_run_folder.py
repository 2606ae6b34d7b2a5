"""A run folder belongs to one training, and says which."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from schemas.errors import DamagedError, FatalError
from training.loop.run_folder import SETTINGS, claim_run, fastest_precision, flat, precision_of, read_settings
from training.loop.state import CHECKPOINT
from training.options import TrainOptions

SETTINGS_NOW = {"recipe": {"epochs": 8, "parameters": {"width": 16}}, "data": "d1", "seed": 0}


def begun(run: Path) -> Path:
    claim_run(run, SETTINGS_NOW, resume=False)
    (run / CHECKPOINT).write_bytes(b"state")
    return run


def test_the_same_training_goes_on_when_told_to(tmp_path: Path) -> None:
    claim_run(begun(tmp_path / "run"), SETTINGS_NOW, resume=True)
    assert read_settings(tmp_path / "run") == SETTINGS_NOW


def test_a_training_that_was_begun_is_not_gone_on_with_by_accident(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match=r"must be new, .* holds a training that was begun; give --resume to go on"):
        claim_run(begun(tmp_path), SETTINGS_NOW, resume=False)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"recipe": {"epochs": 9, "parameters": {"width": 16}}}, r"recipe\.epochs \(was 8, now 9\)"),
        ({"recipe": {"epochs": 8, "parameters": {"width": 8}}}, r"recipe\.parameters\.width \(was 16, now 8\)"),
        ({"data": "d2"}, r"data \(was d1, now d2\)"),
        ({"seed": 7, "data": "d2"}, r"data \(was d1, now d2\), seed \(was 0, now 7\)"),
    ],
)
def test_another_training_is_refused_and_told_what_differs(
    tmp_path: Path, changed: dict[str, object], named: str
) -> None:
    with pytest.raises(FatalError, match=f"differs in {named}; give the same settings"):
        claim_run(begun(tmp_path), {**SETTINGS_NOW, **changed}, resume=True)


@pytest.mark.parametrize("left", [b"", b"{", b"[]", b"\xff\x00"])
def test_settings_that_are_no_longer_what_was_written_are_named(tmp_path: Path, left: bytes) -> None:
    (begun(tmp_path) / SETTINGS).write_bytes(left)
    with pytest.raises(
        DamagedError, match=r"settings of a run .*settings\.json' is not: .*remove the folder of the run"
    ):
        claim_run(tmp_path, SETTINGS_NOW, resume=True)


def test_with_nothing_there_a_run_begins(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    claim_run(tmp_path / "run", SETTINGS_NOW, resume=True)
    assert "nothing to go on from" in caplog.text
    assert read_settings(tmp_path / "run") == SETTINGS_NOW


def test_a_run_without_a_checkpoint_has_nothing_to_lose(tmp_path: Path) -> None:
    claim_run(tmp_path, SETTINGS_NOW, resume=False)
    claim_run(tmp_path, {**SETTINGS_NOW, "seed": 3}, resume=False)
    assert read_settings(tmp_path)["seed"] == 3


def test_a_checkpoint_of_unknown_origin_is_refused(tmp_path: Path) -> None:
    (begun(tmp_path) / SETTINGS).unlink()
    with pytest.raises(FatalError, match=r"settings\.json"):
        claim_run(tmp_path, SETTINGS_NOW, resume=True)


def test_settings_are_told_without_nesting() -> None:
    assert flat(SETTINGS_NOW) == {"recipe.epochs": 8, "recipe.parameters.width": 16, "data": "d1", "seed": 0}


@pytest.mark.parametrize(
    ("asked", "resume", "found"),
    [
        ("auto", True, "bf16"),
        ("auto", False, fastest_precision("cpu")),
        ("fp32", True, "fp32"),
        ("bf16", False, "bf16"),
    ],
)
def test_a_precision_left_open_is_what_the_run_began_with(
    tmp_path: Path, asked: Literal["auto", "fp32", "bf16"], resume: bool, found: str
) -> None:
    claim_run(tmp_path, {**SETTINGS_NOW, "precision": "bf16"}, resume=False)
    assert precision_of(TrainOptions(tmp_path, tmp_path, resume, precision=asked, device="cpu")) == found


@pytest.mark.parametrize("resume", [False, True])
def test_with_no_run_there_the_precision_is_the_fastest_here(tmp_path: Path, resume: bool) -> None:
    options = TrainOptions(tmp_path / "run", tmp_path, resume, device="cpu")
    assert precision_of(options) == fastest_precision("cpu")
    assert precision_of(replace(options, device="cuda")) == "bf16"


def test_of_many_differences_some_are_named(tmp_path: Path) -> None:
    claim_run(tmp_path, {f"s{n}": 0 for n in range(6)}, resume=False)
    (tmp_path / CHECKPOINT).write_bytes(b"state")
    with pytest.raises(FatalError, match=r"differs in s0 \(was 0, now 1\), .*, s3 \(was 0, now 1\); give") as refused:
        claim_run(tmp_path, {f"s{n}": 1 for n in range(6)}, resume=True)
    assert "s4" not in str(refused.value)


@pytest.mark.parametrize(
    ("before", "now", "named"),
    [({"a": 1}, {"a": 1, "b": 2}, r"b \(was None, now 2\)"), ({"a": 1, "b": 2}, {"a": 1}, r"b \(was 2, now None\)")],
)
def test_a_setting_that_came_or_went_is_a_difference(
    tmp_path: Path, before: dict[str, int], now: dict[str, int], named: str
) -> None:
    claim_run(tmp_path, before, resume=False)
    (tmp_path / CHECKPOINT).write_bytes(b"state")
    with pytest.raises(FatalError, match=f"differs in {named}"):
        claim_run(tmp_path, now, resume=True)


def test_what_a_file_cannot_tell_apart_is_no_difference(tmp_path: Path) -> None:
    """JSON has no tuples."""
    settings = {"parameters": {"widths": (8, 16)}}
    claim_run(tmp_path, settings, resume=False)
    (tmp_path / CHECKPOINT).write_bytes(b"state")
    claim_run(tmp_path, settings, resume=True)
    assert read_settings(tmp_path) == {"parameters": {"widths": [8, 16]}}


def test_the_fastest_precision_of_a_gpu_is_bfloat16_by_any_name() -> None:
    assert fastest_precision("cuda:1") == fastest_precision("cuda") == "bf16"
