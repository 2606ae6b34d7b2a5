"""Who comes in, by which door, and what they may do there."""

from typing import Any

import pytest

from console.access import MAX_FAILURES
from console.web.guard import MAX_BODY_BYTES
from console.web.site import Place
from schemas.errors import TransientError
from schemas.verdicts import OperatorVerdict
from tests.unit.console.test_pages import EVENT, PAGES, PARTS, lively
from tests.unit.console.worlds import World, csrf_of, world


def test_nothing_is_shown_to_who_is_not_logged_in() -> None:
    client = world(lively()).client(None)
    for path in (*PAGES, "/events/x/picture.jpg", "/events/x/heat.png", "/memory/x/difference.png"):
        answer = client.get(path, follow_redirects=False)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/login?next=/")
        assert "cam1" not in answer.text


def test_a_page_whose_session_has_ended_is_sent_to_the_login() -> None:
    client = world(lively()).client(None)
    for path in PARTS:
        answer = client.get(path, headers={"HX-Request": "true"})
        assert answer.status_code == 401, path
        assert answer.headers["hx-redirect"] == "/login"


def test_programs_are_told_to_log_in() -> None:
    client = world().client(None)
    for path in ("/api/v1/events", "/api/v1/cameras", "/api/openapi.json", "/stream"):
        assert client.get(path).status_code == 401, path


def test_every_route_asks_who_it_is() -> None:
    """A route that is added without a thought for it is found here."""
    client = world(lively()).client(None)
    open_paths = {"/login", "/healthz", "/static", "/logout"}
    app = client.app._inner  # type: ignore[attr-defined]
    paths = [(route.path, getattr(route, "methods", None) or {"GET"}) for route in _routes(app)]
    assert len(paths) > 30
    for path, methods in paths:
        if path in open_paths:
            continue
        at = path.format(event_id=EVENT, bank_id="gate", camera_id="cam1", version=1, action="freeze", kind="clip")
        for method in methods - {"HEAD"}:
            answer = client.request(method, at, follow_redirects=False)
            assert answer.status_code in (303, 401), (method, path, answer.status_code)


def _routes(app: Any) -> list[Any]:
    found = []
    for route in app.routes:
        inner = getattr(route, "original_router", None) or getattr(route, "router", None)
        if hasattr(route, "path"):
            found.append(route)
        elif inner is not None:
            found += _routes(inner)
    return found


def test_the_cookie_is_for_this_site_and_no_script() -> None:
    there = world(place=Place("/engram"))
    answer = there.client(None).post("/login", data={"token": there.tokens["view"]}, follow_redirects=False)
    cookie = answer.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=strict", "Path=/engram"):
        assert part in cookie
    assert "Secure" not in cookie
    secure = there.client(None, base_url="https://testserver")
    answer = secure.post("/login", data={"token": there.tokens["view"]}, follow_redirects=False)
    assert "Secure" in answer.headers["set-cookie"]


def test_a_login_leads_on_to_a_page_of_ours_alone() -> None:
    there = world()
    for wanted, leads in (("/queue", "/queue"), ("//evil.org", "/"), ("https://evil.org", "/"), ("/\\evil.org", "/")):
        data = {"token": there.tokens["view"], "next": wanted}
        answer = there.client(None).post("/login", data=data, follow_redirects=False)
        assert answer.headers["location"] == leads


def test_a_link_logs_in_only_where_that_is_meant() -> None:
    for place, status in ((Place(login_by_link=True), 303), (Place(), 200)):
        there = world(place=place)
        answer = there.client(None).get(f"/login?token={there.tokens['operate']}", follow_redirects=False)
        assert answer.status_code == status
        assert ("set-cookie" in answer.headers) == place.login_by_link


def test_guesses_are_counted_on_every_door() -> None:
    there = world()
    client = there.client(None)
    for guess in range(MAX_FAILURES // 2):
        assert client.post("/login", data={"token": f"guess{guess}"}).status_code == 401
        assert client.get("/api/v1/myself", headers={"Authorization": f"Bearer guess{guess}"}).status_code == 401
    for _ in range(20):
        assert client.post("/login", data={"token": "guess"}).status_code == 429
    answer = client.get("/api/v1/myself", headers={"Authorization": f"Bearer {there.tokens['view']}"})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    there.seconds[0] += 61
    assert there.client("view").get("/").status_code == 200


def test_logging_out_ends_the_session() -> None:
    client = world(lively()).client()
    cookies = dict(client.cookies)
    mark = csrf_of(client.get("/").text)
    assert client.post("/logout", data={"csrf": "wrong"}).status_code == 403
    assert client.post("/logout", data={"csrf": mark}, follow_redirects=False).status_code == 303
    client.cookies.update(cookies)
    assert client.get("/", follow_redirects=False).status_code == 303, "an old cookie is worth nothing"


def say(there: World, role: str, mark: str | None, **headers: str) -> int:
    client = there.client(role)  # type: ignore[arg-type]
    if mark == "own":
        mark = csrf_of(client.get("/").text)
    data = {"judgement": "real"} | ({} if mark is None else {"csrf": mark})
    return client.post(f"/events/{EVENT}/verdicts", data=data, headers=headers, follow_redirects=False).status_code


def test_only_operators_on_our_own_pages_say_anything() -> None:
    there = world(lively())
    assert say(there, "operate", None) == 403
    assert say(there, "operate", "guess") == 403
    assert say(there, "view", "own") == 403
    assert there.said == []
    assert say(there, "operate", "own") == 303
    assert [verdict.judgement for verdict in there.said] == ["real"]


def test_a_token_in_the_request_needs_no_mark_but_the_role() -> None:
    there = world(lively())
    for role, status in (("view", 403), ("operate", 201)):
        headers = {"Authorization": f"Bearer {there.tokens[role]}"}  # type: ignore[index]
        url = f"/api/v1/events/{EVENT}/verdicts"
        answer = there.client(None).post(url, json={"judgement": "skip"}, headers=headers)
        assert answer.status_code == status, answer.text
    session = there.client("operate")
    assert session.post(f"/api/v1/events/{EVENT}/verdicts", json={"judgement": "skip"}).status_code == 403
    mark = csrf_of(session.get("/").text)
    answer = session.post(f"/api/v1/events/{EVENT}/verdicts", json={"judgement": "undo"}, headers={"X-CSRF": mark})
    assert answer.status_code == 201


@pytest.mark.parametrize("prefix", ["", "/engram"])
def test_behind_a_proxy_all_addresses_have_its_path(prefix: str) -> None:
    """Whether the proxy takes the path off or leaves it."""
    there = world(lively(), Place("/engram"))
    client = there.client(None)
    answer = client.post(f"{prefix}/login", data={"token": there.tokens["view"]}, follow_redirects=False)
    assert answer.headers["location"] == "/engram/"
    client.cookies.set("engram_console", answer.cookies["engram_console"], path="/")
    for path in (*PAGES, *PARTS):
        page = client.get(f"{prefix}{path}")
        assert page.status_code == 200, path
        addresses = [part.split('"')[0] for part in page.text.replace('src="', 'href="').split('href="')[1:]]
        assert not [one for one in addresses if one and not one.startswith(("/engram/", "#"))], path
    assert client.get(f"{prefix}/static/console.css").status_code == 200
    assert client.get("/engramme", follow_redirects=False).status_code == 404


def test_who_asks_for_a_head_gets_that_of_the_page() -> None:
    client = world(lively()).client()
    for path in (*PAGES, "/healthz", "/api/v1/events", f"/events/{EVENT}/picture.jpg", "/static/nowhere", "/nowhere"):
        head, page = (client.request(method, path) for method in ("HEAD", "GET"))
        assert (head.status_code, head.content) == (page.status_code, b""), path
        assert page.content
        assert head.headers["content-type"] == page.headers["content-type"]
    assert client.head("/stream").status_code == 405, "which has no end, and so no head to look at alone"
    assert world().client(None).head("/", follow_redirects=False).status_code == 303


def test_what_is_sent_is_bounded() -> None:
    client = world().client()
    assert client.post("/login", content=b"x" * (MAX_BODY_BYTES + 1)).status_code == 413
    chunks = (b"token=" + b"x" * 9000 for _ in range(10))  # without a word on how many will come
    answer = client.post("/login", content=chunks, headers={"content-type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 400


def test_a_log_that_takes_nothing_is_said_and_nothing_is_shown_as_said() -> None:
    def refuse(verdict: OperatorVerdict) -> None:
        raise TransientError("the log does not answer")

    board = lively()
    client = world(board, say=refuse).client()
    mark = csrf_of(client.get("/").text)
    url, data = f"/events/{EVENT}/verdicts", {"judgement": "real", "csrf": mark}
    answer = client.post(url, data=data)
    assert answer.status_code == 503
    assert "the log does not answer" in answer.text
    part = client.post(url, data=data, headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["hx-retarget"]) == (503, "#notice")
    assert board.said(EVENT) == ([], None)
