"""What is said on the pages and by REST, and what becomes of it."""

from datetime import timedelta

from console.board import Filter
from console.web.actions import give
from consumers.verdicts import MAX_REASON, Statement
from tests.unit.console.test_pages import EVENT, lively
from tests.unit.console.worlds import NOW, board_at, csrf_of, jpeg, outcome, seen, world

HTMX = {"HX-Request": "true"}


def test_normal_here_says_where_and_how_long() -> None:
    there = world(lively())
    client = there.client()
    data = {"judgement": "normal", "scope": "camera", "days": "7", "reason": "market\r\nday ", "csrf": ""}
    data["csrf"] = csrf_of(client.get("/").text)
    part = client.post(f"/events/{EVENT}/verdicts", data=data, headers=HTMX)
    assert part.status_code == 200
    (verdict,) = there.said
    assert (verdict.scope, verdict.operator, verdict.reason) == ("camera", "ann", "market day")
    assert verdict.expires_at == NOW + timedelta(days=7)
    assert verdict.event_id == EVENT
    assert "ann said <strong>normal</strong> anywhere at this camera until" in part.text
    assert "the coordinator has not answered yet" in part.text


def test_a_reason_is_as_long_as_a_verdict_may_say() -> None:
    there = world(lively())
    client = there.client()
    data = {"judgement": "normal", "csrf": csrf_of(client.get("/").text)}
    assert f'name="reason" maxlength="{MAX_REASON}"' in client.get(f"/events/{EVENT}").text
    for longer, status in ((0, 200), (1, 422)):
        reason = "x" * (MAX_REASON + longer)
        answer = client.post(f"/events/{EVENT}/verdicts", data=data | {"reason": reason}, headers=HTMX)
        assert answer.status_code == status
    assert [len(verdict.reason) for verdict in there.said] == [MAX_REASON]


def test_each_can_be_undone() -> None:
    there = world(lively())
    client = there.client()
    mark = csrf_of(client.get("/").text)
    for judgement in ("normal", "real", "skip"):
        for word in (judgement, "undo"):
            client.post(f"/events/{EVENT}/verdicts", data={"judgement": word, "csrf": mark}, headers=HTMX)
        assert [verdict.judgement for verdict in there.said[-2:]] == [judgement, "undo"]
        page = client.get(f"/events/{EVENT}").text
        assert 'id="say-normal"' in page
        assert "Undone" in page


def test_what_a_verdict_changed_is_shown_when_the_coordinator_has_answered() -> None:
    board = lively()
    there = world(board)
    client = there.client()
    mark = csrf_of(client.get("/").text)
    client.post(f"/events/{EVENT}/verdicts", data={"judgement": "normal", "csrf": mark})
    board.take_outcome(outcome(there.said[0], why="3 of the last 20 events would not have alarmed"))
    page = client.get(f"/parts/events/{EVENT}/said").text
    assert "Applied, memory “shared” version 4: 3 of the last 20 events would not have alarmed" in page


def test_many_are_seen_at_once_and_back() -> None:
    board = board_at()
    for number in range(5):
        board.take_event(seen(100 * number, 100 * number + 5), NOW)
    there = world(board)
    client = there.client()
    mark = csrf_of(client.get("/").text)
    ids = [listed.card.event_id for listed in board.find(Filter())][:3]
    part = client.post("/verdicts", data={"judgement": "skip", "ids": [*ids, "gone:s1:1"], "csrf": mark}, headers=HTMX)
    assert "3 events are seen." in part.text
    assert {verdict.event_id for verdict in there.said} == set(ids)
    assert len(board.find(Filter())) == 2
    client.post("/verdicts", data={"judgement": "undo", "ids": ids, "csrf": mark}, headers=HTMX)
    assert len(board.find(Filter())) == 5
    none = client.post("/verdicts", data={"judgement": "skip", "csrf": mark}, headers=HTMX)
    assert "None was chosen." in none.text
    many = [f"cam:s1:{number}" for number in range(201)]
    assert client.post("/verdicts", data={"judgement": "skip", "ids": many, "csrf": mark}).status_code == 422


def test_the_same_by_rest() -> None:
    board = lively()
    there = world(board)
    client = there.client(None, headers={"Authorization": f"Bearer {there.tokens['operate']}"})
    assert client.get("/api/v1/myself").json() == {"name": "ann", "role": "operate"}
    found = client.get("/api/v1/events").json()
    assert (found["num_found"], found["events"][0]["event"]["event_id"]) == (1, EVENT)
    said = client.post(f"/api/v1/events/{EVENT}/verdicts", json={"judgement": "normal", "scope": "bank"}).json()
    assert said["verdict"]["scope"] == "bank"
    whole = client.get(f"/api/v1/events/{EVENT}").json()
    assert whole["message"]["data"]["event_id"] == EVENT
    assert [one["verdict"]["judgement"] for one in whole["said"]] == ["normal"]
    assert client.get(f"/api/v1/events/{EVENT}/picture").content == jpeg()
    assert client.get("/api/v1/cameras").json()[0]["camera_id"] == "cam1"
    assert client.get("/api/v1/plumbing").json() == {"lags": [], "accounts": [], "trouble": []}
    assert client.get("/api/v1/banks").status_code == 404
    for end in ("9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "2300-01-01T00:00:00Z", 1e300):
        never = client.post(f"/api/v1/events/{EVENT}/verdicts", json={"judgement": "normal", "expires_at": end})
        assert never.status_code == 422 and "expires_at" in never.json()["detail"], never.text
    wrong = client.post(f"/api/v1/events/{EVENT}/verdicts", json={"judgement": "maybe"})
    assert wrong.status_code == 422
    assert "judgement" in wrong.json()["detail"]
    description = client.get("/api/openapi.json").json()
    assert "/api/v1/events/{event_id}/verdicts" in description["paths"]
    assert "HTTPBearer" in description["components"]["securitySchemes"]


def test_an_undo_comes_after_what_it_undoes_even_within_one_moment() -> None:
    """Verdicts are ordered by their time, and a quick hand gives two within one tick of the clock."""
    board = lively()
    there = world(board)
    site = there.client().app._inner.state.site  # type: ignore[attr-defined]
    for _ in range(20):
        give(site, EVENT, Statement("real", "ann"))
        assert board.said(EVENT)[1] is not None
        give(site, EVENT, Statement("undo", "ann"))
        assert board.said(EVENT)[1] is None
