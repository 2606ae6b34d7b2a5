"""Finding footage, decoding it once, cutting clips."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from inference.decode import DecodeLimits, decode_frame
from inference.formats import FrameFormat
from schemas.errors import FatalError
from tests.unit.training.small_footage import image, write_images, write_video
from training.footage.dataset import CacheFormat, FrameCache, Video, open_cache
from training.footage.sources import find_sources, is_grey

GREY = FrameFormat(32, 24, 1)
PLAIN = CacheFormat(GREY, jpeg_quality=None)


def test_videos_and_folders_of_images_are_found_in_order(tmp_path: Path) -> None:
    write_video(tmp_path / "data" / "b" / "clip.avi", 3)
    write_images(tmp_path / "data" / "a", 12)
    (tmp_path / "data" / "notes.txt").write_text("not footage")
    sources = find_sources(tmp_path / "data")
    assert [(source.name, source.is_video, len(source.files)) for source in sources] == [
        ("a", False, 12),
        ("b/clip.avi", True, 1),
    ]
    assert [path.stem for path in sources[0].files] == [str(index) for index in range(12)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("empty", r"must hold videos or folders of images .* found none"),
        ("absent", "must be a folder of videos, or of folders of images, there is none; check the path"),
        ("film.mp4", "images, it is a file; give the folder that it lies in"),
    ],
)
def test_no_footage_is_said(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "film.mp4").write_bytes(b"a film")
    with pytest.raises(FatalError, match=said):
        find_sources(tmp_path / name)


def test_grey_is_told_from_colour(tmp_path: Path) -> None:
    write_video(tmp_path / "grey.avi", 2)
    write_video(tmp_path / "red.avi", 2, colour=True)
    red, grey = sorted(find_sources(tmp_path), key=lambda source: source.name, reverse=True)
    assert is_grey(grey)
    assert not is_grey(red)


def test_clips_hold_consecutive_frames_of_one_video(tmp_path: Path) -> None:
    write_images(tmp_path / "data" / "a", 7)
    write_images(tmp_path / "data" / "b", 4, first=20)
    write_images(tmp_path / "data" / "c", 6, first=30)
    footage = open_cache(find_sources(tmp_path / "data"), PLAIN, tmp_path / "cache")
    assert [video.num_frames for video in footage.videos] == [7, 4, 6]
    starts = np.concatenate([video.clip_starts(5) for video in footage.videos])
    assert starts.tolist() == [0, 1, 2, 11, 12]
    grounds = footage.clips(starts, 5)[:, :, 0, 0, 0]
    expected = [[40 + 4 * index for index in range(first, first + 5)] for first in (0, 1, 2, 30, 31)]
    assert grounds.tolist() == expected


def test_a_cached_frame_is_what_a_worker_would_see(tmp_path: Path) -> None:
    write_images(tmp_path / "data" / "a", 3)
    footage = open_cache(find_sources(tmp_path / "data"), CacheFormat(GREY, jpeg_quality=70), tmp_path / "cache")
    jpeg = cv2.imencode(".jpg", image(2), [cv2.IMWRITE_JPEG_QUALITY, 70])[1].tobytes()
    live = decode_frame(jpeg, GREY, DecodeLimits())
    difference = np.abs(footage.frames_FHWC[2].astype(int) - live)
    assert difference.max() <= 2
    plain = open_cache(find_sources(tmp_path / "data"), PLAIN, tmp_path / "cache")
    assert np.abs(plain.frames_FHWC[2].astype(int) - live).max() > 2


def test_grey_images_are_read_for_a_network_of_colours(tmp_path: Path) -> None:
    """As UCSD's are, and as the papers' networks take them."""
    (tmp_path / "data").mkdir()
    cv2.imwrite(str(tmp_path / "data" / "1.tif"), cv2.cvtColor(image(7), cv2.COLOR_BGR2GRAY))
    (source,) = find_sources(tmp_path / "data")
    footage = open_cache([source], CacheFormat(FrameFormat(32, 24, 3)), tmp_path / "cache")
    grey = open_cache([source], CacheFormat(GREY), tmp_path / "cache")
    assert is_grey(source)
    assert np.array_equal(footage.frames_FHWC, grey.frames_FHWC.repeat(3, axis=3))


def test_footage_is_decoded_once(tmp_path: Path) -> None:
    write_video(tmp_path / "data" / "a.avi", 4)
    first = open_cache(find_sources(tmp_path / "data"), PLAIN, tmp_path / "cache")
    (place,) = (tmp_path / "cache").iterdir()
    before = (place / "frames.bin").stat().st_mtime_ns
    again = open_cache(find_sources(tmp_path / "data"), PLAIN, tmp_path / "cache")
    assert (place / "frames.bin").stat().st_mtime_ns == before
    assert again.digest == first.digest
    assert np.array_equal(again.frames_FHWC, first.frames_FHWC)


def test_other_footage_and_other_sizes_get_their_own_cache(tmp_path: Path) -> None:
    write_images(tmp_path / "data" / "a", 3)
    first = open_cache(find_sources(tmp_path / "data"), PLAIN, tmp_path / "cache")
    larger = open_cache(find_sources(tmp_path / "data"), CacheFormat(FrameFormat(64, 48, 3)), tmp_path / "cache")
    assert larger.frames_FHWC.shape == (3, 48, 64, 3)
    cv2.imwrite(str(tmp_path / "data" / "a" / "1.png"), image(30))
    changed = open_cache(find_sources(tmp_path / "data"), PLAIN, tmp_path / "cache")
    assert larger.digest == first.digest != changed.digest
    assert not np.array_equal(changed.frames_FHWC, first.frames_FHWC)


def test_frames_are_thinned_to_the_wanted_rate(tmp_path: Path) -> None:
    write_video(tmp_path / "data" / "a.avi", 30, fps=30.0)
    footage = open_cache(
        find_sources(tmp_path / "data"), CacheFormat(GREY, fps=10.0, jpeg_quality=None), tmp_path / "cache"
    )
    (video,) = footage.videos
    assert video.num_frames == 10
    assert video.fps == pytest.approx(10.0)
    grounds = footage.frames_FHWC[:, 0, 0, 0].astype(int)
    assert np.abs(np.diff(grounds) - 12).max() <= 4


def test_the_set_goes_on_behind_a_broken_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_images(tmp_path / "data" / "a", 9)
    (tmp_path / "data" / "a" / "4.png").write_bytes(b"no image")
    write_images(tmp_path / "data" / "b", 2, first=20)
    sources = find_sources(tmp_path / "data")
    footage = open_cache(sources, PLAIN, tmp_path / "cache")
    assert footage.videos == (Video("a", 0, 4, 10.0), Video("a", 4, 4, 10.0, offset=5), Video("b", 8, 2, 10.0))
    assert footage.frames_FHWC[:, 0, 0, 0].tolist() == [40 + 4 * n for n in (0, 1, 2, 3, 5, 6, 7, 8, 20, 21)]
    assert [video.clip_starts(4).tolist() for video in footage.videos] == [[0], [4], []]
    caplog.clear()
    open_cache(sources, PLAIN, tmp_path / "cache")
    assert "left out 1 that cannot be read" in caplog.text
    assert "a/4.png" in caplog.text


def test_the_set_goes_on_behind_a_broken_video(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in "abc":
        write_video(tmp_path / "data" / f"{name}.avi", 3)
    (tmp_path / "data" / "b.avi").write_bytes(b"no video")
    footage = open_cache(find_sources(tmp_path / "data"), PLAIN, tmp_path / "cache")
    assert [video.name for video in footage.videos] == ["a.avi", "c.avi"]
    assert "b.avi" in caplog.text


def test_a_video_that_is_cut_off_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "data" / "a.avi"
    write_video(path, 40)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    footage = open_cache(find_sources(tmp_path / "data"), PLAIN, tmp_path / "cache")
    (video,) = footage.videos
    assert 10 < video.num_frames < 30
    assert f"a.avi' from frame {video.num_frames} of 40 on" in caplog.text


def test_nothing_readable_is_an_error_and_leaves_no_cache(tmp_path: Path) -> None:
    write_images(tmp_path / "data" / "a", 2)
    for index in range(2):
        (tmp_path / "data" / "a" / f"{index}.png").write_bytes(b"no image")
    with pytest.raises(FatalError, match=r"at least one file must be readable, got none of 1: '.*0\.png'"):
        open_cache(find_sources(tmp_path / "data"), PLAIN, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("place", ["a/7.png", "b/0.png"])
def test_mixed_sizes_are_refused(tmp_path: Path, place: str) -> None:
    """Within one folder of images, and between the clips of one set."""
    write_images(tmp_path / "data" / "a", 9)
    path = tmp_path / "data" / place
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), np.zeros((30, 40, 3), np.uint8))
    with pytest.raises(FatalError, match=f"one size, '{place[0]}' has 40 x 30 pixels after frames of 64 x 48"):
        open_cache(find_sources(tmp_path / "data"), PLAIN, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_clip_may_take_every_second_frame() -> None:
    video = Video("a", 10, 9, 10.0)
    assert video.clip_starts(4, stride=2).tolist() == [10, 11, 12]
    frames = np.arange(30, dtype=np.uint8).reshape(30, 1, 1, 1)
    clips = FrameCache(frames, (video,), "").clips(video.clip_starts(4, stride=2), 4, stride=2)
    assert clips[:, :, 0, 0, 0].tolist() == [[10, 12, 14, 16], [11, 13, 15, 17], [12, 14, 16, 18]]
    assert len(Video("b", 0, 6, 10.0).clip_starts(4, stride=2)) == 0
