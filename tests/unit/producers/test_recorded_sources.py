"""Files, folders and the synthetic scene as sources."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from producers.sources import SourceOptions, SourceStatus, open_source
from schemas.errors import FatalError, SettingsError
from tests.unit.producers.scripted_source import START, plain

OPTIONS = SourceOptions(start=START)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
    for value in (20, 80, 140, 200):
        writer.write(plain(value))
    writer.release()
    return path


def write_images(folder: Path, *names: str) -> None:
    for index, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), plain(40 * (index + 1)))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_video_frames_have_the_times_of_the_film(video: Path) -> None:
    source = open_source(str(video), OPTIONS)
    frames = list(source)
    assert source.fps == 25.0
    assert not source.is_live
    assert [round(float(frame.image.mean()), -1) for frame in frames] == [20, 80, 140, 200]
    assert [frame.captured_at - START for frame in frames] == [timedelta(seconds=i / 25) for i in range(4)]
    assert {frame.clock for frame in frames} == {"media"}
    assert frames[0].image.dtype == np.uint8


def test_a_given_rate_wins_over_the_container(video: Path) -> None:
    frames = list(open_source(str(video), replace(OPTIONS, fps=5.0)))
    assert frames[1].captured_at - START == timedelta(seconds=0.2)


def test_without_a_start_the_film_starts_when_it_is_opened(video: Path) -> None:
    first = next(iter(open_source(str(video), SourceOptions(now=lambda: START))))
    assert first.captured_at == START


def test_a_missing_video_is_told_at_once() -> None:
    with pytest.raises(FatalError, match=r"'nowhere\.mp4' is not"):
        open_source("nowhere.mp4")


@pytest.mark.parametrize("content", [b"", b"this is no video" * 100])
def test_an_unreadable_video_is_told_at_once(tmp_path: Path, content: bytes, capfd) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(FatalError, match=rf"broken\.mp4' \({len(content)} bytes\) is not"):
        open_source(str(path))
    assert capfd.readouterr().err == ""


def test_a_truncated_video_gives_what_is_there_and_warns(tmp_path: Path, caplog) -> None:
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for _ in range(40):
        writer.write(plain())
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = list(open_source(str(path), OPTIONS))
    assert 0 < len(frames) < 40


def test_folder_in_natural_order(tmp_path: Path) -> None:
    write_images(tmp_path, "frame2.png", "frame10.png", "frame1.jpg")
    (tmp_path / "notes.txt").write_text("not an image")
    source = open_source(str(tmp_path), replace(OPTIONS, fps=4.0))
    frames = list(source)
    assert [round(float(frame.image.mean()), -1) for frame in frames] == [120, 40, 80]
    assert frames[2].captured_at - START == timedelta(seconds=0.5)


def test_folder_with_pictures_of_different_size(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), plain(width=64))
    cv2.imwrite(str(tmp_path / "2.png"), plain(width=128))
    assert [frame.image.shape[1] for frame in open_source(str(tmp_path), OPTIONS)] == [64, 128]


def test_a_folder_without_images_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="holds none"):
        open_source(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_a_folder_without_one_readable_image_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "7.png").write_bytes(content)
    with pytest.raises(FatalError, match=rf"7\.png' \({len(content)} bytes\) is not; repair or remove it$"):
        list(open_source(str(tmp_path), OPTIONS))


def test_on_past_images_that_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_images(tmp_path, "2.png", "4.png", "7.png")
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "5.png").write_bytes(b"no image")
    (tmp_path / "6.png").write_bytes((tmp_path / "7.png").read_bytes()[:20])
    (tmp_path / "8.png").write_bytes(b"")
    source = open_source(str(tmp_path), replace(OPTIONS, fps=4.0))
    frames = list(source)
    assert [round(float(frame.image.mean()), -1) for frame in frames] == [40, 80, 120]
    assert [4 * (frame.captured_at - START).total_seconds() for frame in frames] == [1, 2, 5]
    assert [[4 * (at - START).total_seconds() for at in frame.missed] for frame in frames] == [[0], [], [3, 4]]
    assert source.num_unreadable == 4
    (told,) = warnings(caplog)
    assert "4 of 7 images were passed over, the first: an image must be readable" in told and "1.png" in told


def test_images_of_another_size_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number, width in enumerate((64, 64, 96)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), plain(width=width))
    list(open_source(str(tmp_path), OPTIONS))
    assert [text.partition(": ")[2] for text in warnings(caplog)] == [
        "its pictures are 96 x 48 from now on, they were 64 x 48"
    ]


def test_status_is_told_once_per_change(tmp_path: Path) -> None:
    write_images(tmp_path, "1.png", "2.png", "3.png")
    seen: list[SourceStatus] = []
    source = open_source(str(tmp_path), replace(OPTIONS, on_status=seen.append))
    assert source.status.state == "offline"
    list(source)
    assert [status.state for status in seen] == ["online", "offline"]
    assert source.status == seen[-1] == SourceStatus("offline", "end of the material")


def test_close_ends_the_iteration(tmp_path: Path) -> None:
    write_images(tmp_path, "1.png", "2.png", "3.png")
    source = open_source(str(tmp_path), OPTIONS)
    frames = iter(source)
    next(frames)
    source.close()
    assert list(frames) == []
    assert source.status.reason == "closed"


def test_synthetic_address() -> None:
    source = open_source("synthetic://walkway?seed=3&seconds=1.5&fps=4", OPTIONS)
    frames = list(source)
    assert source.fps == 4.0
    assert len(frames) == 6
    assert frames[0].image.shape == (240, 320, 3)
    assert frames[3].captured_at - START == timedelta(seconds=0.75)


def test_a_synthetic_scene_by_another_camera() -> None:
    one, other = (next(iter(open_source(f"synthetic://walkway?camera={camera}", OPTIONS))) for camera in (0, 7))
    assert np.abs(one.image.astype(int) - other.image.astype(int)).mean() > 20


def test_synthetic_without_end() -> None:
    source = open_source("synthetic://walkway?seconds=0&anomalies=0", OPTIONS)
    frames = iter(source)
    assert len([next(frames) for _ in range(3)]) == 3
    source.close()
    assert next(frames, None) is None


@pytest.mark.parametrize(
    "text",
    [
        "synthetic://beach",
        "synthetic://walkway?sede=1",
        "synthetic://walkway?seed=one",
        "synthetic://walkway?seed=-1",
        "synthetic://walkway?camera=-1",
        "synthetic://walkway?camera=gate",
        "synthetic://walkway?fps=0",
        "synthetic://walkway?seconds=nan",
        "synthetic://walkway?anomalies=2",
    ],
)
def test_wrong_synthetic_addresses(text: str) -> None:
    with pytest.raises(SettingsError, match="must be"):
        open_source(text)


@pytest.mark.parametrize("fps", [0.0, -1.0, 2000.0])
def test_wrong_rate(fps: float) -> None:
    with pytest.raises(SettingsError, match="fps"):
        SourceOptions(fps=fps)


def test_start_needs_a_zone() -> None:
    with pytest.raises(SettingsError, match="time zone"):
        SourceOptions(start=START.replace(tzinfo=None))
    with pytest.raises(SettingsError, match="start must lie from 1970 to 2200, got 1900"):
        SourceOptions(start=START.replace(year=1900))


def test_signs_that_are_digits_and_no_numbers_are_read_as_letters(tmp_path: Path) -> None:
    for number, name in enumerate(["3.png", "²1.png", "a²2.png", "٤.png"]):
        (tmp_path / name).write_bytes(cv2.imencode(".png", plain(10 * number))[1].tobytes())
    frames = open_source(str(tmp_path), OPTIONS)
    assert [int(frame.image[0, 0, 0]) // 10 for frame in frames] == [0, 3, 2, 1], "٤ is an Arabic 4"
