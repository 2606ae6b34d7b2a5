"""The console in a real browser: the main ways by mouse and by keyboard, live, on a phone; nothing foreign runs."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from console.access import Access, new_token
from console.board import Board
from console.media import MediaFolder, name_of
from console.plumbing import Account, Lag, Plumbing
from console.serving import Serving
from console.web.app import make_app
from console.web.site import Health, Parts, Place
from console.web.stream import Streams
from consumers.video import FilmWriter
from engram.observe.server import bound
from schemas.messages import AnomalyEvent, utc_now
from schemas.verdicts import OperatorVerdict
from tests.services import give_up
from tests.unit.console.test_media import told
from tests.unit.console.test_pages import EVIDENCE, HOSTILE, RARITY
from tests.unit.console.worlds import jpeg, outcome, seen, status
from tests.unit.consumers.samples import score

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Dialog, Page

CHROMIUM = Path("/usr/bin/chromium")
DEADLINE_MS = 90_000
BASE = "/engram"
# Goes to a second of a film; how long the film is and where it stands, once there is a picture. Not wait_for_function,
# which from its second look on evaluates text in the page, as the page's own policy forbids.
SEEK = f"""(film, second) => new Promise((seen, failed) => {{
    const seek = () => {{ film.currentTime = second; }};
    film.onseeked = () => seen([film.duration, film.readyState >= 2 ? film.currentTime : NaN]);
    film.onerror = () => failed(film.error);
    setTimeout(() => failed(new Error(`no picture: state ${{film.readyState}}`)), {DEADLINE_MS});
    if (film.readyState >= 1) seek(); else film.onloadedmetadata = seek;
}})"""
ALL_PAGES = ("/", "/queue", "/events/gate:s1:900", "/cameras", "/cameras/gate", "/memory", "/plumbing")


class Shown:
    """A console that is served, and what was said to it; its clips lie in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.board = Board()
        self.said: list[OperatorVerdict] = []
        token, grant = new_token("ann", "operate")
        accounts = [Account("gate", 10, {"sent": 10}), Account(HOSTILE, 3, {HOSTILE: 2})]
        parts = Parts(
            self.board,
            Access([grant]),
            self.said.append,
            lambda: Health(0.1, 0.1, 0),
            lambda: Plumbing([Lag("workers", "Stable", 3, ("w1",))], accounts),
            media=MediaFolder(folder),
        )
        self._streams = Streams()
        self._app = make_app(parts, Place(BASE, login_by_link=True), self._streams)
        self._port = 0
        self.open()
        self.origin = f"http://127.0.0.1:{self._port}"
        self.link = f"{self.origin}{BASE}/login?token={token}"

    def open(self) -> None:
        """Answer, at the same address as before."""
        listening = bound(("127.0.0.1", self._port))
        self._port = listening.getsockname()[1]
        self._streams.is_ending = False
        self._serving = Serving(self._app, listening, self._streams)
        self._serving.start()

    def close(self) -> None:
        self._serving.close()

    def film(self, event: AnomalyEvent) -> None:
        """Keep a video of an event, as ``engram clips`` does, and tell of it."""
        path = self.folder / name_of(event.data, "clip")
        path.parent.mkdir(parents=True)
        writer = FilmWriter(path, fps=10)
        for index in range(30):
            picture = np.full((96, 128, 3), 40, np.uint8)
            picture[40:60, 3 * index : 3 * index + 20] = 220
            writer.add(picture, index / 10)
        writer.close()
        self.board.take_media(told(event_id=event.data.event_id, width=128, height=96))

    def event(
        self, first: int, phase: str = "end", camera_id: str = "gate", number: int = 0, **data: Any
    ) -> AnomalyEvent:
        peak = {"evidence": EVIDENCE, "rarity": {**RARITY, "words": HOSTILE}}
        provenance = {"model": HOSTILE, "software": HOSTILE}
        made = seen(first, first + 20, phase, number, camera_id, jpeg(), peak=peak, provenance=provenance, **data)  # type: ignore[arg-type]
        self.board.take_event(made, utc_now())
        return made

    def score(self, value: float, camera_id: str = "gate") -> None:
        self.board.take_score(score(990, value, camera_id), utc_now())


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.is_file():
        give_up(f"there is no browser at {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Shown]:
    with closing(Shown(tmp_path / "media")) as served:
        served.score(0.2)
        served.score(0.1, "yard")
        served.board.take_status(status("gate", reported_at=utc_now(), why=HOSTILE, producer=HOSTILE))
        for number in range(4):
            served.event(100 * number + 500, severity="warning")
        yield served


def opened(browser: "Browser", shown: Shown, **given: Any) -> "tuple[BrowserContext, Page, list[str]]":
    """A page that has logged in, and what went wrong on it: errors, dialogs, requests to others."""
    context = browser.new_context(timezone_id="Asia/Tokyo", locale="en-GB", **given)
    context.set_default_timeout(DEADLINE_MS)
    page = context.new_page()
    wrong: list[str] = []

    def refuse(dialog: "Dialog") -> None:
        wrong.append(f"dialog {dialog.message}")
        dialog.dismiss()

    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("dialog", refuse)
    page.on("request", lambda request: None if request.url.startswith(shown.origin) else wrong.append(request.url))
    page.goto(shown.link)
    page.wait_for_selector("#pulse[data-pulse=live]")
    return context, page, wrong


def test_the_main_ways_by_keyboard(browser: "Browser", shown: Shown) -> None:
    context, page, wrong = opened(browser, shown)
    page.wait_for_selector("text=Both cameras are normal")

    # Live: what becomes unusual is on the wall without anybody loading it again.
    shown.score(0.97)
    shown.event(900, "start", severity="critical")
    page.wait_for_selector("text=1 camera is unusual now")

    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_selector(".queue")
    assert "CRITICAL" in page.locator(".item").first.inner_text().upper(), "alerts come first"
    assert "GMT+9" in page.locator(".item time").first.inner_text(), "times have a zone, the reader's"
    for key in ("j", "j", "x", "j", "x", "s"):
        page.keyboard.press(key)
    page.wait_for_selector("text=2 events are seen.")
    assert page.locator(".item.gone").count() == 2
    assert [verdict.judgement for verdict in shown.said] == ["skip", "skip"]
    page.keyboard.press("u")
    page.wait_for_selector("text=Undone for 2 events.")
    assert page.locator(".item.gone").count() == 0

    page.locator(".item-link").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#said")
    page.wait_for_selector("#curve canvas")
    page.keyboard.press("h")
    assert page.locator("#heat-on").is_checked()
    page.keyboard.press("n")
    page.wait_for_selector("#say-normal:focus")
    assert len(shown.said) == 4, "one key alone teaches nothing"
    page.keyboard.press("Enter")
    page.wait_for_selector("text=the coordinator has not answered yet")
    assert (shown.said[-1].judgement, shown.said[-1].scope) == ("normal", "place")
    shown.board.take_outcome(outcome(shown.said[-1], why="3 of the last 20 events would not have alarmed"))
    page.wait_for_selector("text=3 of the last 20 events would not have alarmed")
    page.keyboard.press("u")
    page.wait_for_selector("#say-real")
    page.keyboard.press("r")
    page.wait_for_selector("text=ann said real")
    page.keyboard.press("?")
    page.wait_for_selector("#keys[open]")
    assert wrong == []
    context.close()


def test_nothing_foreign_runs_and_nothing_is_asked_of_others(browser: "Browser", shown: Shown) -> None:
    shown.event(900, "start", severity="critical")
    context, page, wrong = opened(browser, shown)
    for path in ALL_PAGES:
        page.goto(f"{shown.origin}{BASE}{path}")
        page.wait_for_selector("#pulse[data-pulse=live]")
        assert page.locator("main script, main img[src=x]").count() == 0, path
        assert page.locator("img").evaluate_all("all => all.every(one => one.complete && one.naturalWidth > 0)"), path
    assert wrong == []
    context.close()


def test_a_phone_shows_all_of_it_within_reach_of_a_thumb(browser: "Browser", shown: Shown) -> None:
    shown.event(900, "start", severity="critical")
    size = {"width": 360, "height": 740}
    context, page, wrong = opened(browser, shown, viewport=size, color_scheme="dark", has_touch=True)
    for path in ALL_PAGES:
        page.goto(f"{shown.origin}{BASE}{path}")
        page.wait_for_selector("#pulse[data-pulse=live]")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= size["width"], f"{path} is {width} px wide"
        low = page.locator(
            "button:visible, nav a:visible, select:visible, .check:visible, a.button:visible"
        ).evaluate_all("all => all.filter(one => one.getBoundingClientRect().height < 43.5).map(one => one.outerHTML)")
        assert low == [], path
    assert wrong == []
    context.close()


def test_a_page_says_when_it_hears_nothing_any_more(browser: "Browser", shown: Shown) -> None:
    context, page, _ = opened(browser, shown)
    shown.close()
    page.wait_for_selector("#stale:not([hidden])")
    text = page.locator("#stale").inner_text()
    assert re.search(r"has not heard from the console for \d+ s", text)
    assert page.locator("#pulse").inner_text() == "not live"
    shown.open()
    page.wait_for_selector("#pulse[data-pulse=live]")
    page.wait_for_selector("#stale", state="hidden")
    shown.score(0.97)
    shown.event(900, "start", severity="critical")
    page.wait_for_selector("text=1 camera is unusual now")  # it hears what is new again
    context.close()


def test_a_video_of_an_event_plays_on_its_page(browser: "Browser", shown: Shown) -> None:
    context, page, wrong = opened(browser, shown)
    event = shown.event(900)
    page.goto(f"{shown.origin}{BASE}/events/{event.data.event_id}")
    page.wait_for_selector("#pulse[data-pulse=live]")
    assert page.locator("video").count() == 0
    shown.film(event)
    page.wait_for_selector("video")  # it comes onto the page as soon as it is told of
    assert page.locator("video").evaluate(SEEK, 2.0) == pytest.approx([3.0, 2.0], abs=0.2)
    assert wrong == []
    context.close()
