"""Which frames are kept: of films of a steady rate by number, of all others by their time stamps, as producers send."""

import logging
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.formats import ClipFormat, FrameFormat
from inference.sampling import Sampler
from producers.feed import CameraFeed, FeedRun
from producers.outlet import Outlet
from producers.pacing import PacingOptions
from producers.sources import SourceOptions, open_source
from schemas.errors import FatalError
from tests.unit.producers.matroska import write_matroska
from tests.unit.producers.memory_publisher import MemoryPublisher
from tests.unit.training.small_footage import HEIGHT, WIDTH, write_images, write_video
from training.footage.dataset import CacheFormat, FrameCache, open_cache
from training.footage.labelled import open_labelled
from training.footage.sources import Source, find_sources, promised_frames
from training.footage.timing import Choice, Rate, is_steady, usual_rate, varying_times

START = datetime(2026, 1, 5, tzinfo=timezone.utc)
GREY = FrameFormat(32, 24, 1)
DAY_AND_NIGHT = [33 * number for number in range(30)] + [990 + 125 * number for number in range(10)]
"""Milliseconds: a second of 30 frames, then frames that come eight a second."""
TELEPHONE = np.cumsum(np.tile([33, 34, 33, 50, 17, 33, 67], 6)).tolist()


def write_film(path: Path, times_ms: Sequence[int]) -> Source:
    """A film whose frames can be told apart, see ``level_of``; 80 of them at most."""
    path.parent.mkdir(parents=True, exist_ok=True)
    jpegs = [
        cv2.imencode(".jpg", np.full((HEIGHT, WIDTH, 3), 3 * n, np.uint8))[1].tobytes() for n in range(len(times_ms))
    ]
    write_matroska(path, jpegs, times_ms, (WIDTH, HEIGHT))
    return Source(path.name, (path,))


def numbers_in(frames: np.ndarray) -> list[int]:
    return [round(float(frame.mean()) / 3) for frame in frames]


def decoded(source: Source, cache: Path, fps: float | None) -> FrameCache:
    return open_cache([source], CacheFormat(GREY, fps), cache)


def sent(film: Path, fps: float) -> list[int]:
    """What a producer sends of it."""
    publisher = MemoryPublisher()
    feed = CameraFeed(
        "gate", open_source(str(film), SourceOptions(start=START)), pacing=PacingOptions(fps, mode="backfill")
    )
    FeedRun(feed, Outlet(publisher, "frames", lambda: START)).run()
    jpegs = [record.value for record in publisher.records if record.value]
    return numbers_in(np.stack([read_image(jpeg) for jpeg in jpegs]))


def read_image(jpeg: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE))


@pytest.mark.parametrize(
    ("own", "wanted", "step"),
    [(30.0, None, 1.0), (30.0, 10.0, 3.0), (25.0, 10.0, 2.5), (10.9, 10.0, 1.0), (29.97, 30.0, 1.0), (10.0, 30.0, 1.0)],
)
def test_footage_that_is_faster_is_thinned_to_the_wanted_rate(own: float, wanted: float | None, step: float) -> None:
    assert Rate(wanted).step(own) == step


def test_kept_are_the_frames_nearest_to_a_steady_rate() -> None:
    assert Choice(10.0, 2.5).kept(11).tolist() == [0, 2, 5, 7, 10]
    assert Choice(10.0, 2.5).kept(10).tolist() == [0, 2, 5, 7]
    assert Choice(10.0, 3.0).kept(7).tolist() == [0, 3, 6]
    assert Choice(10.0).kept(4).tolist() == [0, 1, 2, 3]
    assert Choice(10.0, 2.5).kept(0).tolist() == []


@pytest.mark.parametrize("own", [12.0, 15.0, 24.0, 25.0, 29.97, 30.0, 50.0, 59.94])
def test_training_and_judging_see_the_frames_that_a_producer_would_send(own: float) -> None:
    sampler = Sampler(10.0)
    taken = [index for index in range(600) if sampler.takes(START + timedelta(seconds=index / own))]
    assert Choice(10.0, Rate(10.0).step(own)).kept(600).tolist() == taken


@pytest.mark.parametrize("times_ms", [DAY_AND_NIGHT, TELEPHONE])
@pytest.mark.parametrize("fps", [5.0, 10.0, 20.0])
def test_of_a_film_whose_rate_varies_the_frames_are_kept_that_a_producer_sends(
    tmp_path: Path, times_ms: list[int], fps: float
) -> None:
    source = write_film(tmp_path / "film.mkv", times_ms)
    footage = decoded(source, tmp_path / "cache", fps)
    kept = numbers_in(footage.frames_FHWC)
    assert kept == sent(source.files[0], fps)
    assert kept == Rate(fps).choice(source).kept(len(times_ms)).tolist()
    steps_ms = np.diff(np.array(times_ms)[kept])
    slow = np.diff(times_ms).max()
    assert steps_ms.min() > 500 / fps, "by number some would follow each other three times as fast"
    assert steps_ms.max() <= 1000 / fps + slow


def test_where_no_rate_is_wanted_the_usual_one_is_kept_as_a_producer_will_send_it(tmp_path: Path) -> None:
    source = write_film(tmp_path / "film.mkv", DAY_AND_NIGHT)
    footage = decoded(source, tmp_path / "cache", None)
    (video,) = footage.videos
    assert video.fps == pytest.approx(30.3, abs=0.1)
    assert numbers_in(footage.frames_FHWC) == sent(source.files[0], video.fps) == list(range(40))
    mostly_night = write_film(tmp_path / "night.mkv", [33 * n for n in range(15)] + [495 + 125 * n for n in range(40)])
    footage = decoded(mostly_night, tmp_path / "cache", None)
    (video,) = footage.videos
    assert video.fps == pytest.approx(8.0, abs=0.1)
    kept = numbers_in(footage.frames_FHWC)
    assert kept == sent(mostly_night.files[0], video.fps)
    assert kept[:4] == [0, 4, 8, 11]


def test_labels_of_a_film_whose_rate_varies_meet_their_frames(tmp_path: Path) -> None:
    """One label for each frame of the film, whichever of them are kept."""
    write_film(tmp_path / "data" / "test" / "film.mkv", DAY_AND_NIGHT)
    (tmp_path / "data" / "train").mkdir()
    (tmp_path / "data" / "labels").mkdir()
    truth = (np.arange(40) % 7 == 0).astype(np.uint8)
    np.save(tmp_path / "data" / "labels" / "film.npy", truth)
    (tmp_path / "data" / "masks").mkdir()
    np.savez(tmp_path / "data" / "masks" / "film.npz", mask=np.broadcast_to(truth[:, None, None], (40, HEIGHT, WIDTH)))
    wanted = CacheFormat(GREY, fps=10.0)
    footage = open_labelled(tmp_path / "data", None, wanted, ClipFormat(5), tmp_path / "cache")
    (clip,) = footage.clips
    shown = numbers_in(footage.cache.frames_FHWC)
    assert shown[:4] == [0, 3, 6, 9]
    assert clip.labels_T.tolist() == truth[shown].tolist()
    masks = clip.masks()
    assert masks is not None
    assert masks[:, 0, 0].tolist() == truth[shown].tolist()
    for count in (38, 41):
        np.save(tmp_path / "data" / "labels" / "film.npy", np.zeros(count))
        with pytest.raises(FatalError, match=f"'film.mkv' must have one label a frame, got {count} for 40 frames"):
            open_labelled(tmp_path / "data", None, wanted, ClipFormat(5), tmp_path / "cache")


def test_a_container_that_knows_its_length_alone_does_not_say_how_many_frames_there_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten seconds at the rate that it states would be 300 frames; none of them is missing."""
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        for number, at in enumerate([*range(30), *range(30, 300, 6)]):
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), 3 * number, np.uint8), format="bgr24")
            frame = frame.reformat(format="yuvj420p")
            frame.pts, frame.time_base = at, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    source = Source(path.name, (path,))
    assert promised_frames(path) > 290
    footage = decoded(source, tmp_path / "cache", 5.0)
    assert numbers_in(footage.frames_FHWC) == sent(path, 5.0)
    assert not [
        record for record in caplog.records if record.name.startswith("training") and record.levelno >= logging.WARNING
    ]
    assert Rate(5.0).choice(source).possible_lengths(len(footage.frames_FHWC)) == range(75, 76)


def test_no_clip_reaches_over_a_pause(tmp_path: Path) -> None:
    """As a worker begins anew there; the truth stays in step behind it."""
    times_ms = [100 * n for n in range(12)] + [60_000 + 100 * n for n in range(9)]
    write_film(tmp_path / "data" / "test" / "film.mkv", times_ms)
    (tmp_path / "data" / "train").mkdir()
    (tmp_path / "data" / "labels").mkdir()
    np.save(tmp_path / "data" / "labels" / "film.npy", np.arange(21) >= 14)
    footage = open_labelled(tmp_path / "data", None, CacheFormat(GREY), ClipFormat(5), tmp_path / "cache")
    assert [(clip.name, clip.video.num_frames) for clip in footage.clips] == [("film", 12), ("film from frame 12", 9)]
    assert [clip.labels_T.tolist() for clip in footage.clips] == [[0] * 12, [0, 0, *[1] * 7]]


@pytest.mark.parametrize("fps", [10.0, 15.0, 23.976, 29.97, 120.0])
def test_stamps_that_are_rounded_are_those_of_a_steady_rate(tmp_path: Path, fps: float) -> None:
    source = write_film(tmp_path / "film.mkv", [round(1000 * number / fps) for number in range(60)])
    assert varying_times(source.files[0]) is None
    choice = Rate(fps / 2.5).choice(source)
    assert choice.chosen is None
    assert choice.step == pytest.approx(2.5, rel=0.01)


def test_films_of_a_steady_rate_and_pictures_are_kept_by_number(tmp_path: Path) -> None:
    write_video(tmp_path / "film.avi", 20, fps=25.0)
    write_images(tmp_path / "pictures", 20)
    film, pictures = find_sources(tmp_path)
    assert Rate(10.0, 25.0).choice(film) == Rate(10.0, 25.0).choice(pictures) == Choice(10.0, 2.5)


@pytest.mark.parametrize("times_ms", [[0] * 30, [1000 * (n % 2) for n in range(30)], list(range(3000, 0, -100))])
def test_without_stamps_that_run_forwards_numbers_count(tmp_path: Path, times_ms: list[int]) -> None:
    source = write_film(tmp_path / "film.mkv", times_ms)
    assert varying_times(source.files[0]) is None


def test_a_film_that_is_none_is_left_to_who_reads_it(tmp_path: Path) -> None:
    (tmp_path / "film.mkv").write_bytes(b"no film")
    assert varying_times(tmp_path / "film.mkv") is None


def test_a_film_whose_rate_varies_is_told_once_with_its_rates(tmp_path: Path, caplog) -> None:
    source = write_film(tmp_path / "film.mkv", DAY_AND_NIGHT)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            decoded(source, tmp_path / "cache", 10.0)
            Rate(10.0).choice(source)
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith(
        f"'{source.files[0]}' has 8 to 30.3 frames a second: which are kept is told by its time stamps"
    )


def test_a_film_that_was_changed_is_looked_at_again(tmp_path: Path) -> None:
    source = write_film(tmp_path / "film.mkv", DAY_AND_NIGHT)
    assert varying_times(source.files[0]) is not None
    write_film(tmp_path / "film.mkv", [40 * number for number in range(41)])
    assert varying_times(source.files[0]) is None


@given(st.floats(0.5, 120), st.integers(3, 200), st.floats(0, 1e4), st.randoms(use_true_random=False))
def test_jitter_below_a_quarter_of_a_frame_is_steady_and_a_lost_frame_is_not(fps, num_frames, begin_s, chance) -> None:
    times_F = np.array([begin_s + (number + chance.uniform(-0.1, 0.1)) / fps for number in range(num_frames)])
    assert is_steady(times_F)
    assert usual_rate(times_F) == pytest.approx(fps, rel=0.2)
    if num_frames > 10:
        assert not is_steady(np.delete(times_F, num_frames // 2))


def test_how_many_frames_a_damaged_film_had_its_container_says(tmp_path: Path) -> None:
    """Of thirty frames five are gone, and a sixth cannot be decoded."""
    source = write_film(tmp_path / "film.mkv", [100 * number for number in (*range(10), *range(15, 30))])
    content = bytearray(source.files[0].read_bytes())
    damaged = list(re.finditer(b"\xff\xd8\xff", bytes(content)))[20].start()
    content[damaged : damaged + 300] = bytes(300)
    source.files[0].write_bytes(content)
    times = varying_times(source.files[0])
    assert times is not None
    assert (len(times.at_s_F), times.is_whole) == (24, False)
    choice = Rate().choice(source)
    assert (choice.num_read, choice.num_known) == (24, 0)
    assert choice.pauses == {10}, "six tenths of a second are a pause"
