"""``engram train``, ``ablate`` and ``export`` as people type them: what reaches the training, what is refused."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bundles.bundle import load_bundle, save_bundle
from engram.cli.ablate import _variant
from engram.cli.app import app
from engram.cli.train import _pairs
from schemas.errors import SettingsError
from tests.small_bundle import small_bundle
from tests.unit.training.small_footage import write_images


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    for name in "abc":
        write_images(folder / "data" / name, 60)
    return folder


def call(*words: object, **environment: str) -> Result:
    """Within this process, since loading PyTorch takes longer than all the rest."""
    plain = {"COLUMNS": "200", "TERM": "dumb"}
    return CliRunner(env={**plain, **environment}).invoke(app, [str(word) for word in words])


def trained(place: Path, out: Path, *words: object, **environment: str) -> Result:
    where = ("--data", place / "data", "--out", out, "--cache", place / "cache", "--device", "cpu")
    small = ("--preset", "tiny", "--set", "width=4", "--max-steps", 2, "--no-report")
    return call("train", *where, *small, *words, **environment)


def test_what_is_typed_reaches_the_training(place: Path, tmp_path: Path) -> None:
    recipe = ("--batch", 8, "--epochs", 3, "--learning-rate", 0.002, "--items", "kmeans", "--patience", 2)
    how = ("--seed", 7, "--precision", "bf16", "--no-compile", "--image-fps", 5, "--run", tmp_path / "elsewhere")
    done = trained(place, tmp_path / "out", *recipe, *how)
    assert done.exit_code == 0, done.stderr
    settings = json.loads((tmp_path / "elsewhere" / "settings.json").read_text())
    assert {name: settings["recipe"][name] for name in ("batch", "epochs", "max_steps", "learning_rate")} == {
        "batch": 8,
        "epochs": 3,
        "max_steps": 2,
        "learning_rate": 0.002,
    }
    told = {name: settings[name] for name in ("seed", "precision", "items", "patience", "name")}
    assert told == {"seed": 7, "precision": "bf16", "items": "kmeans", "patience": 2, "name": "tiny"}
    manifest = load_bundle(tmp_path / "out").manifest
    assert (manifest.seed, manifest.fps, manifest.parameters["width"]) == (7, 5.0, 4)
    assert not (tmp_path / "out.run").exists()


def test_only_the_first_of_several_processes_names_the_bundle(place: Path, tmp_path: Path) -> None:
    """Programs read one line from ``torchrun``, not one a process."""
    first = trained(place, tmp_path / "a", RANK="0")
    other = trained(place, tmp_path / "b", RANK="1")
    assert (first.exit_code, other.exit_code) == (0, 0), first.stderr + other.stderr
    assert (first.stdout.strip(), other.stdout.strip()) == (str(tmp_path / "a"), "")


def test_a_bundle_is_never_overwritten(place: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    done = trained(place, tmp_path / "out")
    assert done.exit_code == 2
    assert "must not exist yet; remove it or choose another name for the bundle" in done.stderr


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--epochs", 0), "--epochs"),
        (("--max-steps", 0), "--max-steps"),
        (("--batch", 0), "--batch"),
        (("--learning-rate", -1), "--learning-rate"),
        (("--patience", 0), "--patience"),
        (("--meta-steps", -1), "--meta-steps"),
        (("--jpeg-quality", 101), "--jpeg-quality"),
        (("--items", "zeros"), "--items"),
        (("--precision", "fp16"), "--precision"),
        (("--model", "mnad"), "--model"),
        (("--preset", "huge"), "--preset"),
    ],
)
def test_values_out_of_range_are_refused_by_name(
    place: Path, tmp_path: Path, words: tuple[object, ...], named: str
) -> None:
    done = trained(place, tmp_path / "out", *words)
    assert done.exit_code == 2
    assert named in done.stderr
    assert not (tmp_path / "out.run").exists()


def test_a_parameter_is_a_name_and_a_value() -> None:
    assert _pairs(["width=4", " temperature = 0.1 ", "widths=[1,2]", "note=a=b"]) == {
        "width": "4",
        "temperature": "0.1",
        "widths": "[1,2]",
        "note": "a=b",
    }
    assert _pairs(["width=4", "width=8"]) == {"width": "8"}
    with pytest.raises(SettingsError, match="--set must be NAME=VALUE, got 'width'; write for example"):
        _pairs(["temperature=1", "width"])


def test_a_variant_is_a_name_and_its_parameters() -> None:
    variant = _variant("sharp:temperature=0.1, num_items=20")
    assert (variant.name, dict(variant.parameters)) == ("sharp", {"temperature": "0.1", "num_items": "20"})


@pytest.mark.parametrize("text", ["sharp", "sharp:", ":temperature=1", "a/b:temperature=1", "sharp:temperature", ""])
def test_a_variant_that_is_not_one_is_explained(text: str) -> None:
    with pytest.raises(SettingsError, match="--variant must be NAME:KEY=VALUE,KEY=VALUE, got"):
        _variant(text)


def test_an_export_is_never_overwritten(tmp_path: Path) -> None:
    save_bundle(tmp_path / "bundle", small_bundle())
    (tmp_path / "out" / "onnx").mkdir(parents=True)
    done = call("export", "--bundle", tmp_path / "bundle", "--format", "onnx", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "must not exist yet; remove it to export again" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [(("--format", "tflite"), "--format"), (("--format", "onnx", "--clips", 0), "--clips"), ((), "--format")],
)
def test_an_export_that_cannot_be_is_refused(tmp_path: Path, words: tuple[object, ...], message: str) -> None:
    done = call("export", "--bundle", tmp_path / "none", *words)
    assert done.exit_code == 2
    assert message in done.stderr


def test_an_export_needs_a_bundle(tmp_path: Path) -> None:
    done = call("export", "--bundle", tmp_path / "none", "--format", "onnx")
    assert done.exit_code == 2
    assert str(tmp_path / "none") in done.stderr.replace("\n", "")
