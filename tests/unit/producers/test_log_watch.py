"""When a log counts as away and when as back, by a clock of the test; and names of files that only look odd."""

import logging
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from producers.outlet import SILENT_AFTER_S, LogWatch
from producers.sources import SourceOptions, open_source
from producers.sources.image_folder import ImageFolderSource
from producers.sources.jpeg_frames import JpegSplitter
from schemas.errors import BadMessageError, TransientError
from tests.unit.producers.scripted_source import START, noisy, plain

AWAY = TransientError("away")


class Watched:
    """A watch, its clock, and what it told."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.now_s = 1000.0
        self.watch = LogWatch(lambda: self.now_s)
        self._caplog = caplog

    @property
    def told(self) -> list[str]:
        return [line.partition(":")[0] for line in self._caplog.messages]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[Watched]:
    with caplog.at_level(logging.WARNING):
        yield Watched(caplog)


def test_silence_counts_from_the_first_frame_that_waits(log: Watched) -> None:
    log.now_s += 1000
    log.watch.look()
    assert not log.watch.is_away, "nothing was asked, so nothing is owed"
    log.watch.hand_over()
    log.now_s += SILENT_AFTER_S / 2
    log.watch.hand_over()
    log.now_s += SILENT_AFTER_S / 2
    log.watch.look()
    assert not log.watch.is_away
    log.now_s += 0.001
    log.watch.look()
    log.watch.look()
    assert log.watch.is_away
    assert log.told == ["the log takes no frames any more"]


def test_what_was_taken_back_owes_no_answer(log: Watched) -> None:
    log.watch.hand_over()
    log.watch.take_back()
    log.now_s += 1000
    log.watch.look()
    assert not log.watch.is_away
    log.watch.hand_over()
    log.now_s += SILENT_AFTER_S
    log.watch.look()
    assert not log.watch.is_away, "the silence before is not this frame's"


@pytest.mark.parametrize("answer", [None, BadMessageError("too_large", "no")])
def test_any_answer_that_is_the_logs_own_shows_that_it_is_there(log: Watched, answer: Exception | None) -> None:
    log.watch.hand_over()
    log.watch.hand_over()
    log.watch.lose("refused the connection")
    log.watch.drop()
    log.watch.drop()
    log.now_s += 61
    log.watch.answer(answer)
    log.watch.drop()
    assert not log.watch.is_away
    assert log.told[1:] == ["the log takes frames again after 61 s, 2 were dropped"]
    log.now_s += SILENT_AFTER_S
    log.watch.look()
    assert not log.watch.is_away, "the other frame's silence counts from the last answer on"


def test_each_absence_counts_its_own_losses(log: Watched) -> None:
    for number in (3, 1):
        log.watch.lose("away")
        for _ in range(number):
            log.watch.drop()
        log.watch.hand_over()
        log.watch.answer(None)
    assert [line for line in log.told if "dropped" in line] == [
        "the log takes frames again after 0 s, 3 were dropped",
        "the log takes frames again after 0 s, 1 were dropped",
    ]


@pytest.mark.parametrize(("silent_s", "is_away"), [(SILENT_AFTER_S / 2, False), (SILENT_AFTER_S / 2 + 0.1, True)])
def test_a_failure_among_answers_is_no_absence_and_one_after_silence_is(
    log: Watched, silent_s: float, is_away: bool
) -> None:
    log.watch.hand_over()
    log.watch.hand_over()
    log.now_s += silent_s
    log.watch.answer(AWAY)
    assert log.watch.is_away == is_away


def test_pictures_come_in_the_order_that_a_person_reads_their_names(tmp_path: Path) -> None:
    names = ["1.png", "02.png", "10.png", "a.png", "cam:2:1.png", "cam:2:10.png", "cam:10:2.PNG", "x 9.jpg", "x 10.jpg"]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(cv2.imencode(".png", plain(10 * number))[1].tobytes())
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    source = ImageFolderSource(tmp_path, SourceOptions(start=START, fps=4.0))
    frames = list(source)
    assert [int(frame.image[0, 0, 0]) // 10 for frame in frames] == list(range(9))
    assert [(frame.captured_at - START).total_seconds() for frame in frames] == [n / 4 for n in range(9)]


@pytest.mark.parametrize("name", ["rtsp:__cam.d", "12", "0", "http:", "a?b#c d", "-1", "%20"])
def test_a_folder_of_any_name_is_a_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    (Path(name) / "1.png").write_bytes(cv2.imencode(".png", plain())[1].tobytes())
    assert len(list(open_source(name, SourceOptions(start=START)))) == 1


JPEG = cv2.imencode(".jpg", noisy(32, 24))[1].tobytes()


def fed(data: bytes, max_bytes: int = 10**6) -> tuple[list[bytes], int]:
    splitter = JpegSplitter(max_bytes)
    found = [one for at in range(len(data)) for one in splitter.feed(data[at : at + 1])]
    return found, splitter.num_broken


@pytest.mark.parametrize(("room", "found", "num_broken"), [(0, 1, 0), (-1, 1, 0), (-2, 0, 1)])
def test_a_picture_may_be_as_large_as_there_is_room_before_its_last_byte(
    room: int, found: int, num_broken: int
) -> None:
    pictures, broken = fed(JPEG, len(JPEG) + room)
    assert (len(pictures), broken) == (found, num_broken)


@pytest.mark.parametrize(
    "breaks",
    [JPEG[:20], JPEG[:2] + b"\xff\x00", JPEG[:2], JPEG[:2] + b"\xff\xe0\x00\x04ab\x00", JPEG[:-2]],
    ids=["cut in a table", "no mark", "another start", "no mark behind a length", "cut before its end"],
)
def test_each_way_to_break_off_costs_one_picture_and_is_counted_once(breaks: bytes) -> None:
    filling = b"\0" * 70_000 if breaks == JPEG[:20] else b""  # a length that was cut swallows what follows
    pictures, num_broken = fed(breaks + filling + JPEG + JPEG)
    assert pictures[-2:] == [JPEG, JPEG]
    assert num_broken == 1


def test_nothing_is_broken_where_nothing_was_begun() -> None:
    assert fed(b"\xff\xd8 \xff\xff\xd9 --boundary\r\n\r\n" * 50) == ([], 0)
