"""``engram evaluate`` and ``engram ablate`` as people and programs see them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bundles.bundle import Bundle, load_bundle, save_bundle
from engram.build.shipped import SHIPPED, name_of, shipped_bundle
from engram.cli.app import app
from engram.cli.evaluate import hint_of_strangers
from networks.mnad import MnadPrediction
from networks.network import Recipe
from tests.small_bundle import small_bundle
from tests.unit.training.labelled_scene import write_clip, write_scene

RECIPE = Recipe({"width": 4, "depth": 3, "num_items": 4}, 32, 24, "grey", epochs=1, max_steps=4, learning_rate=1e-3)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    save_bundle(folder / "bundle", small_bundle())
    write_scene(folder / "data")
    for name in "abcd":
        write_clip(folder / "data" / "train" / name, 0, 60, camera=name)
    return folder


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(MnadPrediction.recipes, "tiny", RECIPE)
    yield


def call(*arguments: object) -> Result:
    wide = {"COLUMNS": "220"}
    return CliRunner().invoke(app, [str(part) for part in arguments], env=wide)


def measured(place: Path, *arguments: object) -> Result:
    where = ("--bundle", place / "bundle", "--data", place / "data", "--cache", place / "cache", "--device", "cpu")
    return call("evaluate", *where, *arguments)


def compared(place: Path, *arguments: object) -> Result:
    where = ("--data", place / "data", "--out", place / "out", "--cache", place / "cache", "--device", "cpu")
    return call("ablate", *where, "--preset", "tiny", "--steps", 2, *arguments)


def test_one_object_for_programs(place: Path) -> None:
    result = measured(place, "-o", "json", "--plots", place / "plots")
    assert result.exit_code == 0, result.stderr
    (line,) = result.stdout.splitlines()
    told = json.loads(line)
    assert told["frame_auc"].keys() == {"paper", "live"}
    assert [Path(path).name for path in told["plots"]][:2] == ["paper-scores.png", "paper-curves.png"]
    assert all(Path(path).exists() for path in told["plots"])
    assert [clip["name"] for clip in told["clips"]] == ["calm", "turning"]


def test_tables_for_people(place: Path) -> None:
    result = measured(place)
    assert result.exit_code == 0, result.stderr
    for text in ("turning", "AUC, paper", "AUC, live", "false alarms/h at recall 80%", "pixel AUC", "as published"):
        assert text in result.stdout
    assert "%" in result.stdout


def parent_of(*cameras: str, memory_frames: float | None = 20.0) -> Bundle:
    bundle = small_bundle()
    told = {"cameras": cameras or "any", "memory_frames": memory_frames}
    return replace(bundle, calibration=bundle.calibration.model_copy(update=told))


@pytest.mark.parametrize(
    ("bundle", "is_told"),
    [
        (parent_of("gate", "yard"), True),
        (parent_of("gate", "other/data"), True),
        (parent_of("gate", "data"), False),
        (parent_of("gate", "sets/data"), False),
        (parent_of("gate", "yard", memory_frames=None), False),
        (parent_of(), False),
    ],
    ids=lambda given: str(given) if isinstance(given, bool) else str(given.calibration.cameras),
)
def test_a_memory_of_other_cameras_is_told_with_what_to_do(bundle: Bundle, is_told: bool) -> None:
    hint = hint_of_strangers(shipped_bundle("anywhere"), bundle.calibration, Path("sets/data"))
    assert (hint is not None) == is_told
    if hint is not None:
        assert "2 other cameras" in hint
        assert hint.endswith(": engram calibrate --bundle anywhere --data sets/data --out models/data")


def test_the_hint_comes_last_and_not_on_standard_output(place: Path, tmp_path: Path) -> None:
    save_bundle(tmp_path / "parent", parent_of("gate", "yard"))
    result = measured(place, "--bundle", tmp_path / "parent", "--protocol", "live", "-o", "json")
    assert result.exit_code == 0, result.stderr
    assert f"engram calibrate --bundle {tmp_path / 'parent'}" in result.stderr.splitlines()[-1]
    assert json.loads(result.stdout)["frame_auc"].keys() == {"live"}


def test_a_bundle_that_comes_along_is_called_by_its_name(tmp_path: Path) -> None:
    assert [name_of(shipped_bundle(name)) for name in SHIPPED] == list(SHIPPED)
    assert name_of(tmp_path / "anywhere") == str(tmp_path / "anywhere")


def test_one_protocol_is_named_alone(place: Path) -> None:
    shown = measured(place, "--protocol", "live").stdout
    assert "live" in shown
    assert "paper" not in shown
    assert "as a worker scores" in shown


def test_what_is_wrong_is_said_in_one_line(place: Path, tmp_path: Path) -> None:
    result = measured(place, "--labels", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("error: labels of 'calm.avi' must be in ")


def test_the_ablation_for_programs(place: Path, tiny: None) -> None:
    result = compared(place, "--seed", 4, "--variant", "sharp:temperature=0.1,num_items=3", "-o", "json")
    assert result.exit_code == 0, result.stderr
    (line,) = result.stdout.splitlines()
    told = json.loads(line)
    assert told["seeds"] == [4]
    assert [row["name"] for row in told["frame_auc"]] == [
        "no memory",
        "frozen",
        "gated",
        "sharp, frozen",
        "sharp, gated",
    ]
    assert told["protocol"].keys() == {"paper", "live"}
    sharp = load_bundle(place / "out" / "sharp-seed-4" / "bundle")
    assert (sharp.manifest.parameters["temperature"], len(sharp.items_MC)) == (0.1, 3)


def test_the_ablation_for_people(place: Path, tiny: None) -> None:
    result = compared(place, "--seed", 4, "--seed", 5)
    assert result.exit_code == 0, result.stderr
    shown = " ".join(result.stdout.split())
    for text in ("no memory", "gated", "paper: gain over no memory", "live: AUC", "over seeds 4, 5", "±"):
        assert text in shown


@pytest.mark.parametrize("variant", ["sharp", "sharp:temperature", ":temperature=1", "a/b:temperature=1"])
def test_a_variant_that_cannot_be_read(place: Path, variant: str) -> None:
    result = compared(place, "--variant", variant)
    assert result.exit_code == 2
    assert f"--variant must be NAME:KEY=VALUE,KEY=VALUE, got '{variant}'" in result.stderr
