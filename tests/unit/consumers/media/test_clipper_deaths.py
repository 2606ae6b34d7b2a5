"""Clippers that die at any step, with stores and brokers that fail there: nothing is missed, nothing untrue is left."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumers.group import GroupReader
from consumers.media import clipper
from consumers.media.clipper import ClipOptions, Clipper
from consumers.media.folder import FolderStore
from consumers.media.footage import FrameLog
from consumers.media.store import Retention, Stored, sweep
from consumers.sieve import EventSieve
from schemas.codec import decode_message
from schemas.errors import TransientError
from schemas.media import EventMedia, EventMediaEvent
from tests.unit.consumers.deaths import Fate, Killed, MortalMembership
from tests.unit.consumers.media.moving import EVENTS, FRAMES, MEDIA, Yard, path_of
from tests.unit.consumers.samples import event


@pytest.fixture(autouse=True, scope="module")
def _at_once() -> Iterator[None]:
    """Nobody else writes, so there is nothing to wait for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clipper, "POLL_S", 0.0)
        yield


class MortalStore(FolderStore):
    """A folder of a process that may die before and after each call; ``num_full``: so many more find it full."""

    def __init__(self, fate: Fate, root: Path) -> None:
        super().__init__(root)
        self._fate = fate
        self.num_full = 0

    def put(self, name: str, content: bytes, content_type: str) -> None:
        self._fate.step()
        if self.num_full > 0:
            self.num_full -= 1
            raise TransientError("no space left")
        super().put(name, content, content_type)
        self._fate.step()

    def stored(self) -> Iterator[Stored]:
        yield from sorted(super().stored(), key=lambda file: file.name)

    def delete(self, name: str) -> None:
        self._fate.step()
        super().delete(name)
        self._fate.step()


class Stop(threading.Event):
    """Does not wait; the yard's clock goes on instead."""

    def __init__(self, yard: Yard) -> None:
        super().__init__()
        self._yard = yard

    def wait(self, timeout: float | None = None) -> bool:
        self._yard.clock.now_s += timeout or 0.0
        return self.is_set()


class Studio:
    """A yard with a clipper after another, of which each may die."""

    def __init__(self, folder: Path, ring_records: int = 10_000) -> None:
        self.yard = Yard(folder, ring_records, partitions=1)
        self.fate = Fate()
        self.store = MortalStore(self.fate, folder)
        self._sent = 0
        self._open: tuple[int, int] | None = None
        self.ended: list[str] = []

    def film(self, num_frames: int) -> None:
        """So many frames, and what is told with the last of them."""
        self.yard.send(range(self._sent, self._sent + num_frames))
        self._sent += num_frames

    def tell(self, is_over: bool = False) -> None:
        """The next message of the event, up to the newest frame."""
        last = self._sent - 1
        if self._open is None:
            self._open = last, 0
            self.yard.tell(event(last, last))
            return
        first, number = self._open
        self._open = None if is_over else (first, number + 1)
        message = event(first, last, "end" if is_over else "update", number + 1)
        self.yard.tell(message)
        if is_over:
            self.ended.append(message.data.event_id)

    def work(self, steps: int | None = None, retention: Retention | None = None) -> None:
        """A process that makes what is due; with ``steps`` it dies after so many."""
        yard = self.yard
        reader = GroupReader(MortalMembership(self.fate, yard.bus.subscription([EVENTS], "clips")), EventSieve())
        options = ClipOptions(MEDIA, 1.0, 1.0, early_s=2.0, retention=retention or Retention())
        frames = FrameLog(yard.bus, FRAMES, 1)
        made = Clipper(reader, frames, self.store, yard.bus.publisher(), options, yard.now, yard.clock)
        self.fate.left = steps
        with suppress(Killed):
            made.turn(Stop(yard))
            yard.clock.now_s += 10.0  # what comes after an event is there
            made.turn(Stop(yard))
        self.fate.left = None
        reader.close()
        frames.close()

    def untrue(self) -> list[str]:
        """Words in the store that are not true of the file beside them."""
        wrong = []
        for word in self.store.stored():
            if word.name.endswith(".json"):
                content = self.store.get(word.name.removesuffix(".json"))
                said = decode_message(EventMediaEvent, self.store.get(word.name)).data
                if content is None or hashlib.sha256(content).hexdigest() != said.digest:
                    wrong.append(word.name)
        return wrong

    def newest(self, kind: str) -> dict[str, EventMedia]:
        """By event, the newest last word on its medium."""
        return {media.event_id: media for media in self.yard.told() if media.kind == kind and media.final}


FRAMES_COME = st.tuples(st.just("film"), st.sampled_from([5, 12, 30]))
UPDATE = st.tuples(st.just("tell"), st.booleans())
DEATH = st.tuples(st.just("work"), st.integers(0, 30))
FULL = st.tuples(st.just("full"), st.integers(1, 4))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([40, 10_000]),
    st.lists(st.one_of(FRAMES_COME, FRAMES_COME, UPDATE, DEATH, DEATH, FULL), max_size=16),
)
def test_each_event_gets_its_media_and_its_last_word_over_any_deaths(
    tmp_path_factory: pytest.TempPathFactory, ring_records: int, days: list[tuple[str, Any]]
) -> None:
    studio = Studio(tmp_path_factory.mktemp("media"), ring_records)
    studio.film(20)
    for what, number in days:
        if what == "film":
            studio.film(number)
            studio.tell()
        elif what == "tell":
            studio.tell(is_over=number)
        elif what == "full":
            studio.store.num_full = number
        else:
            studio.work(number)
    studio.work()
    studio.work()
    assert studio.untrue() == []
    for kind in ("picture", "clip"):
        assert set(studio.newest(kind)) == set(studio.ended)
        for media in studio.newest(kind).values():
            assert media.uri is None or hashlib.sha256(path_of(media).read_bytes()).hexdigest() == media.digest


def early_then_over(folder: Path) -> Studio:
    """A studio with an early clip of an event that is over by now; of the frames forty are left."""
    studio = Studio(folder, ring_records=40)
    studio.film(10)
    studio.tell()
    studio.film(25)
    studio.tell()
    studio.work()
    assert [media.final for media in studio.yard.told()] == [False, False]
    studio.film(5)
    studio.tell(is_over=True)
    return studio


@pytest.mark.parametrize("steps", [*range(4, 14), 16, 20])
def test_a_death_while_a_file_is_replaced_and_frames_that_go_then_leave_the_truth(tmp_path: Path, steps: int) -> None:
    studio = early_then_over(tmp_path)
    studio.work(steps)
    studio.film(200)
    studio.work()
    assert studio.untrue() == []
    for kind in ("picture", "clip"):
        (media,) = studio.newest(kind).values()
        assert media.uri is not None, "what was made is not forgotten"
        assert hashlib.sha256(path_of(media).read_bytes()).hexdigest() == media.digest


def test_a_picture_that_was_made_early_is_told_as_the_last_word_when_its_frame_is_gone(tmp_path: Path) -> None:
    studio = early_then_over(tmp_path)
    studio.film(200)
    studio.work()
    assert [(media.kind, media.final) for media in studio.yard.told()[2:]] == [("picture", True), ("clip", True)]


def test_a_film_that_nobody_told_of_is_found_when_its_frames_are_gone(tmp_path: Path) -> None:
    """The process died between the file and what is about it."""
    studio = Studio(tmp_path, ring_records=60)
    studio.film(30)
    studio.tell()
    studio.tell(is_over=True)

    class Dying(MortalStore):
        def put(self, name: str, content: bytes, content_type: str) -> None:
            super().put(name, content, content_type)
            if name.endswith(".mp4"):
                raise Killed

    whole, studio.store = studio.store, Dying(studio.fate, tmp_path)
    studio.work()
    studio.store = whole
    studio.film(200)
    studio.work()
    (clip,) = studio.newest("clip").values()
    assert clip.uri is not None
    assert hashlib.sha256(path_of(clip).read_bytes()).hexdigest() == clip.digest


@pytest.mark.parametrize("steps", range(9))
def test_a_death_in_a_sweep_leaves_no_word_without_its_file(tmp_path: Path, steps: int) -> None:
    studio = Studio(tmp_path)
    studio.film(30)
    studio.tell()
    studio.tell(is_over=True)
    studio.work()
    later = studio.yard.now() + timedelta(days=3000)
    studio.fate.left = steps
    with suppress(Killed):
        sweep(studio.store, Retention(timedelta(days=1)), later)
    studio.fate.left = None
    assert studio.untrue() == []
