"""From footage to a bundle and a report, with a network small enough for seconds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

import engram as engram_package
from bundles.bundle import Bundle, load_bundle
from engram.cli.app import app
from engram.cli.train import refuse_source_folder
from inference.engine import engine_of
from schemas.errors import FatalError, SettingsError
from tests.unit.training.small_footage import MINIATURE, write_images, write_video
from training.evaluation.measuring import measure_videos
from training.footage.dataset import CacheFormat, Video, open_cache
from training.footage.layouts import find_layout
from training.footage.material import normal_footage
from training.footage.sources import find_sources
from training.loop.distributed import joined_world
from training.loop.run_folder import read_curves, read_settings
from training.loop.state import CHECKPOINT
from training.options import TrainOptions
from training.presets import Preset, find_preset, with_recipe
from training.report import REPORT
from training.train import STEP_SIZES, gather_material, train

PRESET = with_recipe(MINIATURE, {"epochs": 8, "max_steps": 60})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of three normal clips and an abnormal one, and a bundle trained on it."""
    folder = tmp_path_factory.mktemp("training")
    for name in "abc":
        write_images(folder / "data" / "train" / name, 60)
    write_images(folder / "data" / "test" / "d", 9)
    train([folder / "data"], folder / "bundle", PRESET, replace(options(folder), reported=True))
    return folder


def options(folder: Path, run: str = "run") -> TrainOptions:
    """Without a report, which takes longer to draw than these trainings take."""
    return TrainOptions(run=folder / run, cache=folder / "cache", seed=3, device="cpu", reported=False)


def same(first: Bundle, second: Bundle) -> bool:
    """To the last bit in what was learned; the optical flow that the calibration rests on has 1e-6 of noise."""
    learned = [{**made.manifest.digests, "calibration.json": ""} for made in (first, second)]
    one, other = (made.calibration.statistic.quantiles for made in (first, second))
    return learned[0] == learned[1] and np.allclose(one, other, atol=1e-3)


@pytest.fixture(scope="module")
def bundle(place: Path) -> Bundle:
    return load_bundle(place / "bundle")


def test_the_bundle_says_what_it_was_made_from(bundle: Bundle, place: Path) -> None:
    manifest = bundle.manifest
    assert (manifest.width, manifest.height, manifest.channels, manifest.fps) == (32, 24, 1, 10.0)
    assert (manifest.seed, manifest.clip_length, manifest.frame_stride, manifest.jpeg_quality) == (3, 5, 1, 90)
    assert manifest.model == "mnad-prediction"
    wanted = CacheFormat(engine_of(bundle, "cpu").predictor.frame_format)
    normal = open_cache(find_sources(place / "data" / "train"), wanted, place / "cache")
    assert manifest.training_data_digest == normal.digest
    assert (manifest.cameras, bundle.calibration.cameras) == ((), "any")
    assert np.allclose(np.linalg.norm(bundle.items_MC, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("half_weights", [False, True])
def test_calibration_is_fitted_on_footage_held_back(place: Path, tmp_path: Path, half_weights: bool) -> None:
    """27 of the 180 frames, the tail of the last video: the same measures, computed here once more as shipped."""
    out = tmp_path / "bundle"
    preset = replace(MINIATURE, half_weights=half_weights)
    train([place / "data"], out, preset, replace(options(place), run=tmp_path / "run"))
    bundle = load_bundle(out)
    predictor = engine_of(bundle, "cpu").predictor
    footage = open_cache(find_sources(place / "data" / "train"), CacheFormat(predictor.frame_format), place / "cache")
    tail = replace(footage.videos[-1], first_frame=153, num_frames=27)
    (results,) = measure_videos(predictor, footage, [tail], bundle.items_MC)
    assert bundle.calibration.num_frames == len(results) == 23
    assert bundle.calibration.psnr_db.mean == pytest.approx(np.mean([r.psnr_db for r in results]), rel=1e-5)
    assert (out / "weights.safetensors").stat().st_size < (14_000 if half_weights else 28_000)


def test_the_report_stands_by_itself(place: Path) -> None:
    page = (place / "run" / REPORT).read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3
    for title in ("Outcome", "Curves", "Samples", "Calibration", "Settings"):
        assert f"<h2>{title}</h2>" in page
    assert "<td>recipe.max_steps</td><td>60</td>" in page
    assert "mnad-prediction, preset miniature" in page
    assert page.count("src=") == 3
    assert "href=" not in page


def test_it_is_told_how_far_the_calibration_carries(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """23 frames at 10 a second: not one block of 10 s."""
    caplog.set_level("INFO", logger="training.train")
    wanted = replace(options(place), run=tmp_path / "run", reported=True)
    train([place / "data"], tmp_path / "bundle", MINIATURE, wanted)
    told = "2 s of normal video that was not learned, which supports no fewer than 8,640 false alarms a day of a camera"
    assert f"the calibration rests on {told} (95 % confidence)" in caplog.text
    assert f"<td>rests on {told}" in (tmp_path / "run" / REPORT).read_text(encoding="utf-8")


def test_a_bundle_is_never_overwritten(place: Path) -> None:
    with pytest.raises(FatalError, match="must not exist yet"):
        train([place / "data"], place / "bundle", PRESET, options(place))


def test_a_run_goes_on_when_told_to_and_with_its_own_settings_only(place: Path, bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    with pytest.raises(FatalError, match=r"holds a training that was begun; give --resume"):
        train([place / "data"], out, PRESET, options(place))
    with pytest.raises(
        FatalError, match=r"differs in recipe\.epochs \(was 8, now 2\), recipe\.max_steps \(was 60, now 6\)"
    ):
        train([place / "data"], out, MINIATURE, replace(options(place), resume=True))
    assert same(load_bundle(train([place / "data"], out, PRESET, replace(options(place), resume=True))), bundle)


def test_the_same_training_gives_the_same_bundle(place: Path, bundle: Bundle, tmp_path: Path) -> None:
    again = train([place / "data"], tmp_path / "bundle", PRESET, replace(options(place), run=tmp_path / "run"))
    assert same(load_bundle(again), bundle)


def test_a_resumed_run_keeps_its_precision(place: Path, tmp_path: Path) -> None:
    half = replace(options(place), run=tmp_path / "run", precision="bf16")
    train([place / "data"], tmp_path / "first", MINIATURE, half)
    assert read_settings(tmp_path / "run")["precision"] == "bf16"
    again = replace(half, precision="auto", resume=True)
    train([place / "data"], tmp_path / "second", MINIATURE, again)
    with pytest.raises(FatalError, match=r"precision \(was bf16, now fp32\)"):
        train([place / "data"], tmp_path / "third", MINIATURE, replace(again, precision="fp32"))


def test_a_diverging_run_writes_no_bundle(place: Path, tmp_path: Path) -> None:
    hot = with_recipe(PRESET, {"learning_rate": 1e30})
    with pytest.raises(FatalError, match="the loss must stay a number"):
        train([place / "data"], tmp_path / "bundle", hot, replace(options(place), run=tmp_path / "run"))
    assert not (tmp_path / "bundle").exists()
    assert not (tmp_path / "run" / CHECKPOINT).exists()


def test_every_second_frame(place: Path, tmp_path: Path) -> None:
    recipe = replace(MINIATURE.recipe, parameters={**MINIATURE.recipe.parameters, "clip_length": 4}, stride=2)
    preset = replace(MINIATURE, recipe=recipe)
    made = load_bundle(train([place / "data"], tmp_path / "b", preset, replace(options(place), run=tmp_path / "run")))
    assert made.manifest.frame_stride == 2
    assert made.calibration.num_frames == 27 - 6


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("mnad-reconstruction", {"width": 4, "depth": 2, "clip_length": 1}),
        ("memae", {"widths": (4, 4), "num_items": 6, "clip_length": 4}),
        ("mpn", {"width": 4, "depth": 2}),
    ],
)
def test_every_network_makes_a_bundle(place: Path, tmp_path: Path, model: str, parameters: dict[str, object]) -> None:
    preset = Preset(model, "miniature", replace(MINIATURE.recipe, parameters=parameters))
    wanted = replace(options(place), run=tmp_path / "run", reported=True)
    made = load_bundle(train([place / "data"], tmp_path / "b", preset, wanted))
    assert made.manifest.model == model
    assert engine_of(made, "cpu").predictor.clip_format.length == parameters.get("clip_length", 5)
    assert (tmp_path / "run" / REPORT).stat().st_size > 50_000


def test_a_meta_phase_leaves_its_step_sizes_and_another_tail(place: Path, tmp_path: Path) -> None:
    recipe = replace(MINIATURE.recipe, parameters={"width": 4, "depth": 2})
    made = [
        load_bundle(
            train(
                [place / "data"],
                tmp_path / f"b{steps}",
                Preset("mpn", "miniature", recipe),
                replace(options(place), run=tmp_path / f"run{steps}", meta_steps=steps),
            )
        )
        for steps in (0, 2)
    ]
    step_sizes = load_file(tmp_path / "run2" / STEP_SIZES)
    assert not (tmp_path / "run0" / STEP_SIZES).exists()
    differ = {name for name in made[0].weights if not np.array_equal(made[0].weights[name], made[1].weights[name])}
    assert differ == {f"tail.{name}" for name in step_sizes}


def test_a_meta_phase_is_for_mpn(place: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the meta phase is mpn's, got mnad-prediction; leave out --meta-steps"):
        train([place / "data"], tmp_path / "b", MINIATURE, replace(options(place), meta_steps=2))


def test_only_normal_footage_is_learned(place: Path) -> None:
    assert [source.name for source in normal_footage(place / "data")] == ["a", "b", "c"]
    assert [source.name for source in find_layout(place / "data").test] == ["d"]


def test_a_data_set_without_normal_footage_is_explained(tmp_path: Path) -> None:
    write_images(tmp_path / "test" / "d", 3)
    with pytest.raises(FatalError, match=r"must hold normal footage in a folder 'train', it has test footage only"):
        normal_footage(tmp_path)


def test_too_little_is_told_before_the_training(tmp_path: Path) -> None:
    write_images(tmp_path / "data" / "a", 60)
    with pytest.raises(FatalError, match=r"at least 20 clips of 5 frames, got 5 from 9 frames of 'a'"):
        train([tmp_path / "data"], tmp_path / "out", MINIATURE, options(tmp_path))
    assert not (tmp_path / "run").exists()


def test_short_videos_are_left_out(place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_images(tmp_path / "a", 60)
    write_images(tmp_path / "b", 3, first=10)
    with joined_world("cpu") as world:
        material = gather_material(find_sources(tmp_path), MINIATURE, options(tmp_path), world)
    assert {video.name for video in (*material.split.training, *material.split.held_back)} == {"a"}
    assert "'b' has 3" in caplog.text
    assert isinstance(material.split.training[0], Video)


def test_a_size_that_cannot_be_halved_is_told_before_the_training(tmp_path: Path) -> None:
    write_images(tmp_path / "data" / "a", 3)
    deep = replace(MINIATURE, recipe=replace(MINIATURE.recipe, parameters={"width": 2, "depth": 5}))
    with pytest.raises(FatalError, match="width and height must be multiples of 16, got 32 x 24; choose less depth"):
        train([tmp_path / "data"], tmp_path / "out", deep, options(tmp_path))


@pytest.mark.parametrize(("colour", "channels"), [(True, 3), (False, 1)])
def test_colour_is_kept_where_there_is_some(tmp_path: Path, colour: bool, channels: int) -> None:
    write_video(tmp_path / "a.avi", 12, colour=colour)
    with joined_world("cpu") as world:
        material = gather_material(find_sources(tmp_path), MINIATURE, options(tmp_path), world)
    assert material.frame.channels == material.preset.parameters.channels == channels


def test_the_command_trains_a_data_set_and_goes_on(place: Path, tmp_path: Path) -> None:
    """As people type it: overridden parameters, a refusal, a second call that goes on."""
    words = ["train", "--model", "mnad-prediction", "--preset", "tiny", "--data", str(place / "data")]
    words += ["--out", str(tmp_path / "b"), "--cache", str(tmp_path / "cache"), "--max-steps", "4"]
    words += ["--set", "width=4", "--set", "temperature=0.5", "--jpeg-quality", "0", "--device", "cpu"]
    done = engram(*words)
    assert (done.exit_code, done.stdout.strip()) == (0, str(tmp_path / "b")), done.stderr
    made = load_bundle(tmp_path / "b")
    assert (made.manifest.parameters["width"], made.manifest.parameters["temperature"]) == (4, 0.5)
    assert made.items_MC.dtype == np.float32
    assert json.loads((tmp_path / "b.run" / "settings.json").read_text())["recipe"]["max_steps"] == 4
    assert read_curves(tmp_path / "b.run")[-1]["step"] == 4
    words[words.index(str(tmp_path / "b"))] = str(tmp_path / "c")
    refused = engram(*words, "--run", str(tmp_path / "b.run"))
    assert refused.exit_code == 2
    assert "give --resume to go on with it" in refused.stderr
    assert engram(*words, "--run", str(tmp_path / "b.run"), "--resume").exit_code == 0
    assert same(load_bundle(tmp_path / "c"), made)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "temprature=1"], "did you mean 'temperature'?"),
        (["--set", "temperature"], "--set must be NAME=VALUE, got 'temperature'"),
        (["--model", "memae", "--preset", "tiny"], "preset of memae must be one of paper, light"),
    ],
)
def test_the_command_explains_what_is_wrong(place: Path, tmp_path: Path, words: list[str], message: str) -> None:
    done = engram("train", "--data", str(place / "data"), "--out", str(tmp_path / "b"), *words)
    assert done.exit_code == 2
    assert message in done.stderr


def engram(*words: str) -> Result:
    """Within this process, since loading PyTorch takes longer than all the rest."""
    return CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, words)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_too(place: Path, tmp_path: Path) -> None:
    on_gpu = replace(options(place), run=tmp_path / "run", device="cuda")
    train(
        [place / "data"], tmp_path / "b", with_recipe(find_preset("mnad-prediction", "tiny"), {"max_steps": 5}), on_gpu
    )
    assert read_settings(tmp_path / "run")["precision"] == "bf16"


@pytest.mark.parametrize("folder", ["bundles/lobby", "training/x/y", "engram"])
def test_nothing_is_written_among_the_sources(place: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    sources = Path(engram_package.__file__).parents[1]
    monkeypatch.chdir(sources)
    done = engram("train", "--data", str(place / "data"), "--out", folder)
    assert done.exit_code == 2
    assert "--out must not lie in" in done.stderr
    assert f"--out models/{Path(folder).name}" in done.stderr


def test_other_folders_beside_the_sources_are_fine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(Path(engram_package.__file__).parents[1])
    refuse_source_folder(Path("models/lobby"))
    refuse_source_folder(tmp_path / "bundles" / "lobby")
