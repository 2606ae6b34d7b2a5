"""Scenes on disk, measured once by a real network and found again."""

from pathlib import Path

import numpy as np
import pytest

from bundles.bundle import save_bundle
from inference.evidence import Seen
from schemas.errors import FatalError
from tests.small_bundle import small_bundle
from tests.unit.training.labelled_scene import CALM, turning_noisy, write_clip, write_labels, write_scene, write_video
from training.worth.scenes import Camera, SceneOptions, find_scenes, grey_places

CLIP = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = write_scene(tmp_path_factory.mktemp("scenes") / "hall")
    write_clip(root / "train" / "first", 0, 30)
    write_video(root / "train" / "second.avi", 90, 24)
    return root


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "small"
    save_bundle(path, small_bundle())
    return path


@pytest.fixture(scope="module")
def camera(bundle, tmp_path_factory):
    return Camera(bundle, SceneOptions(tmp_path_factory.mktemp("cache"), device="cpu", threads=1))


@pytest.fixture(scope="module")
def scene(camera, folder):
    return camera.scene(folder)


def test_every_frame_that_ends_a_clip_is_seen_beside_its_label(scene):
    assert scene.name == "hall"
    assert [len(take.seen) for take in scene.normal] == [30 - CLIP + 1, 24 - CLIP + 1]
    assert all(take.labels_F is None for take in scene.normal)
    turning = next(take for take in scene.test if take.name.endswith("turning"))
    np.testing.assert_array_equal(turning.labels_F, turning_noisy()[CLIP - 1 :])
    assert turning.first == CLIP - 1
    assert turning.seconds == pytest.approx(3.6)
    assert turning.seen.grid.rows == 6


def test_what_was_measured_is_kept_and_found_again(camera, folder, scene, monkeypatch):
    def refuse(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(Camera, "_measure", refuse)
    again = camera.scene(folder)
    for one, other in zip((*scene.normal, *scene.test), (*again.normal, *again.test), strict=True):
        assert one.name == other.name
        for name in ("errors_FRS", "speeds_FRS", "grey_FPQ", "psnr_db_F"):
            np.testing.assert_array_equal(getattr(one.seen, name), getattr(other.seen, name))


def test_a_change_reaches_the_network_and_has_a_place_of_its_own(camera, folder, scene):
    darker = camera.scene(folder, lambda frames, _: (frames // 2).astype(np.uint8), "half as bright")
    assert darker.normal == ()
    for one, other in zip(scene.test, darker.test, strict=True):
        assert other.seen.grey_FPQ.mean() == pytest.approx(one.seen.grey_FPQ.mean() / 2, rel=0.02)
        np.testing.assert_array_equal(one.labels_F, other.labels_F)
    taught = camera.changed_normal(folder, lambda frames, _: 255 - frames, "negative")
    assert [take.name for take in taught] == [take.name for take in scene.normal]
    assert taught[0].seen.grey_FPQ.mean() == pytest.approx(255 - scene.normal[0].seen.grey_FPQ.mean(), abs=0.5)


def test_changes_are_the_same_each_time(camera, folder):
    def noisy(frames, draw):
        return np.clip(frames + draw.normal(0, 4, frames.shape), 0, 255).astype(np.uint8)

    one, other = (camera.changed_normal(folder, noisy, name) for name in ("noise a", "noise b"))
    np.testing.assert_array_equal(one[0].seen.errors_FRS, other[0].seen.errors_FRS)


def test_footage_is_kept_at_the_bundles_rate(bundle, tmp_path):
    root = tmp_path / "fast"
    write_video(root / "train" / "a.avi", 0, 30)
    write_clip(root / "test" / "b", CALM, 40)
    write_labels(root, "b", turning_noisy())
    slow = small_bundle()
    path = tmp_path / "slow"
    save_bundle(
        path,
        type(slow)(slow.manifest.model_copy(update={"fps": 5.0}), slow.weights, slow.items_MC, slow.calibration, ""),
    )
    found = Camera(path, SceneOptions(tmp_path / "cache", device="cpu", threads=1)).scene(root)
    assert [(take.fps, len(take.seen)) for take in (*found.normal, *found.test)] == [(5.0, 11), (5.0, 16)]
    np.testing.assert_array_equal(found.test[0].labels_F, turning_noisy()[::2][CLIP - 1 :])


def test_of_long_footage_as_much_is_taken_of_each_video(bundle, folder, tmp_path):
    options = SceneOptions(tmp_path, normal_s=3.0, device="cpu", threads=1)
    takes = Camera(bundle, options).scene(folder).normal
    assert sorted(len(take.seen) for take in takes) == [11, 11]


def test_parts_of_a_take_know_where_they_begin(scene):
    take = next(take for take in scene.test if take.name.endswith("turning"))
    part = take[10:20]
    assert (len(part.seen), part.first) == (10, take.first + 10)
    np.testing.assert_array_equal(part.labels_F, take.labels_F[10:20])
    assert take[:10].first == take.first


def test_grey_levels_of_places_are_means():
    frames = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3)).astype(np.uint8)
    found = grey_places(frames)
    assert found.shape == (2, 2, 3)
    assert found[1, 1, 2] == pytest.approx(frames[1, 16:32, 32:48].mean(), rel=1e-5)


def test_scenes_are_found_in_a_folder_or_are_the_folder(folder, tmp_path):
    assert find_scenes(folder) == (folder,)
    assert find_scenes(folder.parent) == (folder,)
    (tmp_path / "notes").mkdir()
    for nothing in (tmp_path, Path("/does/not/exist")):
        with pytest.raises(FatalError, match="must hold scenes"):
            find_scenes(nothing)


def test_labels_must_fit(camera, tmp_path):
    root = tmp_path / "short"
    write_clip(root / "train" / "a", 0, 12)
    write_clip(root / "test" / "b", 0, 12)
    write_labels(root, "b", np.zeros(7))
    with pytest.raises(FatalError, match="one label a frame, got 7 for 12"):
        camera.scene(root)


def test_frames_can_be_cut():
    seen = Seen(
        np.ones((4, 8, 8), np.float32),
        np.ones((4, 8, 8), np.float32),
        np.ones((4, 2, 2), np.float32),
        np.ones(4, np.float32),
    )
    assert len(seen) == 4
    assert len(seen[1:3]) == 2
