"""Footage of several cameras: names, rates, sizes, and that each has its part in what is held back."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.formats import ClipFormat, FrameFormat
from schemas.errors import FatalError
from tests.unit.training.small_footage import MINIATURE, image, write_images, write_video
from training.footage.cameras import common_rate, folder_names, footage_of, require_one_rate
from training.footage.dataset import CacheFormat, FrameCache, Video, camera_names, open_cache
from training.footage.material import Material, split_videos
from training.footage.sources import Source, find_sources
from training.footage.timing import Rate

PLAIN = CacheFormat(FrameFormat(32, 24, 1), jpeg_quality=None)


def write_sized(folder: Path, count: int, size: tuple[int, int]) -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        assert cv2.imwrite(str(folder / f"{index}.png"), cv2.resize(image(index), size))


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["footage/lobby", "footage/yard"], ("lobby", "yard")),
        (["a/lobby", "b/lobby", "yard"], ("a/lobby", "b/lobby", "{here}/yard")),
        (["a/train/", "./b/train"], ("a/train", "b/train")),
        (["/a/x/train", "/b/x/train"], ("a/x/train", "b/x/train")),
        (["/lobby", "/a/lobby"], ("lobby", "a/lobby")),
        (["lobby", "lobby"], ("lobby", "lobby")),
        (["/"], ("",)),
    ],
)
def test_cameras_are_named_after_what_tells_their_folders_apart(folders: list[str], names: tuple[str, ...]) -> None:
    here = Path.cwd().name
    assert folder_names([Path(folder) for folder in folders]) == tuple(name.format(here=here) for name in names)


def test_one_data_set_is_not_named(tmp_path: Path) -> None:
    write_images(tmp_path / "lobby" / "a", 3)
    assert footage_of([tmp_path / "lobby"]) == find_sources(tmp_path / "lobby")
    assert camera_names(footage_of([tmp_path / "lobby"])) == ()


def test_footage_of_several_bears_their_names_in_the_order_given(tmp_path: Path) -> None:
    for name in ("yard/a", "yard/b", "lobby/train/a"):
        write_images(tmp_path / name, 2)
    write_images(tmp_path / "lobby" / "test" / "odd", 2)
    sources = footage_of([tmp_path / "yard", tmp_path / "lobby"])
    assert [(source.name, source.camera) for source in sources] == [
        ("yard/a", "yard"),
        ("yard/b", "yard"),
        ("lobby/a", "lobby"),
    ]
    assert camera_names(sources) == ("yard", "lobby")
    assert sources[2].files[0] == tmp_path / "lobby" / "train" / "a" / "0.png"


@pytest.mark.parametrize("other", ["lobby", "lobby/more", "."])
def test_cameras_share_no_footage(tmp_path: Path, other: str) -> None:
    """The same folder twice, one within the other, one around it."""
    write_images(tmp_path / "lobby" / "more" / "a", 2)
    with pytest.raises(FatalError, match=r"own, '.*0\.png' is in '.*lobby' and '.*'; give each --data once, and none"):
        footage_of([tmp_path / "lobby", tmp_path / other])


def test_a_camera_without_footage_is_named(tmp_path: Path) -> None:
    write_images(tmp_path / "lobby" / "a", 2)
    with pytest.raises(FatalError, match=r"yard' must be a folder of videos"):
        footage_of([tmp_path / "lobby", tmp_path / "yard"])


def test_frames_of_each_camera_come_to_the_models_size(tmp_path: Path) -> None:
    write_sized(tmp_path / "lobby" / "a", 4, (64, 48))
    write_sized(tmp_path / "yard" / "a", 3, (90, 30))
    footage = open_cache(footage_of([tmp_path / "lobby", tmp_path / "yard"]), PLAIN, tmp_path / "cache")
    assert footage.videos == (
        Video("lobby/a", 0, 4, 10.0, camera="lobby"),
        Video("yard/a", 4, 3, 10.0, camera="yard"),
    )
    wide = cv2.resize(cv2.cvtColor(cv2.resize(image(2), (90, 30)), cv2.COLOR_BGR2GRAY), (32, 24))
    assert np.array_equal(footage.frames_FHWC[6, ..., 0], wide), "its own shape is given up, as a worker does"


def test_two_sizes_of_one_camera_are_a_mistake(tmp_path: Path) -> None:
    write_sized(tmp_path / "lobby" / "a", 2, (64, 48))
    write_sized(tmp_path / "yard" / "a", 2, (80, 60))
    write_sized(tmp_path / "yard" / "b", 2, (40, 30))
    text = r"a camera must have one size, 'yard/b' has 40 x 30 pixels after frames of 80 x 60; .* a --data of its own"
    with pytest.raises(FatalError, match=text):
        open_cache(footage_of([tmp_path / "lobby", tmp_path / "yard"]), PLAIN, tmp_path / "cache")


def test_a_cache_of_several_cameras_is_not_that_of_the_folder_around_them(tmp_path: Path) -> None:
    """Names and content of the files are the same, so is the digest; what is held back is not."""
    for name in ("lobby", "yard"):
        write_images(tmp_path / "data" / name / "a", 3)
    together = open_cache(footage_of([tmp_path / "data"]), PLAIN, tmp_path / "cache")
    apart = [
        open_cache(footage_of([tmp_path / "data" / name for name in ("lobby", "yard")]), PLAIN, tmp_path / "cache")
    ]
    apart.append(open_cache(footage_of([tmp_path / "data" / n for n in ("lobby", "yard")]), PLAIN, tmp_path / "cache"))
    assert [camera_names(footage.videos) for footage in (together, *apart)] == [(), *[("lobby", "yard")] * 2]
    assert together.digest == apart[0].digest
    assert len(list((tmp_path / "cache").iterdir())) == 2


def of(camera: str, *lengths: int, fps: float = 10.0, first: int = 0) -> list[Video]:
    firsts = [first + sum(lengths[:index]) for index in range(len(lengths))]
    return [Video(f"{camera}/{at}", at, length, fps, camera=camera) for at, length in zip(firsts, lengths, strict=True)]


LENGTHS = st.lists(st.integers(20, 300), min_size=1, max_size=5)


@given(st.lists(LENGTHS, min_size=1, max_size=4))
def test_the_last_share_of_every_camera_is_held_back(cameras: list[list[int]]) -> None:
    """As if it were the only one."""
    each = [of(f"c{index}", *lengths, first=10_000 * index) for index, lengths in enumerate(cameras)]
    split = split_videos([video for videos in each for video in videos])
    alone = [split_videos(videos) for videos in each]
    assert split.training == tuple(video for part in alone for video in part.training)
    assert split.held_back == tuple(video for part in alone for video in part.held_back)
    for videos in each:
        held = sum(video.num_frames for video in split.held_back if video.camera == videos[0].camera)
        total = sum(video.num_frames for video in videos)
        assert round(0.15 * total) <= held <= 0.3 * total + 1


def material(*videos: Video, cameras: tuple[str, ...]) -> Material:
    footage = FrameCache(np.zeros((1000, 24, 32, 1), np.uint8), videos, "0" * 64)
    return Material(MINIATURE, footage, split_videos(videos), ClipFormat(5), 10.0, cameras)


def test_a_camera_that_leaves_too_little_to_calibrate_on_is_named() -> None:
    """24 frames held back make the 20 clips; 159 frames give 24, 150 only 22 (the tail is rounded)."""
    enough = material(*of("lobby", 500), *of("yard", 160, first=500), cameras=("lobby", "yard")).clips()
    assert len(enough.held_back) == 75 - 4 + 20
    with pytest.raises(FatalError, match=r"leave at least 20 clips of 5 frames .*, 'yard' leaves 18; record more"):
        material(*of("lobby", 500), *of("yard", 150, first=500), cameras=("lobby", "yard")).clips()


def test_a_camera_of_which_nothing_is_left_is_named() -> None:
    """None of its videos could be read, or all were shorter than a clip."""
    with pytest.raises(FatalError, match="'yard' leaves 0; record more normal video of it, or leave it out"):
        material(*of("lobby", 500), cameras=("lobby", "yard")).clips()


def test_one_rate_is_that_of_the_footage_whatever_was_wanted() -> None:
    """One frame in two of 25: the bundle says what was learned."""
    videos = [*of("lobby", 9, fps=12.5), *of("yard", 9, fps=12.5)]
    assert common_rate(videos, None) == common_rate(videos, 10.0) == 12.5


def test_rates_alike_are_that_of_most_frames() -> None:
    videos = [*of("lobby", 100, fps=29.97), *of("yard", 60, 60, fps=30.0)]
    assert common_rate(videos, None) == 30.0
    assert common_rate(videos[:2], None) == 29.97
    assert common_rate([replace(videos[0], fps=10.0), replace(videos[1], fps=11.0)], None) == 10.0


@pytest.mark.parametrize("order", [1, -1])
def test_rates_that_differ_must_be_settled(tmp_path: Path, order: int) -> None:
    write_video(tmp_path / "lobby" / "a.avi", 3, fps=25.0)
    write_images(tmp_path / "yard" / "a", 3)
    sources = footage_of([tmp_path / "lobby", tmp_path / "yard"][::order])
    text = r"one rate, 'yard/a' has 10 frames a second and 'lobby/a.avi' 25; give --fps with the rate to keep"
    with pytest.raises(FatalError, match=text):
        require_one_rate(sources, Rate())
    require_one_rate(sources, Rate(fps=5.0))
    require_one_rate(sources, Rate(image_fps=25.0))


@pytest.mark.parametrize(("image_fps", "fits"), [(9.0, False), (9.2, True), (11.0, True), (11.2, False)])
def test_rates_may_differ_by_a_tenth(tmp_path: Path, image_fps: float, fits: bool) -> None:
    write_video(tmp_path / "a.avi", 3, fps=10.0)
    write_images(tmp_path / "b", 3)
    with nullcontext() if fits else pytest.raises(FatalError, match="all footage must have one rate"):
        require_one_rate(find_sources(tmp_path), Rate(image_fps=image_fps))


def test_a_broken_video_has_no_rate(tmp_path: Path) -> None:
    """It would seem to have that of images, which do not say theirs either."""
    write_video(tmp_path / "a.avi", 3, fps=25.0)
    (tmp_path / "b.avi").write_bytes(b"no video")
    require_one_rate(find_sources(tmp_path), Rate())
    (tmp_path / "a.avi").unlink()
    require_one_rate(find_sources(tmp_path), Rate())


def test_a_rate_that_was_wanted_stands_for_rates_near_it(caplog: pytest.LogCaptureFixture) -> None:
    videos = [*of("lobby", 9, fps=9.99), *of("yard", 9, fps=10.8)]
    assert common_rate(videos, 10.0) == 10.0
    assert caplog.text == ""


def test_a_camera_that_cannot_keep_the_rate_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """What is slower cannot be made 10 a second."""
    videos = [*of("lobby", 9, fps=10.0), *of("yard", 9, 9, fps=8.0), Video("odd", 0, 9, 5.0)]
    assert common_rate(videos, 10.0) == 10.0
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "'yard' keeps 8 frames a second, 10 are wanted: things move otherwise there",
        "'odd' keeps 5 frames a second, 10 are wanted: things move otherwise there",
    ]


def test_names_of_cameras_are_those_of_their_footage() -> None:
    sources = [Source("a", ()), Source("b", (), "yard"), Source("c", (), "lobby"), Source("d", (), "yard")]
    assert camera_names(sources) == ("yard", "lobby")
