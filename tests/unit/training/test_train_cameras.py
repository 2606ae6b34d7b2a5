"""One network for several cameras: from folders to a bundle that names them, and a run that is theirs alone."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from bundles.bundle import Bundle, load_bundle
from inference.engine import engine_of
from schemas.errors import FatalError
from tests.unit.training.small_footage import MINIATURE, image, write_images, write_video
from training.evaluation.measuring import measure_videos
from training.footage.cameras import footage_of
from training.footage.dataset import CacheFormat, open_cache
from training.footage.material import split_videos
from training.loop.distributed import joined_world
from training.loop.run_folder import read_settings
from training.options import TrainOptions
from training.report import REPORT
from training.train import gather_material, train


def options(folder: Path, run: str = "run") -> TrainOptions:
    return TrainOptions(folder / run, folder / "cache", seed=3, device="cpu", fps=10.0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lobby in images of 64 x 48 at 10 frames a second, a yard in a video of 80 x 40 at 20, and their bundle."""
    folder = tmp_path_factory.mktemp("cameras")
    write_images(folder / "lobby" / "a", 160)
    (folder / "yard").mkdir()
    writer = cv2.VideoWriter(str(folder / "yard" / "b.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (80, 40))
    for index in range(340):
        writer.write(cv2.resize(image(index), (80, 40)))
    writer.release()
    train(folders(folder), folder / "bundle", MINIATURE, options(folder))
    return folder


def folders(place: Path) -> list[Path]:
    return [place / "lobby", place / "yard"]


@pytest.fixture(scope="module")
def bundle(place: Path) -> Bundle:
    return load_bundle(place / "bundle")


def test_the_bundle_names_its_cameras_and_the_rate_they_keep(bundle: Bundle) -> None:
    assert bundle.manifest.cameras == bundle.calibration.cameras == ("lobby", "yard")
    assert (bundle.manifest.fps, bundle.calibration.fps) == (10.0, 10.0)


def test_the_calibration_is_fitted_on_the_end_of_each(place: Path, bundle: Bundle) -> None:
    """24 frames of the lobby's 160, 26 of the 170 that are kept of the yard: each is short of a clip's first four."""
    predictor = engine_of(bundle, "cpu").predictor
    wanted = CacheFormat(predictor.frame_format, fps=10.0)
    footage = open_cache(footage_of(folders(place)), wanted, place / "cache")
    held_back = split_videos(footage.videos).held_back
    assert [(video.camera, video.num_frames) for video in held_back] == [("lobby", 24), ("yard", 26)]
    results = [each for video in measure_videos(predictor, footage, held_back, bundle.items_MC) for each in video]
    assert bundle.calibration.num_frames == len(results) == 20 + 22
    assert bundle.calibration.psnr_db.mean == pytest.approx(np.mean([each.psnr_db for each in results]), rel=1e-5)


def test_the_report_names_them_with_what_was_held_back(place: Path) -> None:
    page = (place / "run" / REPORT).read_text(encoding="utf-8")
    assert "<td>camera lobby</td><td>20 normal frames held back, PSNR " in page
    assert "<td>camera yard</td><td>22 normal frames held back, PSNR " in page


def test_a_run_goes_on_with_the_same_cameras_only(place: Path, tmp_path: Path, bundle: Bundle) -> None:
    again = replace(options(place), resume=True)
    made = load_bundle(train(folders(place), tmp_path / "same", MINIATURE, again))
    assert made.manifest.digests["weights.safetensors"] == bundle.manifest.digests["weights.safetensors"]
    assert read_settings(place / "run")["cameras"] == ["lobby", "yard"]
    with pytest.raises(FatalError, match=r"differs in cameras \(was \['lobby', 'yard'\], now None\)"):
        train(folders(place)[:1], tmp_path / "b", MINIATURE, again)
    with pytest.raises(FatalError, match=r"differs in cameras \(was \['lobby', 'yard'\], now \['yard', 'lobby'\]\)"):
        train(folders(place)[::-1], tmp_path / "b", MINIATURE, again)
    assert not (tmp_path / "b").exists()


def test_without_a_rate_that_fits_both_nothing_is_trained(place: Path, tmp_path: Path) -> None:
    wanted = replace(options(tmp_path), fps=None)
    with pytest.raises(FatalError, match=r"'lobby/a' has 10 frames a second and 'yard/b.avi' 20; give --fps"):
        train(folders(place), tmp_path / "bundle", MINIATURE, wanted)
    assert not any(tmp_path.iterdir()), "neither a run nor decoded footage"


@pytest.mark.parametrize(("first", "second", "channels"), [("grey", "red", 3), ("red", "grey", 3), ("grey", "dim", 1)])
def test_colour_is_kept_if_any_camera_has_some(tmp_path: Path, first: str, second: str, channels: int) -> None:
    for name in ("grey", "red", "dim"):
        write_video(tmp_path / name / "a.avi", 12, colour=name == "red")
    with joined_world("cpu") as world:
        sources = footage_of([tmp_path / first, tmp_path / second])
        material = gather_material(sources, MINIATURE, options(tmp_path), world)
    assert material.frame.channels == channels
    assert material.cameras == (first, second)
