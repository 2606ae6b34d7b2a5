"""Clips to measure ranges on and to compare on, from normal video or from nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.engine import Predictor, network_of
from inference.formats import ClipFormat, FrameFormat
from schemas.errors import FatalError
from tests.small_bundle import small_bundle
from tests.unit.training.small_footage import write_images
from training.evaluation.measuring import measure_videos
from training.export.footage import NormalFootage, invented_clips, normal_footage_for
from training.footage.dataset import FrameCache, Video
from training.footage.material import Split

FRAMES = np.broadcast_to(np.arange(100, dtype=np.uint8)[:, None, None, None], (100, 4, 4, 1))
PARTS = (Video("a", 0, 40, 10.0), Video("b", 40, 40, 10.0), Video("c", 80, 20, 10.0))
FOOTAGE = NormalFootage(FrameCache(FRAMES, PARTS, "0" * 64), Split(PARTS[:2], PARTS[2:]), ClipFormat(3, 2), 10.0)


def firsts(count: int) -> list[int]:
    return FOOTAGE.spread_clips(count)[:, 0, 0, 0, 0].tolist()


def test_clips_are_spread_from_the_first_to_the_last_that_may_be_learned() -> None:
    """72 clips begin at 0 to 35 and 40 to 75; none reaches into what is held back or over a cut."""
    assert firsts(2) == [0, 75]
    assert firsts(5) == [0, 18, 40, 57, 75]
    assert (np.diff(FOOTAGE.spread_clips(9)[..., 0, 0, 0]) == 2).all()


def test_more_clips_than_there_are_come_once_each() -> None:
    assert firsts(1000) == [*range(36), *range(40, 76)]


def test_invented_clips_are_always_the_same_and_coarse() -> None:
    """Blocks of 8 pixels, cut where the size is no multiple; single pixels of noise would be like no video."""
    clips = invented_clips(FrameFormat(20, 12, 3), 5, 4)
    assert clips.shape == (4, 5, 12, 20, 3)
    assert clips.dtype == np.uint8
    assert np.array_equal(clips, invented_clips(FrameFormat(20, 12, 3), 5, 4))
    assert clips.flags.c_contiguous
    assert (clips[:, :, :8, :8] == clips[:, :, :1, :1]).all()
    assert (clips[:, :, 8:, 16:] == clips[:, :, 8:9, 16:17]).all()
    assert len(np.unique(clips[:, :, 0, 0], axis=0)) == 4
    assert clips.min() < 10
    assert clips.max() > 245


def test_the_calibration_is_of_what_was_held_back_in_the_form_of_the_bundles_own(tmp_path: Path) -> None:
    form = {"smoothing_s": 0.7, "feature_weight": 0.25, "speed_scale": None, "cameras": ("lobby",)}
    bundle = small_bundle()
    bundle = replace(bundle, calibration=bundle.calibration.model_copy(update=form))
    write_images(tmp_path / "data", 200)
    footage = normal_footage_for(bundle, [tmp_path / "data"], tmp_path / "cache")
    predictor = Predictor(network_of(bundle), FrameFormat(32, 24, 1), "cpu")
    found = footage.calibration(predictor, bundle)
    assert (found.smoothing_s, found.feature_weight, found.speed_scale, found.cameras) == (0.7, 0.25, None, ("lobby",))
    assert (found.num_frames, found.fps) == (30 - 4, 10.0)
    (tail,) = footage.split.held_back
    assert (tail.first_frame, tail.num_frames) == (170, 30)
    psnr_db = [result.psnr_db for result in measure_videos(predictor, footage.frames, [tail], bundle.items_MC)[0]]
    assert found.psnr_db.mean == pytest.approx(np.mean(psnr_db), rel=1e-5)


def test_every_camera_has_its_part_in_the_calibration(tmp_path: Path) -> None:
    bundle = small_bundle()
    for name in ("lobby", "yard"):
        write_images(tmp_path / name / "a", 160)
    footage = normal_footage_for(bundle, [tmp_path / "lobby", tmp_path / "yard"], tmp_path / "cache")
    assert [(video.camera, video.num_frames) for video in footage.split.held_back] == [("lobby", 24), ("yard", 24)]
    found = footage.calibration(Predictor(network_of(bundle), FrameFormat(32, 24, 1), "cpu"), bundle)
    assert (found.num_frames, found.fps) == (2 * 20, 10.0)


def test_too_little_to_calibrate_with_is_told_before_anything_is_converted(tmp_path: Path) -> None:
    """Of 100 frames 15 are held back, which make 11 clips."""
    write_images(tmp_path / "data", 100)
    with pytest.raises(FatalError, match="at least 20 clips of 5 frames, got 11 from 15 frames"):
        normal_footage_for(small_bundle(), [tmp_path / "data"], tmp_path / "cache")
