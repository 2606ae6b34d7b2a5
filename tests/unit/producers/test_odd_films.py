"""Films that are damaged, of varying rate, or that lie about their rate."""

from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.sampling import FilmClock
from producers.feed import CameraFeed, FeedRun
from producers.outlet import Outlet
from producers.pacing import PacingOptions
from producers.sources import Image, SourceOptions, open_source
from schemas.errors import FatalError
from tests.unit.producers.matroska import write_matroska
from tests.unit.producers.memory_publisher import MemoryPublisher
from tests.unit.producers.scripted_source import START, plain

OPTIONS = SourceOptions(start=START)


def busy_picture(number: int) -> Image:
    """A picture that takes some bytes, with a disc that moves."""
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    image = np.asarray(cv2.GaussianBlur(noise, (9, 9), 3), dtype=np.uint8)
    return np.asarray(cv2.circle(image, (20 + number % 100, 60), 12, (255, 255, 255), -1), dtype=np.uint8)


def write_film(path: Path, codec: str, fps: float, num_frames: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, (160, 120))
    for number in range(num_frames):
        writer.write(busy_picture(number))
    writer.release()


def damage(path: Path, share: float, num_bytes: int) -> None:
    content = bytearray(path.read_bytes())
    at = int(len(content) * share)
    content[at : at + num_bytes] = np.random.default_rng(1).integers(0, 256, num_bytes).astype(np.uint8).tobytes()
    path.write_bytes(content)


def pictures(*times_ms: int) -> list[bytes]:
    return [cv2.imencode(".jpg", plain(20 + number % 200))[1].tobytes() for number in range(len(times_ms))]


def seconds(path: Path, options: SourceOptions = OPTIONS) -> list[float]:
    return [(frame.captured_at - START).total_seconds() for frame in open_source(str(path), options)]


def test_a_film_goes_on_behind_a_damaged_packet(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write_film(path, "mp4v", 25.0, 121)
    damage(path, 0.35, 6000)
    publisher = MemoryPublisher()
    source = open_source(str(path), OPTIONS)
    run = FeedRun(
        CameraFeed("gate", source, pacing=PacingOptions(mode="backfill")), Outlet(publisher, "t", lambda: START)
    )
    run.run()
    counts = run.counts()
    assert run.error is None
    assert counts.sent > 90, "what can be decoded behind the damage is sent"
    assert counts.dropped == {"unreadable": 121 - counts.sent}
    assert counts.captured == 121
    # Indices and times are those of the whole film: the hole is a gap.
    assert publisher.frames[-1].frame_index == 120
    assert publisher.headers[-1].frame_index == 121
    for header in publisher.frames:
        assert (header.captured_at - START).total_seconds() == pytest.approx(header.frame_index / 25, abs=0.002)


@pytest.mark.parametrize("codec", ["mp4v", "MJPG"])
def test_times_behind_damage_are_right_in_a_container_with_time_stamps(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "film.mkv"
    write_film(path, codec, 25.0, 121)
    damage(path, 0.35, 6000)
    times = seconds(path)
    assert 80 < len(times) < 121
    assert times[-1] == pytest.approx(120 / 25, abs=0.01)


def test_a_film_of_varying_rate_keeps_its_times(tmp_path: Path) -> None:
    steps = [40] * 10 + [500] * 10 + [40] * 10 + [2000] * 9
    times_ms = [0, *(int(at) for at in np.cumsum(steps))]
    write_matroska(tmp_path / "film.mkv", pictures(*times_ms), times_ms, (64, 48))
    assert seconds(tmp_path / "film.mkv") == pytest.approx([at / 1000 for at in times_ms])


def test_time_stamps_that_start_again_go_on(tmp_path: Path) -> None:
    times_ms = [number * 40 for number in range(20)] * 2
    write_matroska(tmp_path / "film.mkv", pictures(*times_ms), times_ms, (64, 48))
    assert seconds(tmp_path / "film.mkv") == pytest.approx([number * 0.04 for number in range(40)])


def bare(path: Path, codec: str, fps: int) -> Path:
    """Pictures one behind the other, without a container."""
    with av.open(str(path), "w") as film:
        stream = film.add_stream(codec, rate=fps)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for image in [np.full((48, 64, 3), 8 * index, np.uint8) for index in range(30)]:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        film.mux(stream.encode())
    return path


def test_pictures_without_time_stamps_come_at_the_rate_that_stands_in_them(tmp_path: Path, caplog) -> None:
    path = bare(tmp_path / "film.h264", "libx264", 10)
    assert seconds(path) == pytest.approx([number / 10 for number in range(30)])
    assert "--source-fps" not in caplog.text


def test_a_rate_that_stands_nowhere_is_told(tmp_path: Path, caplog) -> None:
    path = bare(tmp_path / "film.mjpeg", "mjpeg", 10)
    assert seconds(path) == pytest.approx([number / 25 for number in range(30)])
    assert "film.mjpeg: it says no frame rate, 25 a second are taken for it; --source-fps gives the" in caplog.text
    caplog.clear()
    source = open_source(str(path), replace(OPTIONS, fps=10.0))
    assert [frame.offset_s for frame in source][-1] == pytest.approx(29 / 25), "as a player shows it"
    assert "--source-fps" not in caplog.text


def test_a_time_base_taken_for_a_rate_is_seen_through(tmp_path: Path, caplog) -> None:
    times_ms = [0, 40, 80, 120, 161, 200, 240, 280, 320, 361]
    write_matroska(tmp_path / "film.mkv", pictures(*times_ms), times_ms, (64, 48))
    source = open_source(str(tmp_path / "film.mkv"), OPTIONS)
    assert source.fps == pytest.approx(25, rel=0.01)
    assert [(frame.captured_at - START).total_seconds() for frame in source] == pytest.approx(
        [at / 1000 for at in times_ms]
    )


@pytest.mark.parametrize("fps", [1000.0, 600.0])
def test_a_rate_that_cannot_be_is_refused_with_a_way_out(tmp_path: Path, fps: float) -> None:
    path = tmp_path / "film.avi"
    write_film(path, "MJPG", fps, 40)
    with pytest.raises(FatalError, match=r"says 1?[06]+ ?.*; give the true one with --source-fps"):
        open_source(str(path), OPTIONS)
    assert seconds(path, replace(OPTIONS, fps=10.0)) == pytest.approx([number / 10 for number in range(40)])


def test_stamps_that_stand_still_give_no_rate(tmp_path: Path) -> None:
    write_matroska(tmp_path / "film.mkv", pictures(*[0] * 9), [0] * 9, (64, 48))
    with pytest.raises(FatalError, match="--source-fps"):
        open_source(str(tmp_path / "film.mkv"), OPTIONS)


def test_a_name_with_colons_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("2026-01-31T08:00:00.avi", "-x #1?%20d.avi"):
        write_film(tmp_path / "film.avi", "MJPG", 10.0, 3)
        (tmp_path / "film.avi").rename(name)
        assert len(seconds(Path(name))) == 3


def test_a_film_too_short_for_one_clip_is_told(tmp_path: Path, caplog) -> None:
    path = tmp_path / "film.avi"
    write_film(path, "MJPG", 200.0, 40)
    feed = CameraFeed("gate", open_source(str(path), OPTIONS), pacing=PacingOptions(fps=10, mode="backfill"))
    FeedRun(feed, Outlet(MemoryPublisher(), "t", lambda: START)).run()
    assert "gave 2 frames to send, and one score takes 5: nothing will be scored" in caplog.text
    assert "200 a second, --source-fps sets it" in caplog.text


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=30), st.floats(0.1, 240))
def test_the_clock_of_a_film_runs_forwards_whatever_the_stamps(stamps: list[float], fps: float) -> None:
    clock = FilmClock(fps, is_rate_given=False)
    times = [clock.next(stamp, was_damaged=False)[0] for stamp in stamps]
    assert times[0] == 0
    assert times == sorted(times)
