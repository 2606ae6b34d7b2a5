"""``engram calibrate``: from a bundle and a camera's own video to a bundle that watches it."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from bundles.bundle import load_bundle, save_bundle
from engram.cli.app import app
from inference.standard import normality_of, standard_of
from schemas.errors import BundleError, FatalError
from tests.small_bundle import small_bundle
from tests.unit.training.labelled_scene import CALM, turning_noisy, write_clip, write_labels, write_video
from training.calibrating import CalibrateOptions, calibrate_bundle
from training.evaluation.evaluate import EvaluateOptions, evaluate


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibrate")
    save_bundle(folder / "parent", small_bundle())
    for name in ("a", "b"):
        write_clip(folder / "yard" / "train" / name, 0, 65, camera=name)
    write_clip(folder / "yard" / "test" / "turning", CALM, 40, camera="a")
    write_labels(folder / "yard", "turning", turning_noisy())
    return folder


@pytest.fixture(scope="module")
def options(place: Path) -> CalibrateOptions:
    return CalibrateOptions(place / "cache", camera="yard", device="cpu", threads=1)


@pytest.fixture(scope="module")
def made(place: Path, options: CalibrateOptions) -> Path:
    calibrate_bundle(place / "parent", place / "yard", place / "yard-bundle", options)
    return place / "yard-bundle"


def test_weights_and_items_stay_and_what_is_normal_is_the_cameras_own(place: Path, made: Path) -> None:
    parent, own = load_bundle(place / "parent"), load_bundle(made)
    assert own.digest != parent.digest
    assert own.weights.keys() == parent.weights.keys()
    for name, values in parent.weights.items():
        np.testing.assert_array_equal(own.weights[name], values)
    np.testing.assert_array_equal(own.items_MC, parent.items_MC)
    assert own.calibration.memory is not None
    assert normality_of(own.calibration.memory).num_frames == own.calibration.num_frames == 2 * (65 - 4)
    assert own.calibration.cameras == ("yard",)
    assert parent.calibration.memory is None


def test_it_tells_the_noise_from_the_calm(place: Path, made: Path) -> None:
    options = EvaluateOptions(place / "cache", protocols=("live",), device="cpu", threads=1)
    found = evaluate(made, place / "yard", options)
    assert found.outcomes["live"].frame_auc > 0.9
    assert found.opens_at == standard_of(load_bundle(made).calibration).thresholds(1.0, 10.0)[0]
    (clip,) = found.outcomes["live"].clips
    assert clip.scores_N[clip.labels_N == 0].max() < found.opens_at


def test_nothing_is_written_over(place: Path, made: Path, options: CalibrateOptions) -> None:
    with pytest.raises(FatalError, match="must not exist yet"):
        calibrate_bundle(place / "parent", place / "yard", made, options)


def test_too_little_footage_says_how_much_is_missing(place: Path, options: CalibrateOptions) -> None:
    write_video(place / "short" / "a.avi", 0, 12)
    with pytest.raises(FatalError, match="at least 20 scored normal frames, got 8"):
        calibrate_bundle(place / "parent", place / "short", place / "nothing", options)
    assert not (place / "nothing").exists()


def test_a_bundle_that_is_none_is_told(place: Path, options: CalibrateOptions) -> None:
    with pytest.raises(BundleError):
        calibrate_bundle(place / "yard", place / "yard", place / "nothing", options)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(part) for part in arguments], env={"COLUMNS": "200"})


def test_the_command_makes_it_and_says_what_it_rests_on(place: Path) -> None:
    where = ("--bundle", place / "parent", "--data", place / "yard", "--out", place / "by-command")
    result = call("calibrate", *where, "--cache", place / "cache", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert "122 frames of normal video" in result.stdout
    assert load_bundle(place / "by-command").calibration.cameras == "any"
    assert call("calibrate", *where).exit_code == 2


def test_help_shows_the_way() -> None:
    assert "engram calibrate --bundle models/lobby --data footage/yard" in call("calibrate", "--help").stdout


def test_weights_stored_in_half_stay_half(place: Path, options: CalibrateOptions) -> None:
    save_bundle(place / "half", small_bundle(), half_weights=True)
    calibrate_bundle(place / "half", place / "yard", place / "half-yard", options)
    sizes = [(place / name / "weights.safetensors").stat().st_size for name in ("half", "half-yard")]
    assert sizes[0] == sizes[1]
