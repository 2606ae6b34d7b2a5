"""What the pictures of a report show: each curve, the clips as they are, the threshold of the gate."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from bundles.calibration import Calibration
from inference.formats import ClipFormat
from inference.scoring import FrameMeasures, fit_calibration
from networks.registry import build_network
from schemas.errors import FatalError
from tests.unit.training.scene import build, ramp
from tests.unit.training.small_footage import MINIATURE
from training.evaluation.measuring import Calibrated
from training.footage.dataset import FrameCache, Video
from training.report import (
    ERROR_RANGE,
    WARNING,
    Outcome,
    Sample,
    as_rgb,
    calibration_figure,
    curve_figure,
    sample_figure,
    sample_predictions,
    write_report,
)

CLIP = ClipFormat(5)


def sample(blue: int, frame: int = 0) -> Sample:
    """Pictures of 2 x 3 whose blue says which is which."""
    seen, wanted, made = (np.zeros((2, 3, 3), np.uint8) for _ in range(3))
    for step, picture in enumerate((seen, wanted, made)):
        picture[..., 0] = blue + step
    return Sample(seen, wanted, made, np.full((2, 3), 0.0125, np.float32), frame)


@pytest.fixture(scope="module")
def calibrated() -> Calibrated:
    """Two videos of 30 and 20 normal frames."""
    random = np.random.default_rng(0)
    measures = [
        FrameMeasures(float(random.normal(30, 1)), float(random.normal(1, 0.1)), float(random.gamma(4, 1e-3)), 0.01 + n)
        for n in range(50)
    ]
    videos = (tuple(measures[:30]), tuple(measures[30:]))
    return Calibrated(fit_calibration(videos, 10.0), videos)


POINTS = [
    {"step": 25, "loss/pixel": 0.5, "loss/compactness": 0.1, "loss/total": 0.51, "learning_rate": 1e-3},
    {"step": 30, "validation/pixel": 0.25},
    {"step": 50, "loss/pixel": 0.3, "loss/compactness": 0.2, "loss/total": 0.32, "learning_rate": 5e-4},
    {"step": 60, "validation/pixel": 0.75},
]


def test_each_loss_has_a_curve_and_the_validation_lies_over_the_pixel_error() -> None:
    figure = curve_figure(POINTS)
    drawn = {axes.get_title(): axes for axes in figure.axes}
    assert list(drawn) == ["pixel", "compactness", "total", "learning rate"]
    training, held_back = drawn["pixel"].lines
    assert np.asarray(training.get_xydata()).tolist() == [[25, 0.5], [50, 0.3]]
    assert np.asarray(held_back.get_xydata()).tolist() == [[30, 0.25], [60, 0.75]]
    assert (training.get_label(), held_back.get_label()) == ("training", "held back")
    assert np.asarray(drawn["learning rate"].lines[0].get_ydata()).tolist() == [1e-3, 5e-4]
    assert [len(axes.lines) for axes in figure.axes] == [2, 1, 1, 1]
    assert {title for title, axes in drawn.items() if axes.get_yscale() == "log"} == {"pixel", "total"}


def test_the_gate_is_drawn_over_the_regular_scores_that_it_parts(calibrated: Calibrated) -> None:
    *others, regular = calibration_figure(calibrated).axes
    assert regular.get_title() == "regular score"
    assert not any(axes.lines for axes in others)
    (line,) = regular.lines
    assert line.get_color() == WARNING
    at, upward = np.asarray(line.get_xdata())
    assert at == upward == calibrated.calibration.gate_threshold
    scores = [frame.regular_score for video in calibrated.measures for frame in video]
    assert sum(score < at for score in scores) == 49, "the gate lets 99 % teach"


def test_every_frame_held_back_is_in_each_histogram(calibrated: Calibrated) -> None:
    figure = calibration_figure(calibrated)
    values = [
        [frame.psnr_db for video in calibrated.measures for frame in video],
        np.log([frame.patch_error for video in calibrated.measures for frame in video]).tolist(),
        [frame.feature_distance for video in calibrated.measures for frame in video],
    ]
    for axes, of in zip(figure.axes, values, strict=False):
        bars = [bar for bar in axes.patches if isinstance(bar, Rectangle)]
        assert sum(bar.get_height() for bar in bars) == 50
        assert bars[0].get_x() == pytest.approx(min(of))
        assert bars[-1].get_x() + bars[-1].get_width() == pytest.approx(max(of))
    assert [axes.get_ylabel() for axes in figure.axes] == ["frames", "", "", ""]


def test_a_row_shows_input_target_result_and_error_of_one_clip() -> None:
    figure = sample_figure([sample(10), sample(200)])
    rows = [figure.axes[:4], figure.axes[4:8]]
    for row, blue in zip(rows, (10, 200), strict=True):
        assert [axes.get_title() for axes in row[:3]] == ["newest input", "target", "made"]
        pictures = [np.asarray(axes.images[0].get_array()) for axes in row[:3]]
        assert [picture[0, 0].tolist() for picture in pictures] == [[0, 0, blue + step] for step in range(3)]
        assert row[3].get_title() == "squared error, mean 0.01250"
        assert row[3].images[0].get_clim() == (0, ERROR_RANGE), "the same scale in every row"


def test_colours_are_turned_round_for_a_screen() -> None:
    bgr = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert as_rgb(bgr)[0].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert as_rgb(bgr[..., :1])[0].tolist() == [[0, 0, 0], [3, 3, 3]]


def test_samples_of_every_second_frame_show_the_frames_of_their_clip() -> None:
    footage = ramp(12)
    clip = ClipFormat(5, stride=2)
    found = sample_predictions(build(), np.eye(3, 8, dtype=np.float32), footage, np.array([0, 3]), clip)
    assert [each.frame for each in found] == [8, 11]
    for each in found:
        assert np.array_equal(each.target_HWK, footage.frames_FHWC[each.frame])
        assert np.array_equal(each.newest_input_HWK, footage.frames_FHWC[each.frame - 2])


def test_pixels_come_back_from_the_network_as_they_went_in() -> None:
    """A network that rebuilds has its input as target: every level from 0 to 255 survives the way there and back."""
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    footage = FrameCache(levels, (Video("a", 0, 1, 10.0),), "0" * 64)
    network = build_network(
        "mnad-reconstruction", {"width": 4, "depth": 2, "channels": 1, "clip_length": 1, "num_items": 3}
    )
    (found,) = sample_predictions(network, np.eye(3, 8, dtype=np.float32), footage, np.array([0]), ClipFormat(1))
    assert np.array_equal(found.target_HWK, levels[0])
    made = found.made_HWK[..., 0].astype(float)
    assert np.allclose(np.square((made - levels[0, ..., 0]) / 255), found.error_HW, atol=5e-3)


def test_a_report_that_cannot_be_written_is_told(tmp_path: Path, calibrated: Calibrated) -> None:
    with pytest.raises(FatalError, match=r"there must be room for '.*absent/report.html'"):
        write_report(tmp_path / "absent", Outcome(MINIATURE, tmp_path / "b", [sample(10)], calibrated))


def test_the_figures_of_a_report_are_the_calibrations(tmp_path: Path, calibrated: Calibrated) -> None:
    page = write_report(tmp_path, Outcome(MINIATURE, tmp_path / "b", [sample(10)], calibrated)).read_text("utf-8")
    calibration: Calibration = calibrated.calibration
    assert f"<td>{calibration.psnr_db.mean:.2f} ± {calibration.psnr_db.std:.2f} dB</td>" in page
    assert f"below a regular score of {calibration.gate_threshold:.5f}</td>" in page
    assert "Measures of 50 normal frames that were not learned" in page
    assert "<td>steps</td><td>0</td>" in page
    assert "validation error" not in page
