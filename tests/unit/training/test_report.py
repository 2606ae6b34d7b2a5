"""The report, the clips it shows, and the calibration it draws."""

import base64
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from bundles.calibration import Calibration
from inference.engine import ClipResult, Predictor
from inference.error_map import speed_scale_of, weigh_errors
from inference.formats import ClipFormat, FrameFormat
from inference.scoring import StatisticOptions
from networks.memory import initial_items
from networks.registry import build_network
from schemas.errors import FatalError
from tests.unit.training.scene import PARAMETERS, build, ramp
from tests.unit.training.small_footage import MINIATURE, image
from training.evaluation.measuring import Calibrated, calibrate, measure_videos
from training.footage.dataset import FrameCache
from training.footage.material import clip_starts
from training.loop.run_folder import claim_run, open_curves
from training.report import Outcome, Sample, sample_predictions, write_report

FOOTAGE = ramp()
ITEMS = initial_items(PARAMETERS.num_items, PARAMETERS.item_dim, torch.Generator().manual_seed(0)).numpy()


@pytest.fixture(scope="module")
def results() -> list[list[ClipResult]]:
    torch.manual_seed(0)
    predictor = Predictor(build(), FrameFormat(32, 24, 1), "cpu")
    return measure_videos(predictor, FOOTAGE, FOOTAGE.videos, ITEMS)


@pytest.fixture(scope="module")
def calibrated(results: list[list[ClipResult]]) -> Calibrated:
    return calibrate(results, 10.0, StatisticOptions(feature_weight=0.3))


def samples_of(model: str, **parameters: object) -> list[Sample]:
    torch.manual_seed(0)
    network = build_network(model, {"channels": 1, **parameters})
    shape = network.bank_shape
    items = np.zeros((0, 0), np.float32) if shape is None else ITEMS
    clip = ClipFormat(network.shape.clip_length)
    return sample_predictions(network, items, FOOTAGE, clip_starts(FOOTAGE.videos, clip, 1), clip)


def test_calibration_is_fitted_on_what_the_live_score_is_made_of(
    results: list[list[ClipResult]], calibrated: Calibrated
) -> None:
    fitted = calibrated.calibration
    assert (fitted.num_frames, fitted.fps, fitted.feature_weight) == (36, 10.0, 0.3)
    assert [len(video) for video in calibrated.measures] == [36]
    again = weigh_errors(results[0][7], fitted.speed_scale).measures
    assert calibrated.measures[0][7] == again
    logs = np.log([frame.patch_error for frame in calibrated.measures[0]])
    assert fitted.log_patch_error.mean == pytest.approx(logs.mean())


def test_speeds_count_where_something_moves() -> None:
    """A square that runs, 1.5 pixels a frame at this size; a network that sees single frames sees no speed."""
    frames = np.stack([image(index)[::2, ::2, :1] for index in range(40)])
    moving = FrameCache(frames, FOOTAGE.videos, "0" * 64)
    scales = {}
    for model, length in (("mnad-prediction", 5), ("mnad-reconstruction", 1)):
        parameters = {"width": 4, "depth": 2, "num_items": 3, "channels": 1, "clip_length": length}
        predictor = Predictor(build_network(model, parameters), FrameFormat(32, 24, 1), "cpu")
        results = measure_videos(predictor, moving, moving.videos, ITEMS)
        scales[model] = calibrate(results, 10.0, StatisticOptions()).calibration.speed_scale
        assert scales[model] == speed_scale_of(results[0])
        assert calibrate(results, 10.0, StatisticOptions(speed="ignored")).calibration.speed_scale is None
    scale = scales["mnad-prediction"]
    assert scale is not None
    assert scale.top_px > 0.5
    assert scales["mnad-reconstruction"] is None


def test_samples_of_a_network_that_predicts() -> None:
    samples = samples_of("mnad-prediction", width=4, depth=2, num_items=3)
    assert [sample.frame for sample in samples] == [4, 16, 27, 39]
    for sample in samples:
        assert np.array_equal(sample.target_HWK, FOOTAGE.frames_FHWC[sample.frame])
        assert np.array_equal(sample.newest_input_HWK, FOOTAGE.frames_FHWC[sample.frame - 1])
        difference = (sample.made_HWK.astype(float) - sample.target_HWK)[..., 0] / 255
        assert np.allclose(np.square(difference), sample.error_HW, atol=0.01)


@pytest.mark.parametrize(
    ("model", "parameters", "within"),
    [
        ("mnad-reconstruction", {"width": 4, "depth": 2, "num_items": 3, "clip_length": 1}, 0),
        ("memae", {"widths": (4, 4), "num_items": 6, "clip_length": 4}, 3),
        ("memae", {"widths": (4, 4), "num_items": 6, "clip_length": 12}, 8),
    ],
)
def test_samples_of_a_network_that_rebuilds(model: str, parameters: dict[str, object], within: int) -> None:
    """The target is the input; of a clip, the frame that the paper scores."""
    sample = samples_of(model, **parameters)[0]
    assert sample.frame == within
    assert np.array_equal(sample.target_HWK, FOOTAGE.frames_FHWC[within])
    assert np.array_equal(sample.newest_input_HWK, sample.target_HWK)
    assert sample.error_HW.shape == (24, 32)


def test_the_report_is_one_file_with_all_its_pictures(tmp_path: Path, calibrated: Calibrated) -> None:
    claim_run(tmp_path, {"model": "mnad-prediction", "recipe": {"epochs": 2}}, resume=False)
    with open_curves(tmp_path, 0) as curves:
        curves.add(25, {"loss/pixel": 0.5, "loss/compactness": 0.1, "loss/total": 0.51, "learning_rate": 1e-3})
        curves.add(30, {"validation/pixel": 0.25})
        curves.add(60, {"validation/pixel": 0.75})
    samples = samples_of("mnad-prediction", width=4, depth=2, num_items=3)
    path = write_report(tmp_path, Outcome(MINIATURE, Path("bundles") / "<lobby>", samples, calibrated))
    page = path.read_text(encoding="utf-8")
    assert "bundles/&lt;lobby&gt;" in page
    assert "<lobby>" not in page
    assert "0.750000 at the end; least 0.250000 at step 30" in page
    assert "<td>recipe.epochs</td><td>2</td>" in page
    pictures = [base64.b64decode(text) for text in re.findall(r'base64,([^"]+)"', page)]
    images = [cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR) for picture in pictures]
    shapes = [image.shape for image in images if image is not None]
    assert len(shapes) == 3
    assert all(width > 800 and height > 200 for height, width, _ in shapes)


def test_a_run_too_short_for_a_curve_is_reported_too(tmp_path: Path, calibrated: Calibrated) -> None:
    samples = samples_of("mnad-prediction", width=4, depth=2, num_items=3)
    assert write_report(tmp_path, Outcome(MINIATURE, tmp_path / "b", samples, calibrated)).stat().st_size > 50_000


def test_too_few_frames_are_told(results: list[list[ClipResult]]) -> None:
    with pytest.raises(FatalError, match="at least 20 scored normal frames, got 5"):
        calibrate([results[0][:5]], 10.0, StatisticOptions())


def test_a_calibration_is_what_a_bundle_stores(calibrated: Calibrated) -> None:
    stored = calibrated.calibration.model_dump_json()
    assert Calibration.model_validate_json(stored) == calibrated.calibration
