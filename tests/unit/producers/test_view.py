"""A view that is no longer what it should be is told once, when it lasts; light and colour may change as they like."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import cv2
import numpy as np
import pytest

from producers.feed import CameraFeed, FeedRun
from producers.outlet import Outlet
from producers.pacing import PacingOptions
from producers.sources import Image
from producers.view import INTERVAL, ViewChange, ViewJudge, ViewOptions
from schemas.cameras import CameraView, view_event
from tests.unit.producers.memory_publisher import MemoryPublisher
from tests.unit.producers.scripted_source import START, ScriptedSource

Change = Callable[[Image], Image]


@pytest.fixture(scope="module")
def place() -> Image:
    """A place with edges of all sizes, in colour, that is the same nowhere."""
    rng = np.random.default_rng(1)
    image = np.full((144, 192, 3), (120, 110, 90), np.uint8)
    for _ in range(120):
        corner, size = rng.integers(0, (192, 144)), rng.integers(3, 36, 2)
        colour = tuple(int(value) for value in rng.integers(0, 255, 3))
        cv2.rectangle(image, corner.tolist(), (corner + size).tolist(), colour, cv2.FILLED)
    return image


class Watched:
    """A judge that sees a noisy picture twice a second."""

    def __init__(self, place: Image) -> None:
        self.judge = ViewJudge(ViewOptions(frozen_s=20.0, accept_s=60.0))
        self.now_s = 0.0
        self.changes: list[ViewChange] = []
        self.place = place
        rng = np.random.default_rng(0)
        self._noise = [rng.integers(-3, 4, place.shape, np.int16) for _ in range(5)]

    def see(self, seconds: float, change: Change = lambda image: image, has_noise: bool = True) -> None:
        shown = change(self.place).astype(np.int16)
        for number in range(int(2 * seconds)):
            noise = self._noise[number % 5] if has_noise else 0
            image = np.clip(shown + noise, 0, 255).astype(np.uint8)
            self.changes += self.judge.look(image, START + timedelta(seconds=self.now_s))
            self.now_s += 0.5

    @property
    def told(self) -> list[tuple[str, str, bool]]:
        return [(change.kind, change.view, change.is_start) for change in self.changes]


@pytest.fixture
def watched(place: Image) -> Iterator[Watched]:
    one = Watched(place)
    one.see(30)
    assert one.changes == []
    yield one


def even(value: int) -> Change:
    return lambda image: np.full_like(image, value)


TAMPERED: dict[str, tuple[str, Change]] = {
    "a cap on the lens": ("dark", even(3)),
    "paint on the lens": ("covered", even(120)),
    "a hand before it": (
        "covered",
        lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), 20) * 0.15 + 60, np.uint8),
    ),
    "out of focus": ("blurred", lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), 4), np.uint8)),
    "turned aside": ("moved", lambda image: np.roll(image, 70, axis=1)),
    "turned upside down": ("moved", lambda image: image[::-1, ::-1]),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_what_lasts_is_told_with_its_beginning_and_its_end(watched: Watched, name: str) -> None:
    view, change = TAMPERED[name]
    watched.see(5, change)
    watched.see(5)
    assert watched.changes == [], "five seconds may be a lorry"
    began_s = watched.now_s
    watched.see(30, change)
    assert watched.told == [("tamper", view, True)]
    assert watched.changes[0].started_at == START + timedelta(seconds=began_s)
    assert watched.judge.view == view
    watched.see(10)
    assert watched.told == [("tamper", view, True), ("tamper", view, False)]
    assert watched.judge.view == "clear"


@pytest.mark.parametrize("name", TAMPERED)
def test_it_is_doubted_at_once_and_until_it_is_told_to_be_over(watched: Watched, name: str) -> None:
    view, change = TAMPERED[name]
    assert watched.judge.doubt == "clear"
    watched.see(0.5, change)
    assert (watched.judge.view, watched.judge.doubt) == ("clear", view)
    watched.see(0.5)
    assert watched.judge.doubt == "clear"
    watched.see(30, change)
    watched.see(1)
    assert watched.judge.doubt == view
    watched.see(5)
    assert watched.judge.doubt == "clear"


def test_a_still_picture_is_doubted_after_seconds_and_told_after_a_minute(watched: Watched) -> None:
    watched.see(4, has_noise=False)
    assert watched.judge.doubt == "clear"
    watched.see(3, has_noise=False)
    assert (watched.judge.view, watched.judge.doubt) == ("clear", "frozen")
    watched.see(0.5)
    assert watched.judge.doubt == "clear"


def test_a_picture_that_is_shown_again_and_again_is_frozen(watched: Watched) -> None:
    watched.see(19, has_noise=False)
    assert watched.changes == []
    watched.see(5, has_noise=False)
    assert watched.told == [("stale", "frozen", True)]
    watched.see(5)
    assert watched.told == [("stale", "frozen", True), ("stale", "frozen", False)]


@pytest.mark.parametrize(
    "change",
    [
        lambda image: cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR),
        lambda image: (image * 0.5).astype(np.uint8),
        lambda image: np.clip(image.astype(int) + 60, 0, 255),
    ],
    ids=["infrared", "a lamp goes out", "the sun comes out"],
)
def test_light_and_colour_change_the_scene_and_are_no_tampering(watched: Watched, change: Change) -> None:
    watched.see(60, change)
    watched.see(60)
    assert watched.told == [("scene", "clear", True)] * 2
    watched.see(30, even(120))
    assert watched.told[2:] == [("tamper", "covered", True)], "what is normal was learned anew"


def test_a_light_that_changes_slowly_is_nothing(watched: Watched) -> None:
    for step in range(60):
        watched.see(1, lambda image, step=step: (image * (1 - 0.01 * step)).astype(np.uint8))  # type: ignore[misc]
    assert watched.changes == []


def test_people_in_half_of_the_picture_are_nothing(watched: Watched) -> None:
    rng = np.random.default_rng(5)

    def crowd(image: Image) -> Image:
        crowded = image.copy()
        for _ in range(25):
            x, y = (int(value) for value in rng.integers(0, (180, 120)))
            cv2.rectangle(crowded, (x, y), (x + 10, y + 27), tuple(int(v) for v in rng.integers(0, 255, 3)), cv2.FILLED)
        return crowded

    for _ in range(60):
        watched.see(1, crowd)
    assert watched.changes == []


def test_a_camera_that_is_left_as_it_was_moved_has_a_new_view(watched: Watched) -> None:
    def turned(image: Image) -> Image:
        return np.roll(image, 70, axis=1)

    watched.see(75, turned)
    assert watched.told == [("tamper", "moved", True), ("tamper", "moved", False)]
    watched.see(60, turned)
    assert len(watched.changes) == 2
    watched.see(20)
    assert watched.told[2:] == [("tamper", "moved", True)]


def test_a_pause_or_a_clock_set_back_lets_nothing_last(watched: Watched) -> None:
    for step_s in (3600, -5000, 3600):
        watched.see(9, even(120))
        watched.now_s += step_s
    assert watched.changes == []


def test_a_run_tells_of_its_view(place: Image) -> None:
    rng = np.random.default_rng(0)
    images = [np.clip(place + rng.integers(-3, 4, place.shape), 0, 255).astype(np.uint8) for _ in range(60)]
    images += [np.full_like(place, 2)] * 60
    told: list[CameraView] = []
    publisher = MemoryPublisher()
    outlet = Outlet(publisher, "frames", lambda: START)
    outlet.on_view = told.append
    source = ScriptedSource(images, fps=1 / INTERVAL.total_seconds())
    feed = CameraFeed("gate", source, pacing=PacingOptions(mode="backfill"), session_id="s1", watches_view=True)
    run = FeedRun(feed, outlet)
    run.run()
    (view,) = told
    assert [one.view for one in publisher.frames] == ["clear"] * 60 + ["dark"] * 60, "said with each, before it is told"
    assert (view.kind, view.view, view.phase) == ("tamper", "dark", "start")
    assert view.started_at == START + timedelta(seconds=30)
    assert run.report().view == "dark"
    event = view_event(view)
    assert event.type == "dev.engram.camera.tamper.v1"
    assert event.id == f"gate:s1:tamper:dark:start:{view.frame_index}"
