"""The pages: what they show, in all states; nothing that runs comes out of what anybody wrote on a topic."""

import html
import re
from datetime import timedelta
from typing import Any

from console.board import Bounds
from console.plumbing import Account, Lag, Plumbing
from console.verdicts import verdict_of
from console.web.site import Health
from consumers.verdicts import Statement
from schemas.cameras import CameraView, view_event
from schemas.messages import BankHeader
from tests.unit.console.worlds import NOW, board_at, jpeg, outcome, seen, status, world
from tests.unit.consumers.samples import DIGEST, at, score

EVENT = "cam1:s1:980"
EVIDENCE = ({"name": "motion", "spreads": 8.25}, {"name": "place", "spreads": -0.5}, {"name": "gait", "spreads": 3.0})
RARITY = {"per_day": 0.1, "at_most_per_day": 2.0, "extrapolated": True, "words": "rarer than once in an hour here"}


def lively(**changes: Any) -> Any:
    """A board with a camera and an event that goes on."""
    board = board_at()
    board.take_score(score(990, 0.95), NOW)
    board.take_status(status())
    peak = {"evidence": EVIDENCE, "rarity": RARITY}
    board.take_event(seen(980, 990, "start", picture=jpeg(), peak=peak, severity="critical", **changes), NOW)
    return board


PAGES = ("/", "/queue", f"/events/{EVENT}", "/cameras", "/cameras/cam1", "/memory", "/plumbing")
PARTS = (
    "/parts/wall",
    f"/parts/events/{EVENT}/said",
    f"/parts/events/{EVENT}/media",
    "/parts/cameras",
    "/parts/plumbing",
    "/parts/waiting?known=0",
)


def test_every_page_is_shown() -> None:
    client = world(lively()).client()
    for path in (*PAGES, *PARTS):
        answer = client.get(path)
        assert answer.status_code == 200, (path, answer.text)
        assert answer.headers["content-type"].startswith("text/html")


def test_every_page_is_shown_when_nothing_is_known() -> None:
    client = world().client()
    for path in ("/", "/queue", "/cameras", "/memory", "/plumbing"):
        assert client.get(path).status_code == 200, path


def test_the_wall_says_that_all_is_quiet() -> None:
    board = board_at()
    for name in ("a", "b", "c"):
        board.take_score(score(990, 0.1, name), NOW - timedelta(seconds=0.4))
    page = world(board).client().get("/").text
    assert "All 3 cameras are normal" in page
    assert "last frame 0.4 s ago" in page


def test_the_wall_shows_what_is_unusual_and_why() -> None:
    page = world(lively()).client().get("/").text
    assert "1 camera is unusual now" in page
    assert "Motion 8.2 spreads above normal" in page
    assert "critical" in page
    assert f"/events/{EVENT.replace(':', '%3A')}/picture.jpg" in page


def test_the_wall_names_cameras_that_need_care() -> None:
    board = board_at()
    board.take_status(status("gate", state="offline", why="no route to host"))
    page = world(board).client().get("/").text
    assert "Cameras that need care" in page
    assert "not connected: no route to host" in page
    assert "are normal" not in page


def test_an_event_s_page_says_why_and_by_what_it_was_judged() -> None:
    page = world(lively()).client().get(f"/events/{EVENT}").text
    for text in ("Motion", "8.2 spreads above normal", "moves unusually for its place", "gait", RARITY["words"]):
        assert str(text) in page
    assert "version 3, live" in page
    assert "It opened an event by a score of 0.800" in page
    curve = re.search(r'data-curve="([^"]+)"', page)
    assert curve is not None
    assert '"enter": 0.8' in html.unescape(curve[1])
    assert 'class="today"' not in page, "a console without a store cannot say whether it would be told today"


def test_pictures_are_pictures() -> None:
    client = world(lively()).client()
    picture = client.get(f"/events/{EVENT}/picture.jpg")
    assert (picture.content, picture.headers["content-type"]) == (jpeg(), "image/jpeg")
    assert picture.headers["x-content-type-options"] == "nosniff"
    for of in ("peak", "trace"):
        heat = client.get(f"/events/{EVENT}/heat.png", params={"of": of})
        assert heat.headers["content-type"] == "image/png"
        assert heat.content.startswith(b"\x89PNG")


def test_the_queue_filters_and_turns_pages() -> None:
    board = board_at()
    for number in range(70):
        board.take_event(seen(10 * number, 10 * number + 5, camera_id=f"cam{number % 2}"), NOW)
    client = world(board).client()
    first = client.get("/queue").text
    assert "70 events nobody has looked at" in first
    assert "Page 1 of 3" in first
    assert first.count('class="item"') == 30
    assert client.get("/queue?page=3").text.count('class="item"') == 10
    assert "35 events" in client.get("/queue?show=all&camera=cam1").text
    assert client.get("/queue?since=nonsense").status_code == 400
    assert client.get("/queue?show=nonsense").status_code == 422


def test_news_is_offered_only_if_there_is_some() -> None:
    client = world(lively()).client()
    assert client.get("/parts/waiting?known=1").status_code == 204
    assert "1 event to review" in client.get("/parts/waiting?known=0").text


def test_cameras_show_what_was_wanted_had_and_lost() -> None:
    page = world(lively()).client().get("/cameras").text
    assert "broker_away 8" in page
    assert "had 1" in page
    learning = board_at(bounds=Bounds(learn_s=120.0))
    learning.take_score(score(990, memory_state="learning"), NOW)
    assert "has not seen enough yet" in world(learning).client().get("/cameras").text


def test_plumbing_says_whether_it_adds_up() -> None:
    good, bad = Account("gate", 10, {"sent": 9, "lost: refused": 1}), Account("yard", 10, {"sent": 7})
    lag = Lag("workers", "Stable", 4, ("w1", "w2"), {"w2": 3, "nobody": 1})
    page = world(plumbing=Plumbing([lag], [good, bad])).client().get("/plumbing").text
    assert re.search(r"<td>w1,\s*w2 <span[^>]*>3 wait</span> <span[^>]*>1 of partitions that nobody has", page)
    assert "✓ Adds up." in page
    assert "✗ Does not add up: 3 unaccounted for." in page
    assert "lost: refused" in page


def test_a_page_says_when_the_console_itself_hears_nothing() -> None:
    page = world(health=Health(45.0, 0.1, 0)).client().get("/").text
    assert "has not heard from the log for 45 s" in page
    trouble = world(health=Health(0.0, 0.0, 0, "the disk is full")).client().get("/").text
    assert "the disk is full" in trouble


def test_what_is_not_here_is_said_kindly() -> None:
    client = world(lively()).client()
    for path in ("/events/none:s1:1", "/cameras/none", "/memory/none", "/nothing", f"/events/{EVENT}/nothing"):
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert "Back to the wall" in answer.text


HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'{{7*7}}"


def test_hostile_text_in_every_field_stays_text() -> None:
    board = board_at()
    provenance = {"model": HOSTILE, "software": HOSTILE}
    rarity = {**RARITY, "words": HOSTILE}
    message = seen(980, 990, "start", provenance=provenance, peak={"rarity": rarity}, picture=HOSTILE.encode())
    board.take_event(message, NOW)
    board.take_score(score(990), NOW)
    board.take_status(status(why=HOSTILE, producer=HOSTILE, software=HOSTILE))
    view = CameraView(
        camera_id="cam1", session_id="s1", kind="tamper", phase="start", view="covered", why=HOSTILE, frame_index=5,
        captured_at=at(5), started_at=at(4),
    )  # fmt: skip
    board.take_camera_event(view_event(view))
    verdict = verdict_of(message, Statement("normal", HOSTILE, reason=HOSTILE), NOW)
    board.take_verdict(verdict)
    board.take_outcome(outcome(verdict, outcome="refused", reason="rate", why=HOSTILE))
    audit = {
        "action": HOSTILE, "author": HOSTILE, "reason": [HOSTILE], "commit_id": HOSTILE, "num_proposals": HOSTILE,
        "num_frames": HOSTILE, "num_cameras": HOSTILE, "cameras": [[HOSTILE, 1]], "moved": HOSTILE,
        "anchor_distance": HOSTILE, "committed_at": NOW.isoformat(), "version": HOSTILE, "epoch": HOSTILE,
        "digest": HOSTILE, "previous_digest": HOSTILE, "previous_entry": HOSTILE,
    }  # fmt: skip
    header = BankHeader(
        bank_id="gate", version=1, epoch="e", bundle_digest=DIGEST, digest=DIGEST, previous_digest=None, num_items=0,
        item_dim=0, committed_at=NOW, audit=audit,
    )  # fmt: skip
    board.take_bank(header, None)
    client = world(board, plumbing=Plumbing([Lag(HOSTILE, HOSTILE, 1, (HOSTILE,))], trouble=(HOSTILE,))).client()
    for path in (*PAGES, *PARTS, "/memory/gate", "/queue?show=all"):
        page = client.get(path)
        assert page.status_code in (200, 204), (path, page.text[-500:])
        assert "<script>alert" not in page.text, path
        assert "<img src=x" not in page.text, path
    shown = client.get("/queue", params={"camera": HOSTILE, "since": ""}).text
    assert "<script>alert" not in shown
    assert client.get(f"/events/{EVENT}/picture.jpg").status_code == 404, "what is no JPEG is never passed on"
    assert "{{7*7}}" in html.unescape(client.get(f"/events/{EVENT}").text)


def test_every_answer_binds_the_browser() -> None:
    client = world().client()
    for path in ("/", "/login", "/nothing", "/static/console.css", "/api/v1/cameras", "/healthz"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "script-src 'self'" in policy, path
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == ("public, max-age=3600" if path.startswith("/static") else "no-store")
