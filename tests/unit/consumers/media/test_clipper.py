"""Events to media: what is in a clip, what is told, and what nothing that goes wrong can take away."""

import hashlib
import threading
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from consumers.media.folder import FolderStore
from consumers.media.store import Retention
from messaging.sealing import SealedBus, Seals
from schemas.codec import decode_message
from schemas.errors import FatalError, TransientError
from schemas.media import EventMediaEvent
from tests.unit.consumers.media.moving import FRAMES, HEIGHT, WIDTH, Yard, header, jpeg, path_of
from tests.unit.consumers.samples import at, event


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path / "media")


def times(path: Path) -> list[float]:
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        return [float((frame.pts or 0) * (frame.time_base or Fraction(0))) for frame in film.decode(stream)]


def test_an_event_that_ended_gets_its_peak_and_a_film_from_before_to_after(yard: Yard) -> None:
    yard.send(range(100))
    yard.tell(event(40, 40), event(40, 55, "end", 1))
    yard.make()
    picture, clip = yard.told()
    assert (picture.kind, clip.kind) == ("picture", "clip")
    assert picture.event_id == clip.event_id == "cam1:s1:40"
    assert clip.final
    assert clip.frames is not None
    assert (clip.frames.first, clip.frames.last, clip.frames.shown, clip.frames.missing) == (30, 65, 36, 0)
    assert (clip.first_at, clip.last_at) == (at(30), at(65))
    assert path_of(picture).read_bytes() == jpeg(55), "the very file that the camera sent"
    content = path_of(clip).read_bytes()
    assert clip.digest == hashlib.sha256(content).hexdigest()
    assert content.index(b"moov") < content.index(b"mdat"), "it plays while it loads"
    assert times(path_of(clip)) == pytest.approx([n / 10 for n in range(36)], abs=1e-3)
    assert (clip.width, clip.height) == (WIDTH + 1, HEIGHT)


def test_the_film_shows_what_the_camera_saw(yard: Yard) -> None:
    yard.send(range(60))
    yard.tell(event(20, 30, "end", 1))
    yard.make()
    film = cv2.VideoCapture(str(path_of(yard.told()[1])))
    worked, image = film.read()
    assert worked
    reds = np.flatnonzero((image[60, :, 2] > 200) & (image[60, :, 0] < 60))
    assert (reds.min(), reds.max()) == pytest.approx((10, 39), abs=3), "frame 10: its square begins at 10"


def test_boxes_are_drawn_on_the_picture_if_asked_for(yard: Yard) -> None:
    yard.send(range(60))
    yard.tell(event(20, 30, "end", 1))
    yard.make(boxes=True)
    drawn = cv2.imread(str(path_of(yard.told()[0])))
    assert drawn is not None
    assert drawn.shape[:2] == (HEIGHT, WIDTH)
    redness = drawn[..., 2].astype(int) - drawn[..., 0]
    assert redness[58:63, 140].max() > 40, "the region begins half way down, far from the square"
    assert redness[90, 140] < 20


def test_only_frames_of_its_camera_and_session_are_in_it(yard: Yard) -> None:
    yard.send(range(10, 60), session_id="s0")
    for index in range(60):
        yard.send([index])
        yard.send([index], camera_id="cam2")
    yard.tell(event(20, 30, "end", 1))
    yard.make()
    frames = yard.told()[1].frames
    assert frames is not None
    assert (frames.first, frames.last, frames.shown) == (10, 40, 31)


def test_frames_that_retention_took_are_said(tmp_path: Path) -> None:
    yard = Yard(tmp_path, ring_records=25)
    yard.send(range(60))
    yard.tell(event(30, 45, "end", 1))
    yard.make()
    frames = yard.told()[1].frames
    assert frames is not None
    assert (frames.first, frames.last, frames.shown) == (35, 55, 21)
    assert frames.missing == 15, "20 to 34"


def test_an_event_without_frames_is_told_of_and_passed(yard: Yard) -> None:
    yard.tell(event(30, 45, "end", 1), event(60, 60))
    counts = yard.make()
    assert [(media.kind, media.uri, media.why) for media in yard.told()] == [
        ("picture", None, "frames_gone"),
        ("clip", None, "frames_gone"),
    ]
    assert counts.gone == 1
    yard.make()
    assert len(yard.told()) == 2, "it is settled"


def test_frames_that_anybody_may_have_written_are_not_shown_where_there_are_keys(yard: Yard) -> None:
    yard.send(range(60))
    yard.tell(event(20, 30, "end", 1))
    yard.frames_bus = SealedBus(yard.bus, Seals(lambda: "edge one " + "11" * 32, {FRAMES: "edge"}))
    yard.make()
    assert [(media.uri, media.why) for media in yard.told()] == [(None, "frames_gone")] * 2


def test_frames_that_are_no_pictures_are_missing(yard: Yard) -> None:
    yard.send(range(25))
    for index in range(25, 28):
        yard.put("cam1", b"\xff\xd8\xffnone", header(index))
    yard.send(range(28, 60))
    yard.tell(event(20, 30, "end", 1))
    yard.make()
    frames = yard.told()[1].frames
    assert frames is not None
    assert (frames.shown, frames.missing) == (28, 3)


def test_the_start_of_a_session_lacks_nothing(yard: Yard) -> None:
    yard.send(range(30))
    yard.tell(event(4, 9, "end", 1))
    yard.make()
    frames = yard.told()[1].frames
    assert frames is not None
    assert (frames.first, frames.missing) == (0, 0)


def test_it_waits_for_the_seconds_after_an_event(yard: Yard) -> None:
    yard.send(range(46))
    yard.tell(event(30, 45, "end", 1))
    clipper, stop = yard.clipper(), threading.Event()
    clipper.turn(stop)
    assert yard.told() == []
    yard.send(range(46, 70))
    clipper.turn(stop)
    assert [media.frames.last for media in yard.told() if media.kind == "clip" and media.frames] == [55]


def test_an_event_whose_times_make_no_sense_holds_nothing_up(yard: Yard) -> None:
    """Anybody may have written it: one told long before its own last frame would be waited for that long."""
    yard.send(range(60))
    odd = event(20, 30, "end", 1)
    yard.tell(odd.model_copy(update={"time": odd.time - timedelta(days=30)}), event(40, 45, "end", 1, "cam2"))
    clipper = yard.clipper()
    clipper.turn(threading.Event())
    yard.clock.now_s += 10
    clipper.turn(threading.Event())
    assert {media.event_id for media in yard.told()} == {"cam1:s1:20", "cam2:s1:40"}
    assert clipper.reader.num_open == 0


def test_an_event_that_goes_on_gets_a_clip_early_and_the_whole_of_it_later(yard: Yard) -> None:
    yard.send(range(60))
    yard.tell(event(10, 20), event(10, 30, "update", 1), event(10, 40, "update", 2), event(10, 50, "update", 3))
    clipper = yard.clipper(early_s=2.5)
    clipper.turn(threading.Event())
    early = yard.told()
    assert [(media.kind, media.final, media.frames.last if media.frames else None) for media in early] == [
        ("picture", False, 40),
        ("clip", False, 50),
    ]
    yard.send(range(60, 90))
    yard.tell(event(10, 70, "end", 4))
    clipper.finish()
    late = yard.told()[2:]
    assert [(media.kind, media.final, media.frames.last if media.frames else None) for media in late] == [
        ("picture", True, 70),
        ("clip", True, 80),
    ]
    assert [media.uri for media in late] == [media.uri for media in early], "one file, replaced"


def test_what_was_made_early_is_not_replaced_by_less(tmp_path: Path) -> None:
    yard = Yard(tmp_path, ring_records=60)
    yard.send(range(60))
    yard.tell(event(10, 20), event(10, 50, "update", 1))
    clipper = yard.clipper(early_s=1.0)
    clipper.turn(threading.Event())
    _, early = yard.told()
    yard.send(range(60, 160))
    yard.tell(event(10, 105, "end", 2))
    clipper.finish()
    _, clip = yard.told()[2:]
    assert clip.final
    assert (clip.uri, clip.frames) == (early.uri, early.frames)
    assert hashlib.sha256(path_of(clip).read_bytes()).hexdigest() == early.digest


class Troubled(FolderStore):
    """Fails so many times, like a full disk."""

    def __init__(self, root: Path, failures: int, error: Exception) -> None:
        super().__init__(root)
        self.failures = failures
        self.error = error

    def put(self, name: str, content: bytes, content_type: str) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise self.error
        super().put(name, content, content_type)


class Stop(threading.Event):
    """Does not wait."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


def test_a_store_that_is_full_is_waited_for(yard: Yard) -> None:
    yard.send(range(60))
    yard.tell(event(20, 30, "end", 1))
    yard.clock.now_s += 60
    clipper = yard.clipper(Troubled(yard.folder, 3, TransientError("no space left")))
    clipper.turn(Stop())
    assert [media.uri is not None for media in yard.told()] == [True, True]


def test_a_store_that_refuses_ends_it_and_nothing_is_passed_over(yard: Yard) -> None:
    yard.send(range(60))
    yard.tell(event(20, 30, "end", 1))
    yard.clock.now_s += 60
    clipper = yard.clipper(Troubled(yard.folder, 1, FatalError("refused")))
    with pytest.raises(FatalError, match="refused"):
        clipper.run(threading.Event())
    yard.make()
    assert [media.frames.shown for media in yard.told() if media.frames] == [1, 31]


def test_a_stop_while_the_store_is_away_leaves_the_event_open(yard: Yard) -> None:
    yard.send(range(60))
    yard.tell(event(20, 30, "end", 1))
    yard.clock.now_s += 60
    stop = Stop()

    class Away(FolderStore):
        def put(self, name: str, content: bytes, content_type: str) -> None:
            stop.set()
            raise TransientError("away")

    yard.clipper(Away(yard.folder)).run(stop)
    assert yard.told() == []
    yard.make()
    assert len(yard.told()) == 2


def test_what_comes_again_is_told_again_and_not_made_again(yard: Yard) -> None:
    yard.send(range(60))
    yard.tell(event(20, 30, "end", 1))
    yard.make()
    made = path_of(yard.told()[1]).stat().st_mtime_ns
    yard.tell(event(20, 30, "end", 1))
    assert yard.make().repeated == 1
    assert yard.told()[2:] == yard.told()[:2]
    assert path_of(yard.told()[1]).stat().st_mtime_ns == made


def test_a_message_beside_a_file_that_is_none_is_made_anew(yard: Yard) -> None:
    yard.send(range(60))
    yard.tell(event(20, 30, "end", 1))
    yard.make()
    beside = path_of(yard.told()[1]).with_suffix(".mp4.json")
    first = yard.told()[1]
    beside.write_bytes(b"{")
    yard.tell(event(20, 30, "end", 1))
    yard.make()
    content = path_of(first).read_bytes()
    bytes_now = {
        "num_bytes": len(content),
        "digest": hashlib.sha256(content).hexdigest(),
    }  # x264 does not always repeat
    assert decode_message(EventMediaEvent, beside.read_bytes()).data == first.model_copy(update=bytes_now)


def test_a_hostile_event_makes_no_path(yard: Yard) -> None:
    """Ids that lead out of the folder are no message of ours; ids that are long or odd are names all the same."""
    yard.send(range(60))
    odd = event(20, 30, "end", 1)
    data = odd.data.model_copy(update={"event_id": "x" + ":..-" * 60 + "y"})
    bad = odd.data.model_copy(update={"camera_id": "../../etc", "event_id": "cam1:s1:20"})
    yard.tell(odd.model_copy(update={"data": bad}), odd.model_copy(update={"data": data, "id": "cam1:s1:20:9"}))
    yard.make()
    told = yard.told()
    assert [media.event_id for media in told] == [data.event_id] * 2
    for path in yard.folder.parent.rglob("*"):
        assert path.is_relative_to(yard.folder)
    assert len(path_of(told[1]).name) < 140


def test_what_is_old_goes_with_the_first_turn(yard: Yard) -> None:
    yard.send(range(60))
    yard.tell(event(20, 30, "end", 1))
    yard.make()
    yard.clock.now_s = path_of(yard.told()[0]).stat().st_mtime + 3 * 86400
    yard.clipper(retention=Retention(timedelta(days=2))).turn(threading.Event())
    assert not list(yard.folder.rglob("*.*"))


def test_a_producer_that_spreads_keys_otherwise_is_found_all_the_same(tmp_path: Path) -> None:
    yard = Yard(tmp_path)
    elsewhere = next(name for name in map(str, range(99)) if yard.partition_of(name) != yard.partition_of("cam1"))
    yard.send_to(yard.partition_of(elsewhere), range(60))
    yard.tell(event(20, 30, "end", 1))
    yard.make()
    assert [media.frames.shown for media in yard.told() if media.frames] == [1, 31]


def test_a_film_read_faster_than_it_plays_is_found(yard: Yard) -> None:
    """600 frames in a second: the log's time says nothing of the film's."""
    yard.clock.now_s += 5
    began_s = yard.clock.now_s
    for index in range(600):
        yard.send([index])
        yard.clock.now_s = began_s + index / 600
    yard.clock.now_s += 400
    yard.tell(event(100, 130, "end", 1))
    yard.make()
    frames = yard.told()[1].frames
    assert frames is not None
    assert (frames.first, frames.last, frames.missing) == (90, 140, 0)
