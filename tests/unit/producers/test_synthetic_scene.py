"""The synthetic walkway: the same every time, plausible where it can be measured, and true to its truth."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from producers.synthetic import KINDS, AnomalyOptions, SyntheticScene, Truth, write_video
from producers.synthetic.camera import Camera
from producers.synthetic.truth import read_truth
from schemas.errors import FatalError, SettingsError


def film(num: int, seed: int = 1, **fields) -> np.ndarray:
    return np.stack(list(SyntheticScene(seed, **fields).frames(num)))


@pytest.fixture(scope="module")
def four_minutes() -> Truth:
    return SyntheticScene(5, size=(64, 48)).truth(2400)


def test_frames_are_pictures() -> None:
    frames = film(3)
    assert frames.shape == (3, 240, 320, 3)
    assert frames.dtype == np.uint8
    assert 60 < frames.mean() < 180
    assert frames.std() > 20


def test_the_same_seed_gives_the_same_film() -> None:
    assert (film(30) == film(30)).all()


def test_a_longer_film_begins_like_a_shorter_one() -> None:
    assert (film(40)[:15] == film(15)).all()


def test_frames_start_anew_at_each_call() -> None:
    scene = SyntheticScene(2, size=(64, 48))
    first = next(scene.frames())
    assert len(list(scene.frames(5))) == 5
    assert (next(scene.frames()) == first).all()


def test_other_seeds_have_other_people_in_the_same_place() -> None:
    one, other = (np.median(film(300, seed, size=(160, 120), anomalies=False)[::5], axis=0) for seed in (1, 2))
    place_differs = np.abs(one / one.mean() - other / other.mean())
    assert place_differs.mean() < 0.03
    assert np.abs(film(1, 1).astype(int) - film(1, 2).astype(int)).max() > 60


def test_something_moves() -> None:
    frames = film(20, anomalies=False).astype(int)
    noise = 6 * 2.5
    moved = (np.abs(frames[10] - frames[0]).max(axis=2) > noise).mean()
    assert 0.005 < moved < 0.3


def test_size_and_rate_are_free() -> None:
    assert film(2, size=(128, 96)).shape == (2, 96, 128, 3)
    slow, fast = SyntheticScene(1, fps=5, size=(160, 120)), SyntheticScene(1, fps=10, size=(160, 120))
    later_slow, later_fast = list(slow.frames(6))[5].astype(int), list(fast.frames(11))[10].astype(int)
    assert np.abs(later_slow - later_fast).max() < 40  # noise apart, the same second of the same scene


def test_normal_footage_has_no_anomaly() -> None:
    truth = SyntheticScene(1, size=(64, 48), anomalies=False).truth(900)
    assert not any(truth.labels)
    assert truth.anomalies == ()


def test_nothing_happens_in_the_first_seconds(four_minutes: Truth) -> None:
    assert not any(four_minutes.labels[:80])
    for seed in range(20):
        assert not any(SyntheticScene(seed, size=(32, 32)).truth(80).labels)


def test_calm_stretches(four_minutes: Truth) -> None:
    gaps = [
        later.first_frame - earlier.last_frame - 1
        for earlier, later in zip(four_minutes.anomalies, four_minutes.anomalies[1:], strict=False)
    ]
    assert min(gaps) >= 60


def test_how_often(four_minutes: Truth) -> None:
    assert 12 <= len(four_minutes.anomalies) <= 20
    rare = SyntheticScene(5, size=(32, 32), anomalies=AnomalyOptions(per_minute=1)).truth(2400)
    assert 2 <= len(rare.anomalies) <= 6


def test_every_kind_comes(four_minutes: Truth) -> None:
    assert {one.kind for one in four_minutes.anomalies} == set(KINDS)


def test_chosen_kinds_only() -> None:
    options = AnomalyOptions(kinds=("cart", "bag"))
    truth = SyntheticScene(1, size=(32, 32), anomalies=options).truth(1200)
    assert {one.kind for one in truth.anomalies} == {"cart", "bag"}


def test_labels_and_boxes_agree(four_minutes: Truth) -> None:
    labels = np.zeros(2400, np.uint8)
    for one in four_minutes.anomalies:
        assert len(one.boxes) == one.last_frame - one.first_frame + 1
        assert all(box.x >= 0 and box.x + box.width <= 64 for box in one.boxes)
        assert all(box.y >= 0 and box.y + box.height <= 48 for box in one.boxes)
        labels[one.first_frame : one.last_frame + 1] = 1
    assert (labels == four_minutes.labels_array()).all()


def test_a_longer_film_has_the_truth_of_a_shorter_one_and_more() -> None:
    options = AnomalyOptions(first_after_s=0, min_gap_s=0, per_minute=60)
    scene = SyntheticScene(1, size=(64, 48), anomalies=options)
    whole = scene.truth(100)
    assert any(whole.labels)
    for num in range(1, 101):
        truth = scene.truth(num)
        assert truth.labels == whole.labels[:num]
        if truth.labels[-1]:
            assert truth.anomalies[-1].last_frame == num - 1


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_can_be_seen_where_the_truth_says(kind: str) -> None:
    """The same seed without anomalies is the same film but for the anomaly, so the difference shows it."""
    options = AnomalyOptions(kinds=(kind,), first_after_s=2)
    scene = SyntheticScene(3, anomalies=options)
    shown = list(scene.frames(200))
    plain = list(SyntheticScene(3, anomalies=False).frames(200))
    anomaly = scene.truth(200).anomalies[0]
    length = anomaly.last_frame - anomaly.first_frame + 1
    shares, sums = [], []
    for index in range(anomaly.first_frame + length // 3, anomaly.first_frame + 2 * length // 3):
        box = anomaly.boxes[index - anomaly.first_frame]
        changed = np.abs(shown[index].astype(int) - plain[index].astype(int)).max(axis=2) > 25
        inside = changed[box.y : box.y + box.height, box.x : box.x + box.width]
        shares.append(inside.mean())
        sums.append(inside.sum())
        if kind != "bag":  # somebody carries the bag, which is normal
            outside = changed.copy()
            shadow = max(45, box.height)  # falls to the right, as long as who casts it is tall
            ground = (
                box.y + box.height + max(3, box.height // 8)
            )  # in full stride both feet are off it, the shadow is not
            outside[max(0, box.y - 2) : ground, max(0, box.x - 2) : box.x + box.width + shadow] = False
            assert outside.sum() < 40
    assert np.median(shares) > 0.25  # a stride fills its box less than a stand
    assert np.median(sums) > 250


def test_anomalies_are_faster_or_wider_than_people() -> None:
    def first(kind: str):
        scene = SyntheticScene(3, anomalies=AnomalyOptions(kinds=(kind,), first_after_s=1))
        return scene.truth(150).anomalies[0]

    def pixels_a_frame(one) -> float:
        inner = one.boxes[len(one.boxes) // 4 : -len(one.boxes) // 4]
        return abs(inner[-1].x + inner[-1].width / 2 - inner[0].x - inner[0].width / 2) / (len(inner) - 1)

    walking = 1.65 / 10 * 430 / 14  # metres a frame at the greatest pace, at the middle of the path
    assert pixels_a_frame(first("cyclist")) > 2 * walking
    assert pixels_a_frame(first("runner_against")) > 1.5 * walking
    assert max(box.width for box in first("cart").boxes) > 70
    bag = first("bag")
    assert len({(box.x, box.y) for box in bag.boxes}) == 1
    assert bag.last_frame - bag.first_frame >= 65


def test_each_camera_has_a_place_of_its_own_that_stays() -> None:
    empty = [
        np.median(film(90, 3, camera=camera, size=(160, 120), anomalies=False)[::6], axis=0) for camera in (0, 4, 9)
    ]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(empty[one] - empty[other]).mean() > 10
    assert (film(2, 3, camera=4, size=(160, 120)) == film(2, 3, camera=4, size=(160, 120))).all()
    again = np.median(film(90, 8, camera=4, size=(160, 120), anomalies=False)[::6], axis=0)
    assert np.abs(empty[1] / empty[1].mean() - again / again.mean()).mean() < 0.06, "other people, the same place"


@pytest.mark.parametrize("camera", [2, 4, 6])
def test_the_truth_follows_the_camera(camera: int) -> None:
    """As for camera 0: the same film without anomalies differs where the truth says, and hardly elsewhere."""
    options = AnomalyOptions(kinds=("cart",), first_after_s=2)
    scene = SyntheticScene(3, anomalies=options, camera=camera)
    shown = list(scene.frames(120))
    plain = list(SyntheticScene(3, anomalies=False, camera=camera).frames(120))
    anomaly = scene.truth(120).anomalies[0]
    middle = (anomaly.first_frame + anomaly.last_frame) // 2
    box = anomaly.boxes[middle - anomaly.first_frame]
    changed = np.abs(shown[middle].astype(int) - plain[middle].astype(int)).max(axis=2) > 12
    inside = changed[box.y : box.y + box.height, box.x : box.x + box.width]
    assert inside.mean() > 0.2
    reach = max(box.width, box.height)  # of its shadow
    around = changed[
        max(0, box.y - reach) : box.y + box.height + reach, max(0, box.x - reach) : box.x + box.width + reach
    ]
    assert around.sum() > 0.95 * changed.sum()


def test_a_point_is_where_the_ground_is_seen() -> None:
    """Pixels of ground points, and ground points of pixels, are inverses, whichever way the camera looks."""
    for camera in range(6):
        view = Camera.numbered(camera).view(64, 48)
        x, y = view.ground_seen()
        pixels_N2, _ = view.project(np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1))
        columns, rows = np.meshgrid(np.arange(64) + 0.5, np.arange(48) + 0.5)
        np.testing.assert_allclose(pixels_N2, np.stack([columns.ravel(), rows.ravel()], axis=1), atol=1e-6)


def test_a_film_played_faster_than_it_was_filmed(tmp_path: Path) -> None:
    write_video(tmp_path / "film.avi", SyntheticScene(1, fps=5, size=(64, 48)), 10, play_fps=12.5)
    assert cv2.VideoCapture(str(tmp_path / "film.avi")).get(cv2.CAP_PROP_FPS) == 12.5


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_video_with_its_truth(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film{suffix}"
    scene = SyntheticScene(1, fps=8, anomalies=AnomalyOptions(first_after_s=0, kinds=("cart",), min_gap_s=0))
    truth = write_video(path, scene, 60)
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    assert len(frames) == len(truth.labels) == 60
    assert capture.get(cv2.CAP_PROP_FPS) == 8
    assert cv2.PSNR(frames[30], list(scene.frames(31))[30]) > 26
    assert read_truth(tmp_path / f"film{suffix}.json") == truth


def test_a_video_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="path must end in"):
        write_video(tmp_path / "film.mkv", SyntheticScene(1), 5)
    with pytest.raises(SettingsError, match="num_frames"):
        write_video(tmp_path / "film.mp4", SyntheticScene(1), 0)
    with pytest.raises(FatalError, match="writable"):
        write_video(tmp_path / "nowhere" / "film.mp4", SyntheticScene(1), 5)


@pytest.mark.parametrize(
    "fields",
    [{"seed": -1}, {"seed": 1, "camera": -1}, {"seed": 1, "fps": 0}, {"seed": 1, "size": (16, 240)}],
    ids=["seed", "camera", "fps", "size"],
)
def test_wrong_scenes(fields: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="must be"):
        SyntheticScene(**fields)


@pytest.mark.parametrize("fields", [{"kinds": ()}, {"kinds": ("ufo",)}, {"per_minute": 0}, {"min_gap_s": -1}])
def test_wrong_anomaly_options(fields: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="must be"):
        AnomalyOptions(**fields)
