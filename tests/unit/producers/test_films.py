"""Films as people have them: sizes that change, pictures out of order, holes, turned pictures, times and places."""

import io
from collections.abc import Sequence
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from producers.shrinking import num_halvings, shrunk
from producers.sources import CapturedFrame, Image, SourceOptions, open_source
from producers.sources.picture import Converter, set_threads
from producers.sources.video_file import VideoFileSource
from schemas.errors import BadMessageError, FatalError
from tests.unit.producers.scripted_source import START

OPTIONS = SourceOptions(start=START)
STEADY = {"preset": "ultrafast", "tune": "zerolatency", "g": "10", "bf": "0"}
REORDERED = {"preset": "veryfast", "g": "50", "bf": "3", "qp": "20"}


def picture(number: int, size: tuple[int, int] = (160, 120)) -> Image:
    """Noise that takes some bytes, and a disc that moves."""
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    busy = cv2.circle(cv2.GaussianBlur(noise, (9, 9), 3), (20 + number % 100, 60), 12, (20, 60, 250), -1)
    return np.asarray(cv2.resize(busy, size), dtype=np.uint8)


def film(
    target: object,
    times: Sequence[float],
    size: tuple[int, int] = (160, 120),
    container: str = "mp4",
    options: dict[str, str] = STEADY,
) -> None:
    """H.264 with these times in seconds."""
    tick = Fraction(1, 90_000)
    with av.open(target, "w", format=container) as made:
        stream = made.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = tick
        for number, seconds in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number, size), "bgr24")
            frame.pts, frame.time_base = round(seconds / tick), tick
            made.mux(stream.encode(frame))
        made.mux(stream.encode())


def steady(num: int, first: int = 0) -> list[float]:
    return [(first + number) / 25 for number in range(num)]


def read(path: Path, options: SourceOptions = OPTIONS) -> list[CapturedFrame]:
    return list(open_source(str(path), options))


def seconds(frames: Sequence[CapturedFrame]) -> list[float]:
    return [(frame.captured_at - START).total_seconds() for frame in frames]


def damage(path: Path, share: float, num_bytes: int = 6000) -> None:
    content = bytearray(path.read_bytes())
    at = int(len(content) * share)
    content[at : at + num_bytes] = np.random.default_rng(1).integers(0, 256, num_bytes).astype(np.uint8).tobytes()
    path.write_bytes(content)


def test_pictures_are_those_that_opencv_sees_bit_by_bit(tmp_path: Path) -> None:
    """Training reads films by OpenCV."""
    path = tmp_path / "film.mp4"
    film(str(path), steady(40), options=REORDERED)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = read(path)
    assert len(frames) == 40
    for frame in frames:
        assert np.array_equal(frame.image, capture.read()[1])


def test_a_film_that_changes_its_size_is_shown_in_each_size_and_that_is_told(tmp_path: Path, caplog) -> None:
    parts, path = [], tmp_path / "film.ts"
    for number, size in enumerate(((160, 120), (96, 64), (160, 120))):
        part = io.BytesIO()
        film(part, steady(20, first=20 * number), size, "mpegts")
        parts.append(part.getvalue())
    path.write_bytes(b"".join(parts))
    frames = read(path)
    assert [frame.image.shape[:2] for frame in frames] == [(120, 160)] * 20 + [(64, 96)] * 20 + [(120, 160)] * 20
    assert seconds(frames) == pytest.approx(steady(60), abs=0.001)
    assert f"{path}: its pictures are 96 x 64 from now on, they were 160 x 120" in caplog.messages


def test_times_of_a_film_of_varying_rate_with_pictures_out_of_order_are_right(tmp_path: Path) -> None:
    times = np.cumsum([0, *[0.04] * 20, *[0.5] * 5, *[0.013] * 20, 30.0, *[0.04] * 20]).tolist()
    film(str(tmp_path / "film.mp4"), times, options=REORDERED)
    assert seconds(read(tmp_path / "film.mp4")) == pytest.approx(times, abs=0.001)


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_behind_damage_the_film_goes_on_at_its_time_and_what_is_lost_is_counted(tmp_path: Path, container: str) -> None:
    """Pictures come out of the decoder late and, behind damage, out of order."""
    path = tmp_path / "film"
    film(str(path), steady(250), container=container, options=REORDERED)
    damage(path, 0.35)
    source = open_source(str(path), OPTIONS)
    frames = list(source)
    times = seconds(frames)
    assert 150 < len(frames) < 250
    assert len(frames) + source.num_unreadable == 250
    assert sum(len(frame.missed) for frame in frames) == source.num_unreadable
    assert times == sorted(set(times))
    assert times[-1] == pytest.approx(249 / 25, abs=0.001)


def test_a_recording_that_begins_at_a_time_of_its_own_says_where_in_the_film_each_frame_is(tmp_path: Path) -> None:
    film(str(tmp_path / "film.mp4"), [5 + at for at in steady(10)])
    frames = read(tmp_path / "film.mp4")
    assert frames[0].captured_at == START
    assert [frame.offset_s for frame in frames] == pytest.approx(steady(10), abs=0.001)
    assert frames[-1].captured_at == START + timedelta(seconds=9 / 25)


def test_a_rate_that_is_given_sets_the_time_and_leaves_the_place_in_the_film(tmp_path: Path) -> None:
    film(str(tmp_path / "film.mp4"), steady(10))
    frames = read(tmp_path / "film.mp4", SourceOptions(start=START, fps=5))
    assert seconds(frames) == pytest.approx([number / 5 for number in range(10)])
    assert [frame.offset_s for frame in frames] == pytest.approx(steady(10), abs=0.001)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_film_of_a_phone_is_upright(tmp_path: Path, turns: int) -> None:
    """As OpenCV turns it, and with it what a network was trained on."""
    path = tmp_path / "film.mp4"
    film(str(path), steady(3))
    content = path.read_bytes()
    one = 1 << 16
    straight = b"".join(value.to_bytes(4, "big", signed=True) for value in (one, 0, 0, 0, one, 0, 0, 0, 1 << 30))
    cosine, sine = ((0, one), (-one, 0), (0, -one))[turns - 1]
    turned = (cosine, sine, 0, -sine, cosine, 0, 0, 0, 1 << 30)
    at = content.index(straight, content.index(b"tkhd"))
    whole = content[:at] + b"".join(value.to_bytes(4, "big", signed=True) for value in turned) + content[at + 36 :]
    path.write_bytes(whole)
    wanted = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG).read()[1]
    assert wanted.shape[:2] == ((160, 120) if turns % 2 else (120, 160))
    assert np.array_equal(read(path)[0].image, wanted)


def test_what_is_sampled_out_is_never_made_into_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film(str(tmp_path / "film.mp4"), steady(10))
    made: list[int] = []
    source = open_source(str(tmp_path / "film.mp4"), OPTIONS)
    for number, frame in enumerate(source):
        assert callable(frame.picture)
        if number == 7:
            made.append(int(frame.image[60, 60, 2]))
    assert len(made) == 1


@pytest.mark.parametrize("wanted", [(64, 48), (160, 120), (32, 24)])
def test_a_picture_that_is_wanted_small_is_made_smaller_and_is_the_same(
    tmp_path: Path, wanted: tuple[int, int]
) -> None:
    path = tmp_path / "film.mp4"
    film(str(path), steady(10), size=(640, 480))
    for frame in open_source(str(path), OPTIONS):
        whole, small = frame.image, frame.image_for(wanted)
        times = num_halvings((640, 480), wanted)
        assert small.shape == (480 >> times, 640 >> times, 3)
        difference = np.abs(shrunk(small, wanted).astype(int) - shrunk(whole, wanted))
        assert difference.mean() < 1.5
        if times == 0:
            np.testing.assert_array_equal(small, whole)


@pytest.mark.parametrize(("size", "num_threads"), [((64, 48), 1), ((1920, 1088), 1), ((3840, 2160), 2)])
def test_large_pictures_have_a_second_thread(tmp_path: Path, size: tuple[int, int], num_threads: int) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as made:
        stream = made.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for packet in (*stream.encode(av.VideoFrame(*size, "yuv420p")), *stream.encode(None)):
            made.mux(packet)
    with av.open(str(path)) as film:
        (video,) = film.streams.video
        set_threads(video)
        assert video.codec_context.thread_count == num_threads


def test_a_picture_that_cannot_be_shown_is_one_that_cannot_be_read() -> None:
    """Its frame is dropped and counted, and the session goes on."""
    frame = av.VideoFrame(64, 48, "gray32be")  # there is such a thing, and nobody converts it
    shown = CapturedFrame(Converter().picture(frame).image, START, "media")
    with pytest.raises(BadMessageError, match="gray32be is not") as refused:
        _ = shown.image
    assert refused.value.reason == "unreadable"


def test_what_holds_no_pictures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48_000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(FatalError, match="must hold pictures of a kind that FFmpeg knows"):
        VideoFileSource(path, OPTIONS)
    path.write_bytes(b"no film at all" * 100)
    with pytest.raises(FatalError, match=r"must be readable by FFmpeg, .* \(1400 bytes\) is not"):
        VideoFileSource(path, OPTIONS)
