"""Public data sets are recognised as they are published, with their ground truth."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from schemas.arrays import UInt8
from schemas.errors import FatalError
from tests.unit.training.footage import write_images, write_video
from training.footage.layouts import find_layout
from training.footage.sources import Source


def same(found: UInt8 | None, wanted: UInt8) -> bool:
    return found is not None and np.array_equal(found, wanted)


def names(sources: tuple[Source, ...]) -> list[str]:
    return [source.name for source in sources]


def masks(count: int, first_abnormal: int) -> np.ndarray:
    """Frames of 48 x 64; from ``first_abnormal`` on a rectangle is abnormal."""
    values = np.zeros((count, 48, 64), np.uint8)
    values[first_abnormal:, 10:20, 30:40] = 1
    return values


def test_own_layout(tmp_path: Path) -> None:
    write_video(tmp_path / "train" / "a.avi", 3)
    write_video(tmp_path / "test" / "b.avi", 4)
    write_images(tmp_path / "test" / "c", 4)
    for folder in ("labels", "masks"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "labels" / "b.npy", np.array([0, 0, 1, 1], np.uint8))
    np.save(tmp_path / "frame_labels_x.npy", np.zeros(99))
    np.savez(tmp_path / "masks" / "c.npz", mask=masks(4, 1))
    layout = find_layout(tmp_path)
    assert (layout.kind, names(layout.train), names(layout.test)) == ("engram", ["a.avi"], ["b.avi", "c"])
    assert layout.labels(layout.test[0]).tolist() == [0, 0, 1, 1]
    assert layout.masks(layout.test[0]) is None
    assert same(layout.masks(layout.test[1]), masks(4, 1))
    assert layout.labels(layout.test[1]).tolist() == [0, 1, 1, 1]


def write_ucsd(root: Path) -> None:
    """As in UCSD_Anomaly_Dataset.v1p2, with the hidden files that its archive carries."""
    for name in ("Train/Train001", "Train/Train002", "Test/Test001", "Test/Test002"):
        write_images(root / name, 6, first=1, suffix=".tif")
        (root / name / "._1.tif").write_bytes(b"not an image")
    for index, image in enumerate(masks(6, 2)):
        path = root / "Test" / "Test002_gt" / f"{index + 1:03}.bmp"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), 255 * image)


def test_ucsd_as_published(tmp_path: Path) -> None:
    write_ucsd(tmp_path)
    lines = [
        "TestVideoFile = {};",
        "TestVideoFile{end+1}.gt_frame = [2:3, 5:5];",
        "TestVideoFile{end+1}.gt_frame = [1:6];",
    ]
    (tmp_path / "Test" / "UCSDped2.m").write_text("\n".join(lines))
    layout = find_layout(tmp_path)
    assert layout.kind == "ucsd"
    assert names(layout.train) == ["Train001", "Train002"]
    assert names(layout.test) == ["Test001", "Test002"]
    assert [len(source.files) for source in layout.test] == [6, 6]
    assert layout.labels(layout.test[0]).tolist() == [0, 1, 1, 0, 1, 0]
    assert layout.labels(layout.test[1]).tolist() == [1] * 6
    assert layout.masks(layout.test[0]) is None
    assert same(layout.masks(layout.test[1]), masks(6, 2))


def test_ucsd_labels_follow_from_masks(tmp_path: Path) -> None:
    write_ucsd(tmp_path)
    layout = find_layout(tmp_path)
    assert layout.labels(layout.test[1]).tolist() == [0, 0, 1, 1, 1, 1]


def test_converted_frames_with_labels_end_to_end(tmp_path: Path) -> None:
    """As MNAD's data set folder: labels of all clips in one file beside it, other data sets' there too."""
    root = tmp_path / "ped2"
    write_images(root / "training" / "frames" / "01", 5, suffix=".jpg")
    write_images(root / "testing" / "frames" / "01", 3, suffix=".jpg")
    write_images(root / "testing" / "frames" / "02", 4, suffix=".jpg")
    np.save(tmp_path / "frame_labels_avenue.npy", np.ones((1, 20)))
    np.save(tmp_path / "frame_labels_ped2.npy", np.array([[0, 0, 1, 1, 0, 0, 1]]))
    layout = find_layout(root)
    assert (layout.kind, names(layout.train), names(layout.test)) == ("frames", ["01"], ["01", "02"])
    assert [layout.labels(clip).tolist() for clip in layout.test] == [[0, 0, 1], [1, 0, 0, 1]]


def test_avenue(tmp_path: Path) -> None:
    write_video(tmp_path / "training_videos" / "01.avi", 3)
    write_video(tmp_path / "testing_videos" / "01.avi", 4)
    folder = tmp_path / "ground_truth_demo" / "testing_label_mask"
    folder.mkdir(parents=True)
    cells = np.empty((1, 4), object)
    for index, mask in enumerate(masks(4, 3)):
        cells[0, index] = mask
    savemat(folder / "1_label.mat", {"volLabel": cells})
    layout = find_layout(tmp_path)
    assert (layout.kind, names(layout.train), names(layout.test)) == ("avenue", ["01.avi"], ["01.avi"])
    assert same(layout.masks(layout.test[0]), masks(4, 3))
    assert layout.labels(layout.test[0]).tolist() == [0, 0, 0, 1]


def test_shanghaitech(tmp_path: Path) -> None:
    write_video(tmp_path / "training" / "videos" / "01_001.avi", 3)
    write_images(tmp_path / "testing" / "frames" / "01_0014", 4, suffix=".jpg")
    for folder, values in (("test_frame_mask", np.array([0, 1, 1, 0])), ("test_pixel_mask", masks(4, 1) > 0)):
        (tmp_path / "testing" / folder).mkdir()
        np.save(tmp_path / "testing" / folder / "01_0014.npy", values)
    layout = find_layout(tmp_path)
    assert (layout.kind, names(layout.train), names(layout.test)) == ("shanghaitech", ["01_001.avi"], ["01_0014"])
    assert layout.labels(layout.test[0]).tolist() == [0, 1, 1, 0]
    assert same(layout.masks(layout.test[0]), masks(4, 1))


@pytest.mark.parametrize(("train", "test"), [("TRAIN", "Test"), ("Training", "TESTING"), ("Training_Videos", "test")])
def test_spelling_does_not_matter(tmp_path: Path, train: str, test: str) -> None:
    write_video(tmp_path / train / "a.avi", 2)
    write_video(tmp_path / test / "b.avi", 2)
    layout = find_layout(tmp_path)
    assert (names(layout.train), names(layout.test)) == (["a.avi"], ["b.avi"])


def test_a_plain_folder_is_taken_whole(tmp_path: Path) -> None:
    write_video(tmp_path / "camera" / "monday.avi", 2)
    write_images(tmp_path / "camera" / "tuesday", 2)
    layout = find_layout(tmp_path / "camera")
    assert (layout.kind, names(layout.train)) == ("plain", ["monday.avi", "tuesday"])
    assert layout.test == layout.train
    with pytest.raises(FatalError, match=r"labels of 'monday.avi' must be in .*labels/monday\.npy"):
        layout.labels(layout.test[0])


def test_one_data_set_in_an_outer_folder_is_found(tmp_path: Path) -> None:
    write_ucsd(tmp_path / "UCSDped2")
    assert find_layout(tmp_path).root == tmp_path / "UCSDped2"
    write_ucsd(tmp_path / "UCSDped1")
    with pytest.raises(FatalError, match="must hold one data set, it holds several: UCSDped1, UCSDped2"):
        find_layout(tmp_path)


def test_labels_end_to_end_must_fit(tmp_path: Path) -> None:
    write_images(tmp_path / "testing" / "frames" / "01", 3)
    np.save(tmp_path / "frame_labels_ped2.npy", np.zeros(4))
    layout = find_layout(tmp_path)
    assert layout.train == ()
    with pytest.raises(FatalError, match="one label for each of the 3 test frames, got 4"):
        layout.labels(layout.test[0])


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("labels/01.npy", b"broken", "must hold an array"),
        ("masks/01.npz", b"broken", "must hold an array 'mask'"),
        ("testing_label_mask/1_label.mat", b"broken", "must hold a cell array 'volLabel'"),
        ("test/01_gt/1.bmp", b"broken", "must be an image OpenCV can read"),
        ("test/UCSDped1.m", b"nothing", "must have a line 'gt_frame' for each test clip, has 0"),
    ],
)
def test_broken_ground_truth_is_named(tmp_path: Path, file: str, content: bytes, message: str) -> None:
    write_images(tmp_path / "test" / "01", 3)
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(content)
    layout = find_layout(tmp_path)
    with pytest.raises(FatalError, match=message):
        layout.labels(layout.test[0])


def test_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="must hold videos or folders of images"):
        find_layout(tmp_path / "absent")
