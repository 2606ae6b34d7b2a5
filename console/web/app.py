"""The application: routes, errors told to people and programs, and the guard around it all."""

from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException

from console.web.actions import action_routes, memory_action_routes
from console.web.api import api_routes, bank_api_routes
from console.web.entry import LoginNeededError, TooManyTriesError, entry_routes, visitor_of
from console.web.guard import Application, Guard
from console.web.pages import camera_routes, event_routes, memory_routes, wall_routes
from console.web.site import STATIC, Parts, Place, Site
from console.web.stream import Streams, stream_routes
from schemas.errors import EngramError, FatalError
from schemas.version import software_version

API = "/api/"
TEXT = {"cache-control": "public, max-age=3600"}


class _Static(StaticFiles):
    """Files of the package, which a browser may keep for an hour."""

    def file_response(self, *args: Any, **given: Any) -> Response:
        """See ``StaticFiles``."""
        answer = super().file_response(*args, **given)
        answer.headers["cache-control"] = TEXT["cache-control"]
        return answer


def make_app(parts: Parts, place: Place | None = None, streams: Streams | None = None) -> Application:
    """The console as an ASGI application.

    Args:
        parts: what it is about.
        place: where its pages lie.
        streams: counts open streams; who serves ends them before it stops.
    """
    site = Site(parts, place or Place())
    app = FastAPI(title="Engram console", version=software_version(), docs_url=None, redoc_url=None, openapi_url=None)
    app.state.site = site
    app.state.streams = streams = streams or Streams()
    looked_at = (wall_routes, event_routes, camera_routes, memory_routes, api_routes, bank_api_routes)
    for routes in (entry_routes, *looked_at, action_routes, memory_action_routes):
        app.include_router(routes(site))
    app.include_router(stream_routes(site, streams))
    app.mount("/static", _Static(directory=STATIC), name="static")
    _add_open_routes(app, site)
    _add_errors(app, site)
    return Guard(app, site.place.base)


def _add_open_routes(app: FastAPI, site: Site) -> None:
    @app.get("/healthz", include_in_schema=False)
    def health() -> Response:
        return Response("ok\n", media_type="text/plain")

    @app.get("/api/openapi.json", include_in_schema=False, dependencies=[Depends(visitor_of)])
    def description() -> JSONResponse:
        return JSONResponse(app.openapi() | {"servers": [{"url": site.place.base or "/"}]})


def _add_errors(app: FastAPI, site: Site) -> None:
    @app.exception_handler(LoginNeededError)
    async def login(request: Request, _: LoginNeededError) -> Response:
        if _is_api(request):
            text = "log in first: send a token as 'Authorization: Bearer TOKEN'"
            return JSONResponse({"detail": text}, 401, {"www-authenticate": "Bearer"})
        if "hx-request" in request.headers:
            return Response(status_code=401, headers={"hx-redirect": site.url("/login")})
        if request.url.path == "/stream":
            return Response(status_code=401)
        wanted = request.url.path if request.method == "GET" else "/"
        return RedirectResponse(f"{site.url('/login')}?next={wanted}", 303)

    @app.exception_handler(TooManyTriesError)
    async def patience(request: Request, error: TooManyTriesError) -> Response:
        answer = _told(site, request, 429, str(error), is_known=False)
        answer.headers["retry-after"] = str(int(error.wait_s) + 1)
        return answer

    @app.exception_handler(AnyHTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return _told(site, request, error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def wrong(request: Request, error: RequestValidationError) -> Response:
        parts = [f"{'.'.join(str(step) for step in part['loc'])}: {part['msg']}" for part in error.errors()]
        return _told(site, request, 422, "; ".join(parts)[:500])

    @app.exception_handler(EngramError)
    async def engram(request: Request, error: EngramError) -> Response:
        status = 409 if isinstance(error, FatalError) else 503
        return _told(site, request, status, str(error))


def _is_api(request: Request) -> bool:
    return request.url.path.startswith(API)


def _told(site: Site, request: Request, status: int, text: str, is_known: bool = True) -> Response:
    """An error as JSON for programs, as a line for a page that asked for a part, and as a page otherwise."""
    if _is_api(request):
        return JSONResponse({"detail": text}, status)
    if "hx-request" in request.headers:
        answer: Response = site.page("parts/error.html", None, {"text": text, "status": status}, status)
        answer.headers.update({"hx-retarget": "#notice", "hx-reswap": "innerHTML"})
        return answer
    try:
        visitor = visitor_of(request) if is_known else None
    except (LoginNeededError, TooManyTriesError):
        visitor = None
    return site.page("error.html", visitor, {"text": text, "status": status}, status)
