"""Finding footage, decoding it once, cutting clips."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from schemas.errors import FatalError
from tests.unit.training.footage import image, write_images, write_video
from training.dataset import CacheFormat, find_sources, is_grey, open_cache
from workers.decode import DecodeLimits, FrameFormat, decode_frame

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


@pytest.mark.parametrize("name", ["empty", "absent"])
def test_no_footage_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FatalError, match=r"must hold videos or folders of images .* found none"):
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
    footage = open_cache(tmp_path / "data", PLAIN, tmp_path / "cache")
    assert [video.num_frames for video in footage.videos] == [7, 4, 6]
    starts = np.concatenate([video.clip_starts(5) for video in footage.videos])
    assert starts.tolist() == [0, 1, 2, 11, 12]
    grounds = footage.clips(starts, 5)[:, :, 0, 0, 0]
    expected = [[40 + 4 * index for index in range(first, first + 5)] for first in (0, 1, 2, 30, 31)]
    assert grounds.tolist() == expected


def test_a_cached_frame_is_what_a_worker_would_see(tmp_path: Path) -> None:
    write_images(tmp_path / "data" / "a", 3)
    footage = open_cache(tmp_path / "data", CacheFormat(GREY, jpeg_quality=70), tmp_path / "cache")
    jpeg = cv2.imencode(".jpg", image(2), [cv2.IMWRITE_JPEG_QUALITY, 70])[1].tobytes()
    live = decode_frame(jpeg, GREY, DecodeLimits())
    difference = np.abs(footage.frames_FHWC[2].astype(int) - live)
    assert difference.max() <= 2
    plain = open_cache(tmp_path / "data", PLAIN, tmp_path / "cache")
    assert np.abs(plain.frames_FHWC[2].astype(int) - live).max() > 2


def test_footage_is_decoded_once(tmp_path: Path) -> None:
    write_video(tmp_path / "data" / "a.avi", 4)
    first = open_cache(tmp_path / "data", PLAIN, tmp_path / "cache")
    (place,) = (tmp_path / "cache").iterdir()
    before = (place / "frames.bin").stat().st_mtime_ns
    again = open_cache(tmp_path / "data", PLAIN, tmp_path / "cache")
    assert (place / "frames.bin").stat().st_mtime_ns == before
    assert again.digest == first.digest
    assert np.array_equal(again.frames_FHWC, first.frames_FHWC)


def test_other_footage_and_other_sizes_get_their_own_cache(tmp_path: Path) -> None:
    write_images(tmp_path / "data" / "a", 3)
    first = open_cache(tmp_path / "data", PLAIN, tmp_path / "cache")
    larger = open_cache(tmp_path / "data", CacheFormat(FrameFormat(64, 48, 3)), tmp_path / "cache")
    assert larger.frames_FHWC.shape == (3, 48, 64, 3)
    cv2.imwrite(str(tmp_path / "data" / "a" / "1.png"), image(30))
    changed = open_cache(tmp_path / "data", PLAIN, tmp_path / "cache")
    assert larger.digest == first.digest != changed.digest
    assert not np.array_equal(changed.frames_FHWC, first.frames_FHWC)


def test_frames_are_thinned_to_the_wanted_rate(tmp_path: Path) -> None:
    write_video(tmp_path / "data" / "a.avi", 30, fps=30.0)
    footage = open_cache(tmp_path / "data", CacheFormat(GREY, fps=10.0, jpeg_quality=None), tmp_path / "cache")
    (video,) = footage.videos
    assert (video.num_frames, video.fps) == (10, pytest.approx(10.0))
    grounds = footage.frames_FHWC[:, 0, 0, 0].astype(int)
    assert np.abs(np.diff(grounds) - 12).max() <= 4


def test_a_broken_file_is_named_and_leaves_no_cache(tmp_path: Path) -> None:
    write_images(tmp_path / "data" / "a", 2)
    (tmp_path / "data" / "a" / "1.png").write_bytes(b"no image")
    with pytest.raises(FatalError, match=r"1\.png' must be an image OpenCV can read"):
        open_cache(tmp_path / "data", PLAIN, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
