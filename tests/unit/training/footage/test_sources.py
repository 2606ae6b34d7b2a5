"""Footage on disk: which files count, in which order, at which rate, and what cannot be read of it."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from inference.formats import FrameFormat
from producers.sources import open_source
from schemas.errors import FatalError
from tests.unit.training.small_footage import HEIGHT, WIDTH, image, write_images, write_video
from training.footage.dataset import CacheFormat, Video, open_cache
from training.footage.layouts import find_layout
from training.footage.sources import (
    Hole,
    Source,
    find_sources,
    is_grey,
    read_frames,
)
from training.footage.timing import Rate

PLAIN = CacheFormat(FrameFormat(32, 24, 1), jpeg_quality=None)


def breaks(folder: Path, *numbers: int) -> None:
    for number in numbers:
        (folder / f"{number}.png").write_bytes(b"no image")


def test_endings_count_in_any_case_and_hidden_files_do_not(tmp_path: Path) -> None:
    for name in ("A.AVI", "b.Mp4", "c.txt", ".d.avi", ".hidden/e.avi", "x_gt/1.avi", "1_GT/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    sources = find_sources(tmp_path)
    assert [(source.name, source.clip, source.is_video) for source in sources] == [
        ("A.AVI", "A", True),
        ("b.Mp4", "b", True),
    ]


def test_an_empty_folder_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_video(tmp_path / "day" / "a.avi", 3)
    find_sources(tmp_path)
    assert caplog.messages == []
    for name in ("Test003", "deeper/Test004", ".hidden", "Test005_gt", "x_gt/y"):
        (tmp_path / name).mkdir(parents=True)
    assert [source.name for source in find_sources(tmp_path)] == ["day/a.avi"]
    told = f"'{tmp_path}': 2 folders are empty and passed over, were they copied? Test003, Test004"
    assert caplog.messages == [told]
    for number in range(6, 20):
        (tmp_path / f"Test{number:03}").mkdir()
    find_sources(tmp_path)
    assert caplog.messages[-1].endswith(
        "16 folders are empty and passed over, were they copied? Test003, Test006, Test007, Test008, Test009, …"
    )


def test_images_that_lie_in_the_folder_itself_are_named_after_it(tmp_path: Path) -> None:
    write_images(tmp_path / "lobby", 2)
    (source,) = find_sources(tmp_path / "lobby")
    assert (source.name, source.clip, source.is_video) == ("lobby", "lobby", False)


def test_images_come_in_the_order_in_which_a_producer_sends_them(tmp_path: Path) -> None:
    names = ["2026-01-08_9.jpg", "2026-01-08_12.jpg", "2026-01-09_1.jpg", "img_008.webp", "img_9.png", "img_10.PNG"]
    for level, name in enumerate(names):
        assert cv2.imwrite(str(tmp_path / name), np.full((8, 8, 3), 40 * level, np.uint8))
    (tmp_path / "._img_9.png").write_bytes(b"what another system noted of it")
    (source,) = find_sources(tmp_path)
    assert [path.name for path in source.files] == names
    sent = [frame.image.mean() for frame in open_source(str(tmp_path))]
    assert sent == pytest.approx([40 * level for level in range(6)], abs=3)


def test_frames_are_taken_before_the_videos_they_were_cut_from(tmp_path: Path) -> None:
    write_images(tmp_path / "test" / "frames" / "01", 2)
    write_video(tmp_path / "test" / "videos" / "01.avi", 2)
    write_video(tmp_path / "train" / "videos" / "02.avi", 2)
    layout = find_layout(tmp_path)
    assert [source.name for source in (*layout.train, *layout.test)] == ["02.avi", "01"]
    assert layout.kind == "frames"


def test_a_video_says_its_own_rate_and_images_are_told_theirs(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", 3, fps=12.5)
    write_images(tmp_path / "b", 2)
    video, images = sorted(find_sources(tmp_path), key=lambda source: source.name)
    assert Rate(image_fps=7.0).of(video) == pytest.approx(12.5)
    assert Rate(image_fps=7.0).of(images) == 7.0
    (tmp_path / "c.avi").write_bytes(b"no video")
    assert Rate(image_fps=7.0).of(Source("c.avi", (tmp_path / "c.avi",))) == 7.0


def test_a_rate_that_cannot_be_is_that_of_the_time_stamps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "from-a-browser.webm"
    with av.open(str(path), "w") as container:  # as browsers record: 1000 frames a second, the unit of their stamps
        stream = container.add_stream("libvpx", rate=1000)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(40):
            frame = av.VideoFrame.from_ndarray(image(index), format="bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = 50 * index + index % 3, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (source,) = find_sources(tmp_path)
    assert Rate(10.0).of(source) == pytest.approx(20.0, rel=0.01)
    footage = open_cache([source], replace(PLAIN, fps=10.0), tmp_path / "cache")
    (video,) = footage.videos
    assert video.num_frames == 20
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize(("spread", "grey"), [(2, True), (3, False)])
def test_colours_that_a_codec_makes_of_grey_do_not_count(tmp_path: Path, spread: int, grey: bool) -> None:
    picture = np.full((20, 20, 3), 100, np.uint8)
    picture[..., 1] += spread
    cv2.imwrite(str(tmp_path / "0.png"), picture)
    assert is_grey(*find_sources(tmp_path)) == grey


def test_a_single_stray_pixel_is_no_colour(tmp_path: Path) -> None:
    picture = np.full((20, 20, 3), 100, np.uint8)
    picture[3, 4] = (0, 0, 255)
    cv2.imwrite(str(tmp_path / "0.png"), picture)
    assert is_grey(*find_sources(tmp_path))


def test_the_first_frame_that_can_be_read_decides_about_colour(tmp_path: Path) -> None:
    breaks(tmp_path, 0)
    assert is_grey(*find_sources(tmp_path)), "nothing is known"
    cv2.imwrite(str(tmp_path / "1.png"), image(3, colour=True))
    assert not is_grey(*find_sources(tmp_path))


def test_what_cannot_be_read_stands_where_it_is(tmp_path: Path) -> None:
    write_images(tmp_path / "a", 5)
    breaks(tmp_path / "a", 0, 3)
    (source,) = find_sources(tmp_path)
    kinds = [isinstance(frame, Hole) for frame in read_frames(source)]
    assert kinds == [True, False, False, True, False]
    assert [isinstance(frame, Hole) for frame in read_frames(source, [0, 3, 9])] == [True, True]


def test_holes_at_the_ends_and_side_by_side_leave_no_empty_stretch(tmp_path: Path) -> None:
    write_images(tmp_path / "data" / "a", 8)
    breaks(tmp_path / "data" / "a", 0, 3, 4, 7)
    footage = open_cache(find_sources(tmp_path / "data"), PLAIN, tmp_path / "cache")
    assert footage.videos == (Video("a", 0, 2, 10.0, offset=1), Video("a", 2, 2, 10.0, offset=5))


def test_of_thinned_images_the_offset_counts_what_was_kept(tmp_path: Path) -> None:
    """Every second of ten frames: 0 2 4 6 8, of which the second cannot be read."""
    write_images(tmp_path / "data" / "a", 10)
    breaks(tmp_path / "data" / "a", 1, 2)
    wanted = CacheFormat(PLAIN.frame, fps=10.0, image_fps=20.0, jpeg_quality=None)
    footage = open_cache(find_sources(tmp_path / "data"), wanted, tmp_path / "cache")
    assert footage.videos == (Video("a", 0, 1, 10.0), Video("a", 1, 3, 10.0, offset=2))


def test_many_files_that_cannot_be_read_are_not_all_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_images(tmp_path / "data" / "a", 9)
    breaks(tmp_path / "data" / "a", *range(7))
    open_cache(find_sources(tmp_path / "data"), PLAIN, tmp_path / "cache")
    (record,) = caplog.records
    told = record.getMessage()
    assert told.startswith("left out 7 that cannot be read: ")
    assert told.endswith("4.png', …")
    assert "5.png" not in told


def test_a_cache_goes_with_the_footage_wherever_it_lies(tmp_path: Path) -> None:
    """By names and content, not by place; another order of the same images is other footage."""
    write_images(tmp_path / "data" / "a", 3)
    first = open_cache(find_sources(tmp_path / "data"), PLAIN, tmp_path / "cache")
    (tmp_path / "data").rename(tmp_path / "moved")
    assert open_cache(find_sources(tmp_path / "moved"), PLAIN, tmp_path / "cache").digest == first.digest
    assert len(list((tmp_path / "cache").iterdir())) == 1
    (tmp_path / "moved" / "a" / "0.png").rename(tmp_path / "moved" / "a" / "7.png")
    turned = open_cache(find_sources(tmp_path / "moved"), PLAIN, tmp_path / "cache")
    assert turned.digest != first.digest
    assert turned.frames_FHWC[:, 0, 0, 0].tolist() == [44, 48, 40]


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    write_images(tmp_path / "data" / "a", 2)
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(FatalError, match=r"decoded footage must fit into '.*cache': .*; free space or give --cache"):
        open_cache(find_sources(tmp_path / "data"), PLAIN, tmp_path / "cache")
