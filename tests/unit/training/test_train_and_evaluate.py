"""From footage to a bundle to figures, with a network small enough for seconds."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from bundles.bundle import Bundle, load_bundle
from schemas.errors import FatalError
from tests.unit.training.footage import HEIGHT, MINIATURE, WIDTH, write_images, write_video
from training.dataset import CacheFormat, open_cache
from training.evaluate import Evaluation, Footage, blended, evaluate, live_scores, scaled
from training.inspection import measure_videos
from training.presets import PRESETS
from training.train import TrainOptions, train, with_channels
from workers.engine import Engine
from workers.scoring import live_score


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained bundle and labelled footage whose second half flickers between black and white."""
    folder = tmp_path_factory.mktemp("training")
    for name in "abc":
        write_images(folder / "data" / name, 60)
    train(folder / "data", folder / "bundle", replace(MINIATURE, epochs=8, max_steps=200), options(folder))
    write_images(folder / "test" / "clip", 40)
    for index in range(20, 40):
        flicker(folder / "test" / "clip" / f"{index}.png", index)
    (folder / "labels").mkdir()
    np.save(folder / "labels" / "clip.npy", np.repeat([0, 1], 20).astype(np.uint8))
    return folder


def flicker(path: Path, index: int) -> None:
    assert cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), 255 * (index % 2), np.uint8))


def options(folder: Path) -> TrainOptions:
    return TrainOptions(run=folder / "run", cache=folder / "cache", seed=3, device="cpu", cameras=("lobby",))


@pytest.fixture(scope="module")
def bundle(place: Path) -> Bundle:
    return load_bundle(place / "bundle")


def test_the_bundle_says_what_it_was_made_from(bundle: Bundle, place: Path) -> None:
    manifest = bundle.manifest
    assert (manifest.width, manifest.height, manifest.channels, manifest.fps) == (32, 24, 1, 10.0)
    assert (manifest.seed, manifest.clip_length, manifest.model) == (3, 5, "mnad-prediction")
    footage = open_cache(place / "data", CacheFormat(Engine(bundle, "cpu").frame_format), place / "cache")
    assert manifest.training_data_digest == footage.digest
    assert bundle.calibration.cameras == ("lobby",)
    assert np.allclose(np.linalg.norm(bundle.items_MC, axis=1), 1.0, atol=1e-5)


def test_calibration_is_fitted_on_footage_held_back(bundle: Bundle, place: Path) -> None:
    """27 of the 180 frames, the tail of the last video: the same measures, computed here once more."""
    engine = Engine(bundle, "cpu")
    footage = open_cache(place / "data", CacheFormat(engine.frame_format), place / "cache")
    tail = replace(footage.videos[-1], first_frame=153, num_frames=27)
    measures = [r.measures for r in measure_videos(engine, footage, [tail], bundle.items_MC)[0]]
    assert bundle.calibration.num_frames == len(measures) == 23
    psnr = [frame.psnr_db for frame in measures]
    assert bundle.calibration.psnr_db.mean == pytest.approx(np.mean(psnr), rel=1e-4)


@pytest.mark.parametrize("protocol", ["paper", "live"])
def test_flicker_is_found(place: Path, protocol: str) -> None:
    found = evaluate(place / "bundle", Footage(place / "test", place / "labels", place / "cache"), protocol, "cpu")
    assert isinstance(found, Evaluation)
    assert (found.num_frames, found.num_abnormal) == (36, 20)
    assert found.auc > 0.9  # the moving average holds back the first frame that flickers


def test_live_scores_need_no_future(bundle: Bundle, place: Path) -> None:
    engine = Engine(bundle, "cpu")
    footage = open_cache(place / "test", CacheFormat(engine.frame_format), place / "cache")
    results = measure_videos(engine, footage, footage.videos, bundle.items_MC)
    whole = live_scores(results, bundle.calibration)
    assert np.array_equal(live_scores([results[0][:10]], bundle.calibration), whole[:10])
    first = live_score(results[0][0].measures, None, bundle.calibration)
    assert whole[0] == -first.log10_p


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "there is no such file"),
        (np.zeros(39, np.uint8), "one label a frame, got 39 for 40 frames"),
        (np.zeros(40, np.uint8), "are all equal"),
    ],
)
def test_labels_that_do_not_fit_are_explained(
    place: Path, tmp_path: Path, labels: np.ndarray | None, message: str
) -> None:
    if labels is not None:
        np.save(tmp_path / "clip.npy", labels)
    with pytest.raises(FatalError, match=message):
        evaluate(place / "bundle", Footage(place / "test", tmp_path, place / "cache"), "live", "cpu")


def test_a_bundle_is_never_overwritten(place: Path) -> None:
    with pytest.raises(FatalError, match="must not exist yet"):
        train(place / "data", place / "bundle", MINIATURE, options(place))


def test_a_run_goes_on_with_its_own_settings_only(place: Path, tmp_path: Path) -> None:
    with pytest.raises(FatalError, match=r"differs in preset; remove it or choose another run folder"):
        train(place / "data", tmp_path / "bundle", MINIATURE, options(place))


def test_the_same_training_gives_the_same_bundle(place: Path, bundle: Bundle, tmp_path: Path) -> None:
    again = train(
        place / "data",
        tmp_path / "bundle",
        replace(MINIATURE, epochs=8, max_steps=200),
        replace(options(place), run=tmp_path / "run"),
    )
    assert load_bundle(again).digest == bundle.digest


def test_half_weights_are_calibrated_as_they_are_shipped(place: Path, tmp_path: Path) -> None:
    preset = replace(MINIATURE, half_weights=True)
    train(place / "data", tmp_path / "bundle", preset, replace(options(place), run=tmp_path / "run"))
    half = load_bundle(tmp_path / "bundle")
    engine = Engine(half, "cpu")
    footage = open_cache(place / "data", CacheFormat(engine.frame_format), place / "cache")
    tail = replace(footage.videos[-1], first_frame=153, num_frames=27)
    psnr = [r.measures.psnr_db for r in measure_videos(engine, footage, [tail], half.items_MC)[0]]
    assert half.calibration.psnr_db.mean == pytest.approx(np.mean(psnr), rel=1e-5)


def test_colour_is_kept_where_there_is_some(tmp_path: Path) -> None:
    write_video(tmp_path / "red" / "a.avi", 2, colour=True)
    write_video(tmp_path / "grey" / "a.avi", 2)
    assert with_channels(MINIATURE, tmp_path / "red").network.channels == 3
    assert with_channels(MINIATURE, tmp_path / "grey").network.channels == 1
    assert with_channels(PRESETS["tiny"], tmp_path / "red").network.channels == 1


def test_blend_is_scaled_by_video() -> None:
    psnr, distance = [np.array([10.0, 20.0]), np.array([30.0, 50.0, 40.0])], [np.array([2.0, 1.0]), np.zeros(3)]
    assert blended(psnr, distance, 0.6) == pytest.approx([0.0, 1.0, 0.4, 1.0, 0.7])
    assert scaled(np.full(3, 7.0)).tolist() == [0.0, 0.0, 0.0]
