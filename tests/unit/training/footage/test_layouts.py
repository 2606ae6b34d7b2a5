"""Public data sets are recognised as they are published, with their ground truth."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from schemas.arrays import UInt8
from schemas.errors import FatalError
from tests.unit.training.small_footage import write_images, write_video
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
    with pytest.raises(FatalError, match="must be a folder of videos"):
        find_layout(tmp_path / "absent")


NOT_LABELS = {
    "signs": np.array([-1, 1, 1]),
    "one and two": np.array([1, 2, 2]),
    "grey levels": np.array([0, 128, 255], np.uint8),
    "one and 255": np.array([0, 1, 255]),
    "probabilities": np.array([0.0, 0.3, 1.0]),
    "not a number": np.array([0.0, np.nan, 1.0]),
    "endless": np.array([0.0, np.inf, 1.0]),
    "words": np.array(["normal", "abnormal", "normal"]),
    "digits as text": np.array(["0", "1", "0"]),
    "bytes": np.array([b"0", b"1", b"0"]),
    "complex": np.array([0, 1, 1], complex),
}


@pytest.mark.parametrize("name", NOT_LABELS)
@pytest.mark.parametrize("file", ["labels/01.npy", "testing/test_frame_mask/01.npy", "frame_labels_x.npy"])
def test_values_that_do_not_say_what_is_abnormal_are_refused(tmp_path: Path, file: str, name: str) -> None:
    write_images(tmp_path / "testing" / "frames" / "01", 3)
    (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
    np.save(tmp_path / file, NOT_LABELS[name])
    layout = find_layout(tmp_path)
    first = repr(NOT_LABELS[name].ravel()[0].item())
    with pytest.raises(FatalError, match=r"must hold 0 = normal and 1 or 255 = abnormal, .* got ") as refused:
        layout.labels(layout.test[0])
    assert first in str(refused.value)
    assert file in str(refused.value)


@pytest.mark.parametrize("name", [name for name in NOT_LABELS if "text" not in name])
def test_masks_are_held_to_the_same(tmp_path: Path, name: str) -> None:
    write_images(tmp_path / "test" / "1", 3)
    values = np.broadcast_to(NOT_LABELS[name][:, None, None], (3, 4, 5))
    (tmp_path / "masks").mkdir()
    np.savez(tmp_path / "masks" / "1.npz", mask=values)
    layout = find_layout(tmp_path)
    with pytest.raises(FatalError, match="must hold 0 = normal and 1 or 255 = abnormal"):
        layout.masks(layout.test[0])


@pytest.mark.parametrize(
    "values",
    [[0, 1, 1], [False, True, True], [0.0, 1.0, 1.0], [0, 255, 255], [[0, 1, 1]], [[0], [1], [1]]],
    ids=str,
)
def test_every_accepted_form_says_the_same(tmp_path: Path, values: list[object]) -> None:
    write_images(tmp_path / "test" / "01", 3)
    (tmp_path / "labels").mkdir()
    np.save(tmp_path / "labels" / "01.npy", np.array(values))
    layout = find_layout(tmp_path)
    assert layout.labels(layout.test[0]).tolist() == [0, 1, 1]


@pytest.mark.parametrize("shape", [(), (3, 2), (3, 48, 64)])
def test_labels_must_be_one_a_frame(tmp_path: Path, shape: tuple[int, ...]) -> None:
    write_images(tmp_path / "test" / "01", 3)
    (tmp_path / "labels").mkdir()
    np.save(tmp_path / "labels" / "01.npy", np.zeros(shape))
    layout = find_layout(tmp_path)
    with pytest.raises(FatalError, match=r"must hold labels \(T,\), one a frame, got shape"):
        layout.labels(layout.test[0])


def test_mask_images_and_volumes_with_other_values_name_the_file(tmp_path: Path) -> None:
    write_ucsd(tmp_path / "ucsd")
    cv2.imwrite(str(tmp_path / "ucsd" / "Test" / "Test002_gt" / "003.bmp"), np.full((48, 64), 128, np.uint8))
    layout = find_layout(tmp_path / "ucsd")
    with pytest.raises(FatalError, match=r"003.bmp' must hold 0 = normal .* got 128"):
        layout.masks(layout.test[1])
    write_images(tmp_path / "avenue" / "testing_videos" / "01", 3)
    (tmp_path / "avenue" / "testing_label_mask").mkdir()
    cells = np.empty((1, 3), object)
    for index, mask in enumerate(masks(3, 1)):
        cells[0, index] = mask * 2
    savemat(tmp_path / "avenue" / "testing_label_mask" / "1_label.mat", {"volLabel": cells})
    layout = find_layout(tmp_path / "avenue")
    with pytest.raises(FatalError, match=r"1_label.mat', frame 1 must hold 0 = normal .* got 0, 2"):
        layout.masks(layout.test[0])
    cells[0, 1] = np.zeros((3, 3), np.uint8)
    savemat(tmp_path / "avenue" / "testing_label_mask" / "1_label.mat", {"volLabel": cells})
    with pytest.raises(FatalError, match=r"one mask \(H, W\) a frame, all of one size"):
        layout.masks(layout.test[0])


@pytest.mark.parametrize("span", ["0:2", "2:9", "5:3"])
def test_stretches_outside_the_clip_are_refused(tmp_path: Path, span: str) -> None:
    write_ucsd(tmp_path)
    (tmp_path / "Test" / "UCSDped2.m").write_text(f"x.gt_frame = [{span}];\nx.gt_frame = [];")
    layout = find_layout(tmp_path)
    with pytest.raises(FatalError, match=f"must name stretches of frames 1 to 6 of clip 1, got {span}"):
        layout.labels(layout.test[0])
    assert layout.labels(layout.test[1]).tolist() == [0] * 6
