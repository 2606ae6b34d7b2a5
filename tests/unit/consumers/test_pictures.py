"""Timeline and annotated video: what is drawn where."""

from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from consumers.annotate import BANNER_PX, BAR_PX, Cloud, ScoredFrame, annotate_video, annotated
from consumers.timeline import Span, Timeline, draw_timeline, event_spans
from schemas.errors import FatalError
from schemas.messages import HeatMap, Region
from tests.unit.consumers.samples import at, event, score

GREY = np.full((120, 160, 3), 90, np.uint8)


def test_an_event_spans_from_start_to_its_last_anomalous_frame() -> None:
    messages = [event(10, 10), event(10, 30, "end", 2), event(10, 20, "update", 1), event(50, 50, camera_id="cam2")]
    assert event_spans(messages) == (Span("cam1", at(10), at(30)), Span("cam2", at(50), at(50)))


def test_a_timeline_has_a_row_per_camera(tmp_path: Path) -> None:
    scores = [score(index, None if index < 4 else 0.2, camera) for index in range(60) for camera in ("cam1", "cam2")]
    truth = [Span("cam1", at(20), at(40))]
    one, two = tmp_path / "one.png", tmp_path / "deep" / "two.png"
    draw_timeline(Timeline(scores[::2]), one)
    draw_timeline(Timeline(scores, [event(22, 41, "end", 1)], truth), two)
    single, double = cv2.imread(str(one)), cv2.imread(str(two))
    assert single is not None
    assert double is not None
    assert double.shape[0] > 1.5 * single.shape[0]
    assert colours(double) > colours(single)


def colours(picture: np.ndarray) -> int:
    """How many pixels are clearly neither grey nor the blue of the curve."""
    blue, green, red = (picture[..., channel].astype(int) for channel in range(3))
    return int(((red - blue > 30) & (red - green > 5)).sum())


def test_a_timeline_without_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one score"):
        draw_timeline(Timeline([]), tmp_path / "x.png")


def test_a_calm_frame_gets_a_bar_only() -> None:
    picture = annotated(ScoredFrame(GREY, score(3, 0.5), None))
    assert picture.shape[1] == 320
    assert picture.shape[0] % 2 == 0
    assert (picture[:240] == 90).all()
    bar = picture[240 + BAR_PX // 2 - 4, :]
    assert (bar[150:158] != bar[165:173]).any()


def test_the_bar_grows_with_the_score() -> None:
    def filled(value: float) -> int:
        picture = annotated(ScoredFrame(GREY, score(3, value), None))
        return int((picture[242, :, 1] == 180).sum())

    assert filled(0.0) <= 1
    assert filled(0.5) == pytest.approx(160, abs=2)
    assert filled(1.0) == 320


def test_an_event_shows_a_banner_and_heat_where_the_map_says() -> None:
    state = event(5, 12, "update", 1).data
    picture = annotated(ScoredFrame(GREY, score(12, 0.9), state, Cloud(state.heat_map)))
    assert (picture[: BANNER_PX - 1, 310] == (60, 60, 220)).all()
    quiet, hot = picture[BANNER_PX + 10, 5], picture[230, 315]
    assert (quiet == 90).all()
    assert hot[2] > 130 > 90 > hot[0]
    assert (GREY == 90).all(), "the frame itself must not be drawn on"


def test_heat_and_boxes_are_those_of_the_frame_and_not_of_the_peak() -> None:
    state = event(5, 12, "update", 1).data
    bare = annotated(ScoredFrame(GREY, score(12, 0.9), state))
    assert (bare[BANNER_PX + 1 : 240] == 90).all(), "what the event says of its peak is not drawn"
    here = HeatMap(rows=2, columns=2, values=(0, 0, 255, 0), scale="common")
    boxed = annotated(
        ScoredFrame(GREY, score(12, 0.9), state, Cloud(here, (Region(box=(0, 0.5, 0.25, 0.4), score=1),)))
    )
    hot, quiet, line = boxed[230, 5], boxed[230, 315], boxed[150, 78:82, 2].astype(int) - boxed[150, 78:82, 0]
    assert hot[2] > 130 > 90 > hot[0]
    assert (quiet == 90).all()
    assert line.max() > 100, "the right side of the box"


def test_a_video_holds_every_frame(tmp_path: Path) -> None:
    frames = ([ScoredFrame(GREY, score(index, None if index < 4 else 0.1), None)] * 2 for index in range(12))
    path = tmp_path / "out" / "annotated.mp4"
    assert annotate_video(frames, path, fps=10.0) == 12
    video = cv2.VideoCapture(str(path))
    read = 0
    while video.read()[0]:
        read += 1
    assert read == 12
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10.0)
    assert video.get(cv2.CAP_PROP_FRAME_WIDTH) == 640, "two cameras side by side"
    assert int(video.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little") in (b"avc1", b"h264"), "H.264, which browsers play"
    video.release()


def test_no_frames_make_no_video(tmp_path: Path) -> None:
    assert annotate_video((), tmp_path / "none.mp4", fps=10.0) == 0
    assert not (tmp_path / "none.mp4").exists()


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "taken.mp4"
    folder.mkdir()
    with pytest.raises(FatalError, match=r"must be a file that can be written as MP4"):
        annotate_video([[ScoredFrame(GREY, score(1), None)]], folder, fps=10.0)


def test_spans_are_drawn_relative_to_the_first_frame(tmp_path: Path) -> None:
    """Two cameras that started an hour apart are both drawn from zero."""
    late = [score(i, 0.3, "late").model_copy(update={"captured_at": at(i) + timedelta(hours=1)}) for i in range(30)]
    path = tmp_path / "late.png"
    draw_timeline(Timeline([score(i, 0.3) for i in range(30)] + late), path)
    assert path.stat().st_size > 5000
