"""Test footage with its truth, and everything that may not fit."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.formats import ClipFormat, FrameFormat
from schemas.errors import FatalError
from tests.unit.training.labelled_scene import (
    HEIGHT,
    WIDTH,
    turning_noisy,
    write_clip,
    write_labels,
    write_masks,
    write_scene,
    write_video,
)
from training.footage.dataset import CacheFormat
from training.footage.labelled import LabelledFootage, open_labelled

WANTED = CacheFormat(FrameFormat(32, 24, 1))


def opened(root: Path, labels: Path | None = None, clip: ClipFormat | None = None) -> LabelledFootage:
    return open_labelled(root, labels, WANTED, clip or ClipFormat(5), root.parent / "cache")


def test_a_layout_is_enough(tmp_path: Path) -> None:
    footage = opened(write_scene(tmp_path / "any name"))
    assert [clip.name for clip in footage.clips] == ["calm", "turning"]
    calm, turning = footage.clips
    assert turning.labels_T.tolist() == turning_noisy().tolist()
    assert calm.masks() is None
    masks = turning.masks()
    assert masks is not None
    assert masks.shape == (40, HEIGHT, WIDTH)
    assert np.array_equal(masks.any(axis=(1, 2)), turning_noisy() != 0)


def test_labels_from_another_folder(tmp_path: Path) -> None:
    root = write_scene(tmp_path / "data")
    (root / "labels").rename(tmp_path / "elsewhere")
    write_labels(root, "calm", np.ones(30))
    footage = opened(root, tmp_path / "elsewhere")
    assert [int(clip.labels_T.sum()) for clip in footage.clips] == [0, 20]


@pytest.mark.parametrize("count", [29, 30])
def test_of_faster_footage_frames_are_kept_with_their_truth(tmp_path: Path, count: int) -> None:
    """Ten frames a second, of which a network of five wants every second; the last of 29 or 30 has index 28."""
    root = write_scene(tmp_path / "data")
    write_video(root / "test" / "calm.avi", 0, count)
    write_labels(root, "calm", np.arange(count) % 2)
    calm, turning = open_labelled(root, None, replace(WANTED, fps=5.0), ClipFormat(5), tmp_path / "cache").clips
    assert (calm.video.num_frames, calm.video.fps, int(calm.labels_T.sum())) == (15, 5.0, 0)
    assert turning.labels_T.tolist() == turning_noisy()[::2].tolist()
    masks = turning.masks()
    assert masks is not None
    assert np.array_equal(masks.any(axis=(1, 2)), turning_noisy()[::2] != 0)


def test_a_rate_that_is_no_whole_part_keeps_truth_in_step_too(tmp_path: Path) -> None:
    root = write_scene(tmp_path / "data")
    _, turning = open_labelled(root, None, replace(WANTED, fps=4.0), ClipFormat(5), tmp_path / "cache").clips
    kept = [0, 2, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27, 30, 32, 35, 37]
    assert turning.labels_T.tolist() == turning_noisy()[kept].tolist()
    masks = turning.masks()
    assert masks is not None
    assert np.array_equal(masks.any(axis=(1, 2)), turning_noisy()[kept] != 0)


def test_labels_of_faster_footage_are_one_a_frame_all_the_same(tmp_path: Path) -> None:
    root = write_scene(tmp_path / "data")
    for count in (15, 28, 31):
        write_labels(root, "calm", np.zeros(count))
        with pytest.raises(FatalError, match=f"'calm.avi' must have one label a frame, got {count} for 30 frames"):
            open_labelled(root, None, replace(WANTED, fps=5.0), ClipFormat(5), tmp_path / "cache")


@pytest.mark.parametrize("count", [39, 41])
def test_labels_of_another_length_name_both(tmp_path: Path, count: int) -> None:
    root = write_scene(tmp_path / "data")
    write_labels(root, "turning", np.zeros(count))
    with pytest.raises(FatalError, match=f"'turning' must have one label a frame, got {count} for 40 frames"):
        opened(root)


@pytest.mark.parametrize("count", [29, 31])
def test_labels_of_a_video_too(tmp_path: Path, count: int) -> None:
    root = write_scene(tmp_path / "data")
    write_labels(root, "calm", np.zeros(count))
    with pytest.raises(FatalError, match=f"'calm.avi' must have one label a frame, got {count} for 30 frames"):
        opened(root)


def test_missing_labels_are_named(tmp_path: Path) -> None:
    root = write_scene(tmp_path / "data")
    (root / "labels" / "calm.npy").unlink()
    with pytest.raises(FatalError, match=r"labels of 'calm.avi' must be in '.*calm.npy'"):
        opened(root)
    with pytest.raises(FatalError, match=r"labels of 'calm.avi' must be in '.*none/calm.npy', there is no such file"):
        opened(root, tmp_path / "none")


def test_labels_that_are_no_array(tmp_path: Path) -> None:
    root = write_scene(tmp_path / "data")
    (root / "labels" / "calm.npy").write_text("0 0 1")
    with pytest.raises(FatalError, match=r"'.*calm.npy' must hold an array"):
        opened(root)
    with pytest.raises(FatalError, match=r"'.*calm.npy' must hold an array"):
        opened(root, root / "labels")


def test_masks_of_another_length_or_size(tmp_path: Path) -> None:
    root = write_scene(tmp_path / "data")
    write_masks(root, "turning", turning_noisy(38))
    with pytest.raises(FatalError, match="'turning' must have one mask a frame, got 38 for 40 frames"):
        opened(root).check_masks()
    write_masks(root, "turning", turning_noisy(), size=(24, 32))
    with pytest.raises(FatalError, match="masks of 'turning' must be 64 x 48 pixels as its frames are, got 32 x 24"):
        opened(root).check_masks()


def test_footage_shorter_than_a_clip_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_scene(tmp_path / "data")
    with caplog.at_level(logging.WARNING):
        footage = opened(root, clip=ClipFormat(32))
    assert [clip.name for clip in footage.clips] == ["turning"]
    assert "'calm.avi' has 30" in caplog.text
    with pytest.raises(FatalError, match="at least 61 frames, which make one clip"):
        opened(root, clip=ClipFormat(16, stride=4))


def test_no_test_footage(tmp_path: Path) -> None:
    write_clip(tmp_path / "data" / "train" / "a", 0, 5)
    with pytest.raises(FatalError, match="must hold test footage in a folder 'test'"):
        opened(tmp_path / "data")


def test_an_unreadable_frame_in_the_middle_keeps_the_truth_in_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_scene(tmp_path / "data")
    (root / "test" / "turning" / "17.jpg").write_bytes(b"not an image")
    with caplog.at_level(logging.WARNING):
        footage = opened(root)
    assert "17.jpg" in caplog.text
    assert [clip.name for clip in footage.clips] == ["calm", "turning", "turning from frame 18"]
    before, after = footage.clips[1:]
    assert before.labels_T.tolist() == turning_noisy()[:17].tolist()
    assert after.labels_T.tolist() == turning_noisy()[18:].tolist()
    masks = after.masks()
    assert masks is not None
    assert np.array_equal(masks.any(axis=(1, 2)), turning_noisy()[18:] != 0)


def test_an_unreadable_file_among_others_is_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_scene(tmp_path / "data")
    write_video(root / "test" / "broken.avi", 0, 10)
    (root / "test" / "broken.avi").write_bytes(b"not a video")
    write_labels(root, "broken", np.zeros(10))
    with caplog.at_level(logging.WARNING):
        footage = opened(root)
    assert "broken.avi" in caplog.text
    assert [clip.name for clip in footage.clips] == ["calm", "turning"]


def test_a_video_that_was_cut_off_keeps_the_labels_of_what_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_scene(tmp_path / "data")
    video = root / "test" / "calm.avi"
    write_video(video, 0, 60)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    truth = np.arange(60) % 7 == 0
    write_labels(root, "calm", truth)
    write_masks(root, "calm", truth)
    with caplog.at_level(logging.WARNING):
        calm = opened(root).clips[0]
    assert "calm.avi' from frame" in caplog.text
    assert 10 < len(calm.labels_T) < 60
    assert calm.labels_T.tolist() == truth[: len(calm.labels_T)].astype(int).tolist()
    masks = calm.masks()
    assert masks is not None
    assert len(masks) == len(calm.labels_T)
    write_labels(root, "calm", np.zeros(50))
    with pytest.raises(FatalError, match=f"got 50 for {len(calm.labels_T)} frames"):
        opened(root)


def test_labels_of_another_folder_are_held_to_the_same_values(tmp_path: Path) -> None:
    root = write_scene(tmp_path / "data")
    np.save(root / "labels" / "calm.npy", np.where(np.arange(30) > 3, 1, -1))
    with pytest.raises(FatalError, match=r"calm.npy' must hold 0 = normal and 1 or 255 = abnormal, .* got -1, 1"):
        opened(root, root / "labels")
