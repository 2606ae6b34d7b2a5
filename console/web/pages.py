"""The pages to look at: wall, review, one event, cameras, memory, plumbing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import FileResponse, RedirectResponse, Response

from console.board import Filter, Listed, Show
from console.cameras import CameraCard
from console.events import Shelved
from console.media import ENDS, name_of
from console.memory import MEASURES, Measure
from console.pictures import difference_png, heat_png, largest_changes
from console.plumbing import producer_account
from console.web.entry import Viewer, visitor_of
from console.web.site import Site
from consumers.durations import moment
from schemas.codec import decode_message
from schemas.messages import AnomalyEvent, EventData

PAGE_SIZE = 30
PICTURE = {"cache-control": "private, max-age=300"}
SHOWS: Mapping[str, str] = {
    "unseen": "To review",
    "open": "Going on now",
    "real": "Said to be real",
    "normal": "Said to be normal",
    "seen": "Seen",
    "all": "All",
}
SINCE: Mapping[str, str] = {"": "Any time", "1h": "Last hour", "24h": "Last day", "7d": "Last week"}
EXPIRIES: Mapping[str, str] = {"": "for good", "1": "for a day", "7": "for a week", "30": "for 30 days"}
STATES = ("lost", "stale", "in doubt", "frozen", "learning", "live")

About = Literal["", "picture", "trouble"]
Order = Literal["alerts", "newest"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What an address asks for among the events, as it stands there."""

    show: Show = "unseen"
    camera: str = ""
    since: str = ""
    until: str = ""
    severity: str = ""
    about: About = ""
    order: Order = "alerts"

    def filter(self, now: datetime) -> Filter:
        """As the board is asked; 400 where a time is none."""
        try:
            first, last = (None if not text else moment(text, now) for text in (self.since, self.until))
        except ValueError as error:
            raise HTTPException(400, f"since and until {error}") from None
        return Filter(self.show, self.camera.strip(), first, last, self.severity, self.about, self.order == "newest")


def event_of(site: Site, event_id: str) -> Shelved:
    """An event; 404 where it is not here."""
    shelved = site.parts.board.event(event_id)
    if shelved is None:
        raise HTTPException(404, "this event is not here: it never was, or it was among the oldest and had to go")
    return shelved


def event_context(site: Site, event_id: str) -> dict[str, Any]:
    """What the page of an event, and the part of it about verdicts, are drawn from."""
    shelved = event_of(site, event_id)
    event = decode_message(AnomalyEvent, shelved.body)
    said, holding = site.parts.board.said(event_id)
    return {
        "card": shelved.card,
        "data": event.data,
        "said": said,
        "holding": holding,
        "expiries": EXPIRIES,
        "curve": _curve(event.data),
        "why": shelved.card.why,
        "strongest": max((abs(spreads) for _, spreads in shelved.card.why), default=1.0) or 1.0,
        "today": None if site.parts.memory is None else site.parts.memory.today(event),
        "media": site.parts.board.media(event_id),
        "ways": {kind: _way(site, event.data, kind) for kind in ENDS},
    }


def _way(site: Site, data: EventData, kind: str) -> Literal["", "file", "link"]:
    """How a browser gets an event's picture or clip; empty: not at all."""
    place = site.parts.media
    if place is None:
        return ""
    name = name_of(data, kind)
    return "file" if place.file(name) is not None else "link" if place.link(name) is not None else ""


def medium(site: Site, event_id: str, kind: str) -> Response:
    """The picture or the clip of an event, whole or the ranges that were asked for; or the way to it."""
    data = decode_message(AnomalyEvent, event_of(site, event_id).body).data
    place, name = site.parts.media, name_of(data, kind)
    if place is not None and (path := place.file(name)) is not None:
        return FileResponse(path, media_type="video/mp4" if kind == "clip" else "image/jpeg", headers=PICTURE)
    if place is not None and (link := place.link(name)) is not None:
        return RedirectResponse(link, 307)
    raise HTTPException(404, f"there is no {kind} of this event here: none was made, or it is kept no longer")


def _curve(data: EventData) -> dict[str, object]:
    """Seconds from the start and scores, with the bounds, for the page's script."""
    span = max(1, data.frames.last - data.frames.first)
    length_s = max((data.last_at - data.started_at).total_seconds(), 0.0) or 1.0
    points = [(point.frame_index - data.frames.first) / span * length_s for point in data.curve]
    return {
        "seconds": [round(at_s, 3) for at_s in points],
        "scores": [round(point.anomaly_score, 4) for point in data.curve],
        "enter": data.threshold.enter,
        "exit": data.threshold.exit,
    }


def _routes() -> APIRouter:
    """Nothing of these is shown to who has not come in."""
    return APIRouter(include_in_schema=False, dependencies=[Depends(visitor_of)])


def wall_routes(site: Site) -> APIRouter:
    """The wall and the queue."""
    routes = _routes()
    board = site.parts.board

    @routes.get("/")
    def wall(visitor: Viewer) -> Response:
        return site.page("wall.html", visitor, {"wall": board.wall()})

    @routes.get("/parts/wall")
    def wall_part(visitor: Viewer) -> Response:
        return site.page("parts/wall.html", visitor, {"wall": board.wall()})

    @routes.get("/queue")
    def queue(
        visitor: Viewer, asked: Annotated[Asked, Depends()], page: Annotated[int, Query(ge=1, le=10_000)] = 1
    ) -> Response:
        found = board.find(asked.filter(board.now()))
        return site.page("queue.html", visitor, _queue_context(site, found, asdict(asked), page))

    @routes.get("/parts/waiting")
    def waiting(visitor: Viewer, known: int) -> Response:
        num_waiting = len(board.find(Filter()))
        if num_waiting <= known:
            return Response(status_code=204)
        return site.page("parts/waiting.html", visitor, {"num_waiting": num_waiting})

    return routes


def event_routes(site: Site) -> APIRouter:
    """One event and its pictures."""
    routes = _routes()

    @routes.get("/events/{event_id}")
    def event(visitor: Viewer, event_id: str) -> Response:
        return site.page("event.html", visitor, event_context(site, event_id) | _neighbours(site, event_id))

    @routes.get("/parts/events/{event_id}/said")
    def said(visitor: Viewer, event_id: str) -> Response:
        return site.page("parts/said.html", visitor, event_context(site, event_id))

    @routes.get("/events/{event_id}/picture.jpg")
    def picture(event_id: str) -> Response:
        shelved = event_of(site, event_id)
        if shelved.picture is None:
            raise HTTPException(404, "this event has no picture")
        return Response(shelved.picture, media_type="image/jpeg", headers=PICTURE)

    @routes.get("/parts/events/{event_id}/media")
    def media_part(visitor: Viewer, event_id: str) -> Response:
        return site.page("parts/media.html", visitor, event_context(site, event_id))

    @routes.get("/events/{event_id}/media/{kind}")
    def media(event_id: str, kind: Literal["clip", "picture"]) -> Response:
        return medium(site, event_id, kind)

    @routes.get("/events/{event_id}/heat.png")
    def heat(event_id: str, of: Literal["peak", "trace"] = "peak") -> Response:
        data = decode_message(AnomalyEvent, event_of(site, event_id).body).data
        return Response(
            heat_png(data.trace if of == "trace" and data.trace is not None else data.heat_map),
            media_type="image/png",
            headers=PICTURE,
        )

    return routes


def camera_routes(site: Site) -> APIRouter:
    """Cameras, and what flows through the pipes."""
    routes, board = _routes(), site.parts.board

    @routes.get("/cameras")
    def cameras(visitor: Viewer) -> Response:
        return site.page("cameras.html", visitor, {"cameras": _worst_first(board.cameras())})

    @routes.get("/parts/cameras")
    def cameras_part(visitor: Viewer) -> Response:
        return site.page("parts/cameras.html", visitor, {"cameras": _worst_first(board.cameras())})

    @routes.get("/cameras/{camera_id}")
    def camera(visitor: Viewer, camera_id: str) -> Response:
        found = board.camera(camera_id)
        if found is None:
            raise HTTPException(404, "nothing is known of this camera")
        card, facts = found
        events = board.find(Filter("all", camera_id, newest_first=True))[:12]
        account = None if facts.status is None else producer_account(facts.status)
        context = {"camera": card, "facts": facts, "events": events, "account": account}
        return site.page("camera.html", visitor, context)

    @routes.get("/plumbing")
    def plumbing(visitor: Viewer) -> Response:
        return site.page("plumbing.html", visitor, _plumbing(site))

    @routes.get("/parts/plumbing")
    def plumbing_part(visitor: Viewer) -> Response:
        return site.page("parts/plumbing.html", visitor, _plumbing(site))

    return routes


def memory_routes(site: Site) -> APIRouter:
    """Banks: by their store, or as they were announced."""
    routes = _routes()
    board, desk = site.parts.board, site.parts.memory

    @routes.get("/memory")
    def memory(visitor: Viewer) -> Response:
        lines = [] if desk is None else desk.banks()
        announced = {bank_id: board.versions(bank_id) for bank_id in board.banks()}
        return site.page("memory.html", visitor, {"lines": lines, "announced": announced})

    @routes.get("/memory/{bank_id}")
    def bank(visitor: Viewer, bank_id: str, before: int | None = None, after: int | None = None) -> Response:
        announced = board.versions(bank_id)
        if desk is None:
            if not announced:
                raise HTTPException(404, "nothing is known of this bank")
            entries = [version.entry for version in announced if version.entry is not None]
            context: dict[str, Any] = {"line": None, "entries": entries, "kept": (), "difference": None}
        else:
            context = {"line": desk.bank(bank_id), "entries": desk.log(bank_id), "kept": desk.kept(bank_id)}
            wanted = None if before is None or after is None else desk.difference(bank_id, before, after)
            context |= {"difference": wanted}
        difference = context["difference"]
        places = {} if difference is None else {name: largest_changes(it) for name, it in difference.changes.items()}
        return site.page("bank.html", visitor, context | {"bank_id": bank_id, "places": places, "measures": MEASURES})

    @routes.get("/memory/{bank_id}/difference.png")
    def difference(bank_id: str, before: int, after: int, measure: Measure = "grey") -> Response:
        if desk is None:
            raise HTTPException(404, "this console has no store to compare versions of")
        changes = desk.difference(bank_id, before, after).changes
        if measure not in changes:
            raise HTTPException(404, "this bank counts nothing by place")
        return Response(difference_png(changes[measure]), media_type="image/png", headers=PICTURE)

    return routes


def _queue_context(site: Site, found: Sequence[Listed], given: Mapping[str, str], page: int) -> dict[str, Any]:
    last = max(1, -(-len(found) // PAGE_SIZE))
    page = min(page, last)
    return {
        "listed": found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE],
        "num_found": len(found),
        "num_waiting": len(site.parts.board.find(Filter())),
        "given": given,
        "page": page,
        "last_page": last,
        "shows": SHOWS,
        "sinces": SINCE,
        "camera_names": [card.camera_id for card in site.parts.board.cameras()],
        "held": site.parts.board.held(),
        "max_events": site.parts.board.bounds.max_events,
    }


def _neighbours(site: Site, event_id: str) -> dict[str, str | None]:
    """The next one to review, in the order of the queue."""
    ids = [listed.card.event_id for listed in site.parts.board.find(Filter()) if listed.card.event_id != event_id]
    return {"next_id": ids[0] if ids else None, "num_waiting": str(len(ids))}


def _worst_first(cameras: Sequence[CameraCard]) -> list[CameraCard]:
    return sorted(cameras, key=lambda card: (STATES.index(card.state), card.camera_id))


def _plumbing(site: Site) -> dict[str, Any]:
    return {"pipes": site.parts.plumbing(), "held": site.parts.board.held(), "bounds": site.parts.board.bounds}
