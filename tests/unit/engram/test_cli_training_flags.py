"""What is typed after ``train``, ``evaluate``, ``ablate`` and ``export`` is what their work is given."""

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import training.train
from engram.cli.app import app
from engram.cli.train import refuse_source_folder
from schemas.errors import FatalError, SettingsError
from tests.architecture.repository import ROOT
from training.evaluation import ablation, evaluate
from training.export import making
from training.options import TrainOptions


class EnoughError(FatalError):
    """Ends a command where its work would begin."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the work of each command was called with, in place of the work."""
    made: list[tuple[Any, ...]] = []

    def note(*given: object) -> None:
        made.append(given)
        raise EnoughError("enough")

    for module, name in ((training.train, "train"), (evaluate, "evaluate"), (ablation, "ablate")):
        monkeypatch.setattr(module, name, note)
    monkeypatch.setattr(making, "export_bundle", note)
    return made


def call(line: str) -> Result:
    done = CliRunner().invoke(app, line.split())
    assert done.stderr.splitlines()[-1] == "error: enough", done.output
    return done


TRAIN = "train --data d --out o"
OPTIONS: list[tuple[str, str, object]] = [
    ("--resume", "resume", True),
    ("--run r", "run", Path("r")),
    ("--cache c", "cache", Path("c")),
    ("--seed 7", "seed", 7),
    ("--device cpu", "device", "cpu"),
    ("--threads 3", "threads", 3),
    ("--fps 4", "fps", 4.0),
    ("--image-fps 5", "image_fps", 5.0),
    ("--jpeg-quality 70", "jpeg_quality", 70),
    ("--jpeg-quality 0", "jpeg_quality", None),
    ("--precision bf16", "precision", "bf16"),
    ("--compile", "compiled", True),
    ("--no-compile", "compiled", False),
    ("--items kmeans", "items", "kmeans"),
    ("--patience 2", "patience", 2),
    ("--meta-steps 9", "meta_steps", 9),
    ("--tensorboard t", "tensorboard", Path("t")),
    ("--no-report", "reported", False),
]


@pytest.mark.parametrize(("words", "name", "value"), OPTIONS, ids=[words for words, _, _ in OPTIONS])
def test_a_flag_says_how_a_training_runs(words: str, name: str, value: object, calls: list[tuple[Any, ...]]) -> None:
    call(f"{TRAIN} {words}")
    data, out, _, options = calls[0]
    assert (data, out, getattr(options, name)) == ([Path("d")], Path("o"), value)
    plain = TrainOptions(run=Path("o.run"), cache=Path(".engram/cache"))
    assert [one.name for one in fields(options) if getattr(options, one.name) != getattr(plain, one.name)] == [name]


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [("--epochs 3", "epochs", 3), ("--max-steps 9", "max_steps", 9), ("--batch 2", "batch", 2)],
)
def test_a_flag_says_what_is_trained(words: str, name: str, value: int, calls: list[tuple[Any, ...]]) -> None:
    call(TRAIN)
    call(f"{TRAIN} {words} --learning-rate 0.5")
    plain, changed = (preset.recipe for _, _, preset, _ in calls)
    assert getattr(plain, name) != getattr(changed, name) == value
    assert changed.learning_rate == 0.5


def test_each_camera_has_its_data(calls: list[tuple[Any, ...]]) -> None:
    call(f"{TRAIN} --data more/e --data f")
    assert calls[0][0] == [Path("d"), Path("more/e"), Path("f")]


def test_model_preset_and_parameters_reach_the_training(calls: list[tuple[Any, ...]]) -> None:
    call(f"{TRAIN} --model mpn --preset paper --set num_prototypes=4")
    preset = calls[0][2]
    assert (preset.model, preset.name, preset.recipe.parameters["num_prototypes"]) == ("mpn", "paper", 4)


EVALUATE: list[tuple[str, str, object]] = [
    ("--labels l", "labels", Path("l")),
    ("--cache c", "cache", Path("c")),
    ("--protocol paper", "protocols", ("paper",)),
    ("--protocol live", "protocols", ("live",)),
    ("--image-fps 5", "image_fps", 5.0),
    ("--jpeg-quality 70", "jpeg_quality", 70),
    ("--jpeg-quality 0", "jpeg_quality", None),
    ("--device cpu", "device", "cpu"),
    ("--threads 3", "threads", 3),
    ("--backend onnx", "backend", "onnx"),
]


@pytest.mark.parametrize(("words", "name", "value"), EVALUATE, ids=[words for words, _, _ in EVALUATE])
def test_a_flag_says_how_a_bundle_is_measured(
    words: str, name: str, value: object, calls: list[tuple[Any, ...]]
) -> None:
    call(f"evaluate --bundle b --data d {words}")
    bundle, data, options = calls[0]
    assert (bundle, data, getattr(options, name)) == (Path("b"), Path("d"), value)
    plain = evaluate.EvaluateOptions(Path(".engram/cache"))
    assert [one.name for one in fields(options) if getattr(options, one.name) != getattr(plain, one.name)] == [name]


def test_a_bundle_is_measured_at_the_rate_of_false_alarms_that_is_set(
    monkeypatch: pytest.MonkeyPatch, calls: list[tuple[Any, ...]]
) -> None:
    """The setting that workers go by."""
    monkeypatch.setenv("ENGRAM_EVENTS__TARGET_FALSE_ALARMS_PER_DAY", "24")
    call("evaluate --bundle b --data d")
    assert calls[0][2].target_false_alarms_per_day == 24.0


ABLATE: list[tuple[str, str, object]] = [
    ("--model mnad-reconstruction", "model", "mnad-reconstruction"),
    ("--preset tiny", "preset", "tiny"),
    ("--seeds 2", "seeds", (0, 1)),
    ("--seeds 2 --seed 5 --seed 9", "seeds", (5, 9)),
    ("--steps 8", "max_steps", 8),
    ("--out elsewhere", "out", Path("elsewhere")),
    ("--cache c", "cache", Path("c")),
    ("--device cpu", "device", "cpu"),
    ("--threads 3", "threads", 3),
]


@pytest.mark.parametrize(("words", "name", "value"), ABLATE, ids=[words for words, _, _ in ABLATE])
def test_a_flag_says_what_is_compared(words: str, name: str, value: object, calls: list[tuple[Any, ...]]) -> None:
    call(f"ablate --data d {words}")
    data, options = calls[0]
    assert (data, getattr(options, name)) == (Path("d"), value)
    plain = ablation.AblationOptions(Path("ablation"), Path(".engram/cache"))
    assert [one.name for one in fields(options) if getattr(options, one.name) != getattr(plain, one.name)] == [name]


def test_every_variant_is_compared(calls: list[tuple[Any, ...]]) -> None:
    call("ablate --data d --variant a:x=1 --variant b:y=2,z=3")
    assert [(one.name, dict(one.parameters)) for one in calls[0][1].variants] == [
        ("a", {"x": "1"}),
        ("b", {"y": "2", "z": "3"}),
    ]


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("", making.ExportOptions()),
        ("--data d", making.ExportOptions(data=(Path("d"),))),
        ("--data d --data e", making.ExportOptions(data=(Path("d"), Path("e")))),
        ("--out o", making.ExportOptions(out=Path("o"))),
        ("--clips 9 --cache c", making.ExportOptions(num_clips=9, cache=Path("c"))),
    ],
)
def test_a_flag_says_how_a_bundle_is_exported(
    words: str, options: making.ExportOptions, calls: list[tuple[Any, ...]]
) -> None:
    call(f"export --bundle b --format openvino {words}")
    assert calls[0] == (Path("b"), "openvino", options)


@pytest.mark.parametrize("inside", ["bundles/lobby", "training", "engram/data/mine"])
def test_a_bundle_is_not_made_among_the_sources(inside: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(f"--out models/{Path(inside).name}")):
        refuse_source_folder(ROOT / inside)


@pytest.mark.parametrize("beside", ["models/lobby", "bundle", "out"])
def test_a_bundle_may_be_made_beside_the_sources(beside: str) -> None:
    refuse_source_folder(ROOT / beside)


def test_a_relative_way_into_the_sources_is_seen_through(
    monkeypatch: pytest.MonkeyPatch, calls: list[tuple[Any, ...]]
) -> None:
    monkeypatch.chdir(ROOT / "docs")
    done = CliRunner().invoke(app, ["train", "--data", "d", "--out", "../bundles/lobby"])
    assert (done.exit_code, calls) == (2, [])
    assert "holds Engram's own code" in done.stderr


def plain_files(folder: Path) -> Callable[[], list[str]]:
    return lambda: sorted(path.name for path in folder.iterdir())


def test_a_wrong_parameter_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[tuple[Any, ...]]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*TRAIN.split(), "--set", "no_such_parameter=1"])
    assert (done.exit_code, calls) == (2, [])
    assert "no_such_parameter" in done.stderr
    assert plain_files(tmp_path)() == []
