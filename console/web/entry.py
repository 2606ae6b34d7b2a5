"""Coming in and going out, and what each request must show: a session or a token, a role, and that it is no forgery."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Header, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from console.access import Access, is_csrf
from console.web.site import Site, Visitor

COOKIE = "engram_console"
BEARER = "bearer "


class LoginNeededError(Exception):
    """Whoever asks must log in first."""


class TooManyTriesError(Exception):
    """So many wrong tokens came from there that no other is looked at for a while."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many wrong tokens came from your address; try again in {wait_s:.0f} s")
        self.wait_s = wait_s


def address_of(request: Request) -> str:
    """Where a request comes from; behind a trusted proxy, where the proxy says."""
    return request.client.host if request.client else "nowhere"


def visitor_of(request: Request) -> Visitor:
    """Who asks: by the token in ``Authorization``, or by the session's cookie.

    Raises:
        LoginNeededError: neither holds.
        TooManyTriesError: see there.
    """
    access: Access = request.app.state.site.parts.access
    given = request.headers.get("authorization", "")
    if given.lower().startswith(BEARER):
        _require_patience(access, request)
        grant = access.grant_of(given[len(BEARER) :].strip(), address_of(request))
        if grant is None:
            raise LoginNeededError
        return Visitor(grant, None)
    secret = request.cookies.get(COOKIE, "")
    session = access.session(secret) if secret else None
    if session is None:
        raise LoginNeededError
    return Visitor(session.grant, session.csrf)


Viewer = Annotated[Visitor, Depends(visitor_of)]


def _operator(request: Request, visitor: Visitor, given: tuple[str | None, ...]) -> Visitor:
    if not visitor.grant.may_operate:
        raise HTTPException(403, f"'{visitor.grant.name}' may look, and change nothing; log in with a token to operate")
    session = request.app.state.site.parts.access.session(request.cookies.get(COOKIE, ""))
    if visitor.csrf is not None and (session is None or not is_csrf(session, given)):
        raise HTTPException(403, "this request was not made by a page of ours, or that page is old: load it again")
    return visitor


def form_operator(
    request: Request,
    visitor: Viewer,
    csrf: Annotated[str, Form()] = "",
    x_csrf: Annotated[str | None, Header()] = None,
) -> Visitor:
    """Who may change things, by a form of our pages."""
    return _operator(request, visitor, (csrf, x_csrf))


def api_operator(request: Request, visitor: Viewer, x_csrf: Annotated[str | None, Header()] = None) -> Visitor:
    """Who may change things, by the REST interface: with a token, or with a session and its header ``X-CSRF``."""
    return _operator(request, visitor, (x_csrf,))


FormOperator = Annotated[Visitor, Depends(form_operator)]
ApiOperator = Annotated[Visitor, Depends(api_operator)]


def entry_routes(site: Site) -> APIRouter:
    """Login and logout."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/login")
    def show_login(request: Request, token: str = "", next: str = "") -> Response:
        if token and site.place.login_by_link:
            return _log_in(site, request, token, next)
        return site.page("login.html", None, {"wrong": None, "next": _local(next)})

    @routes.post("/login")
    def log_in(
        request: Request,
        token: Annotated[str, Form()] = "",
        next: Annotated[str, Form()] = "",
    ) -> Response:
        return _log_in(site, request, token, next)

    @routes.post("/logout")
    def log_out(request: Request, csrf: Annotated[str, Form()] = "") -> Response:
        access = site.parts.access
        session = access.session(request.cookies.get(COOKIE, ""))
        if session is not None and not is_csrf(session, (csrf,)):
            raise HTTPException(403, "this request was not made by a page of ours: load it again")
        access.end(request.cookies.get(COOKIE, ""))
        answer = RedirectResponse(site.url("/login"), 303)
        answer.delete_cookie(COOKIE, path=site.place.base or "/")
        return answer

    return routes


def _log_in(site: Site, request: Request, token: str, wanted: str) -> Response:
    access = site.parts.access
    _require_patience(access, request)
    grant = access.grant_of(token.strip(), address_of(request))
    if grant is None:
        wrong = "This token is not known here."
        return site.page("login.html", None, {"wrong": wrong, "next": _local(wanted)}, status=401)
    answer = RedirectResponse(site.url(_local(wanted)), 303)
    answer.set_cookie(
        COOKIE,
        access.begin(grant),
        path=site.place.base or "/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


def _require_patience(access: Access, request: Request) -> None:
    wait_s = access.must_wait_s(address_of(request))
    if wait_s > 0:
        raise TooManyTriesError(wait_s)


def _local(path: str) -> str:
    """A page of ours to go on to; never another site's."""
    plain = path.isascii() and path.isprintable() and "\\" not in path and " " not in path
    return path if plain and path.startswith("/") and not path.startswith("//") else "/"
