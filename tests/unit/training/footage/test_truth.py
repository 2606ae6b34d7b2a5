"""Ground truth that does not fit is refused by name, and which of several places counts."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from schemas.errors import FatalError
from tests.unit.training.small_footage import write_images, write_video
from training.footage.layouts import Layout, find_layout
from training.footage.truth import _mask_volume, label_file


def scene(root: Path, count: int = 3, name: str = "1") -> Layout:
    """One test clip of our own layout."""
    write_images(root / "test" / name, count)
    return find_layout(root)


def saved(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)
    return path


def write_masks(path: Path, masks: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, mask=masks)


def write_mask_image(path: Path, level: int, size: tuple[int, int] = (4, 5)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full(size, level, np.uint8))


@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 4, 5, 1)])
def test_masks_must_be_one_image_a_frame(tmp_path: Path, shape: tuple[int, ...]) -> None:
    layout = scene(tmp_path)
    write_masks(tmp_path / "masks" / "1.npz", np.zeros(shape, np.uint8))
    with pytest.raises(FatalError, match=r"1.npz' must hold masks \(T, H, W\), one a frame, got shape \(3") as refused:
        layout.masks(layout.test[0])
    assert str(shape) in str(refused.value)


def test_masks_under_another_name_are_missed(tmp_path: Path) -> None:
    layout = scene(tmp_path)
    (tmp_path / "masks").mkdir()
    np.savez(tmp_path / "masks" / "1.npz", masks=np.zeros((3, 4, 5), np.uint8))
    with pytest.raises(FatalError, match=r"1.npz' must hold an array 'mask': .*; get the file again"):
        layout.masks(layout.test[0])


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    path = saved(tmp_path / "labels.npy", np.array([{"a": 1}, None], object))
    with pytest.raises(FatalError, match=r"labels.npy' must hold an array: .*pickle"):
        label_file(path)


@pytest.mark.parametrize("name", ["labels.npy", "masks.npz", "1_label.mat"])
def test_truth_that_was_cut_off_is_named_wherever_it_was(tmp_path: Path, name: str) -> None:
    path = tmp_path / "test" / "labels" / name
    masks = np.zeros((2, 4, 5), np.uint8)
    cells = np.empty(2, object)
    cells[:] = list(masks)
    path.parent.mkdir(parents=True)
    if name.endswith(".mat"):
        savemat(path, {"volLabel": cells}, do_compression=True)
    else:
        (np.savez if name.endswith(".npz") else np.save)(path, masks)
    whole = path.read_bytes()
    read = _mask_volume if name.endswith(".mat") else label_file
    for length in range(0, len(whole) - 1, 3):
        path.write_bytes(whole[:length])
        with pytest.raises(FatalError, match=f"{name}' must hold a"):
            read(path)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.arange(6), r"got 0, 1, 2, 3, 4, 5 \(int64\)"),
        (np.arange(9), r"got 0, 1, 2, 3, 4, 5 and 3 more \(int64\)"),
        (np.array(["x" * 50]), rf"got {repr('x' * 50)[:20]} \(<U50\)"),
    ],
)
def test_some_of_the_wrong_values_are_told(tmp_path: Path, values: np.ndarray, told: str) -> None:
    with pytest.raises(FatalError, match=told):
        label_file(saved(tmp_path / "labels.npy", values))


def test_folders_of_mask_images_are_read_by_number(tmp_path: Path) -> None:
    """As UCSD's are: the tenth after the ninth, files that an archive hides passed over."""
    write_images(tmp_path / "test" / "1", 11)
    for index in range(11):
        write_mask_image(tmp_path / "test" / "1_gt" / f"{index}.bmp", 255 if index == 10 else 0)
    (tmp_path / "test" / "1_gt" / "._3.bmp").write_bytes(b"not an image")
    layout = find_layout(tmp_path)
    assert layout.labels(layout.test[0]).tolist() == [0] * 10 + [1]


def test_an_empty_folder_of_masks_is_told(tmp_path: Path) -> None:
    layout = scene(tmp_path)
    (tmp_path / "test" / "1_gt").mkdir()
    with pytest.raises(FatalError, match=r"1_gt' must hold one .bmp a frame, found none; get the files again"):
        layout.masks(layout.test[0])


def test_mask_images_of_two_sizes_are_told(tmp_path: Path) -> None:
    layout = scene(tmp_path)
    for index, size in enumerate([(4, 5), (6, 7), (4, 5)]):
        write_mask_image(tmp_path / "test" / "1_gt" / f"{index}.bmp", 0, size)
    with pytest.raises(FatalError, match=r"1_gt' must be of one size, got 5 x 4, 7 x 6; get the files again"):
        layout.masks(layout.test[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"volLabel": np.empty((1, 0), object)}, r"must hold one mask \(H, W\) a frame, all of one size, got none"),
        ({"other": np.zeros(3)}, "must hold a cell array 'volLabel': 'volLabel'; get the file again"),
    ],
)
def test_volumes_without_masks_are_told(tmp_path: Path, content: dict[str, np.ndarray], message: str) -> None:
    layout = scene(tmp_path)
    (tmp_path / "testing_label_mask").mkdir()
    savemat(tmp_path / "testing_label_mask" / "1_label.mat", content)
    with pytest.raises(FatalError, match=message):
        layout.masks(layout.test[0])


def test_volumes_belong_to_clips_that_have_a_number(tmp_path: Path) -> None:
    """Avenue's clip 01 has volume 1; a clip of another name has none."""
    write_images(tmp_path / "test" / "01", 2)
    write_images(tmp_path / "test" / "first", 2)
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = np.zeros((4, 5), np.uint8), np.ones((4, 5), np.uint8)
    (tmp_path / "testing_label_mask").mkdir()
    savemat(tmp_path / "testing_label_mask" / "1_label.mat", {"volLabel": cells})
    layout = find_layout(tmp_path)
    assert [source.clip for source in layout.test] == ["01", "first"]
    assert layout.labels(layout.test[0]).tolist() == [0, 1]
    assert layout.masks(layout.test[1]) is None


def test_labels_count_before_masks_and_the_data_sets_own_before_a_neighbours(tmp_path: Path) -> None:
    layout = scene(tmp_path / "data")
    masks = np.zeros((3, 4, 5), np.uint8)
    masks[0] = 1
    write_masks(tmp_path / "data" / "masks" / "1.npz", masks)
    assert layout.labels(layout.test[0]).tolist() == [1, 0, 0]
    saved(tmp_path / "labels" / "1.npy", np.array([0, 0, 1]))
    assert layout.labels(layout.test[0]).tolist() == [0, 0, 1], "beside the data set's folder"
    saved(tmp_path / "data" / "labels" / "1.npy", np.array([0, 1, 0]))
    assert layout.labels(layout.test[0]).tolist() == [0, 1, 0], "in it"


def test_a_clip_without_any_truth_has_none(tmp_path: Path) -> None:
    layout = scene(tmp_path)
    assert layout.masks(layout.test[0]) is None
    with pytest.raises(FatalError, match=r"labels of '1' must be in '.*labels/1.npy', or as the data set publishes"):
        layout.labels(layout.test[0])


def test_labels_end_to_end_are_for_folders_of_images_only(tmp_path: Path) -> None:
    """How many frames a video has is not known before it is decoded, so nothing can be cut out of a common file."""
    write_images(tmp_path / "test" / "1", 3)
    saved(tmp_path / "frame_labels.npy", np.array([0, 1, 1]))
    layout = find_layout(tmp_path)
    assert layout.labels(layout.test[0]).tolist() == [0, 1, 1]
    write_video(tmp_path / "test" / "2.avi", 3)
    layout = find_layout(tmp_path)
    with pytest.raises(FatalError, match="there are none"):
        layout.labels(layout.test[0])


def test_a_line_of_stretches_may_have_any_spacing_and_touch_both_ends(tmp_path: Path) -> None:
    write_images(tmp_path / "test" / "Test001", 6, first=1)
    (tmp_path / "test" / "UCSDped1.m").write_bytes("% fran\xe7ais\nx{1}.gt_frame=[ 1 : 2 ,6:6 ];".encode("latin-1"))
    layout = find_layout(tmp_path)
    assert layout.kind == "ucsd"
    assert layout.labels(layout.test[0]).tolist() == [1, 1, 0, 0, 0, 1]


def test_fewer_lines_than_clips_are_told(tmp_path: Path) -> None:
    for name in ("Test001", "Test002"):
        write_images(tmp_path / "test" / name, 3)
    (tmp_path / "test" / "UCSDped1.m").write_text("x{1}.gt_frame = [1:2];")
    layout = find_layout(tmp_path)
    assert layout.labels(layout.test[0]).tolist() == [1, 1, 0]
    with pytest.raises(FatalError, match="must have a line 'gt_frame' for each test clip, has 1; get it again"):
        layout.labels(layout.test[1])
