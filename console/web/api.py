"""The same for programs: REST under ``/api/v1``, described by OpenAPI; with ``Authorization: Bearer TOKEN``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import Response
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from console.board import Listed
from console.cameras import CameraCard
from console.events import EventCard
from console.memory import BankLine, MemoryDesk
from console.plumbing import Account, Lag
from console.verdicts import Said
from console.web.actions import Given, give, one_line
from console.web.entry import ApiOperator, Viewer, visitor_of
from console.web.pages import PICTURE, Asked, event_of, medium
from console.web.site import Site
from consumers.verdicts import MAX_REASON as MAX_SAID
from consumers.verdicts import Statement
from memory_store.interventions import MAX_REASON
from schemas.codec import decode_message
from schemas.media import EventMedia
from schemas.messages import AnomalyEvent, UtcTime
from schemas.verdicts import OperatorVerdict, Scope, VerdictOutcome

MAX_PAGE = 200


class VerdictRequest(BaseModel):
    """What is to be said of an event."""

    model_config = ConfigDict(extra="forbid")

    judgement: Given
    scope: Scope = "place"
    reason: str = Field(default="", max_length=MAX_SAID)
    expires_at: UtcTime | None = None


class BankRequest(BaseModel):
    """Why a memory is frozen, thawed or taken back."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=MAX_REASON)


class VerdictAnswer(BaseModel):
    """A verdict, and what came of it so far."""

    verdict: OperatorVerdict
    outcome: VerdictOutcome | None


class EventAnswer(BaseModel):
    """An event in a list, and the verdict that holds of it."""

    event: EventCard
    holding: VerdictAnswer | None


class EventsAnswer(BaseModel):
    """A page of events."""

    num_found: int
    events: list[EventAnswer]


class WholeEvent(BaseModel):
    """One event: its newest message without the picture, all that was said of it, and its picture and clip."""

    message: AnomalyEvent
    said: list[VerdictAnswer]
    media: list[EventMedia]


@dataclass(frozen=True)
class Pipes:
    """Who is how far behind, and counts with what they fall short by."""

    lags: Sequence[Lag]
    accounts: Sequence[Account]
    trouble: Sequence[str]


class Myself(BaseModel):
    """Who a token belongs to."""

    name: str
    role: str


PREFIX = "/api/v1"
FOR_VIEWERS = (Depends(visitor_of), Depends(HTTPBearer(auto_error=False)))
"""The second one tells OpenAPI how a token is sent."""


def api_routes(site: Site) -> APIRouter:
    """Events, verdicts, cameras, plumbing."""
    routes = APIRouter(prefix=PREFIX, dependencies=FOR_VIEWERS)
    board = site.parts.board

    @routes.get("/myself")
    def myself(visitor: Viewer) -> Myself:
        """Who the token belongs to, and its role."""
        return Myself(name=visitor.grant.name, role=visitor.grant.role)

    @routes.get("/events")
    def events(
        asked: Annotated[Asked, Depends()],
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    ) -> EventsAnswer:
        """Events, alerts first or newest first. Times: ``2h``, ``7d``, ``2026-03-01T08:00Z``."""
        found = board.find(asked.filter(board.now()))
        return EventsAnswer(num_found=len(found), events=[_listed(one) for one in found[offset : offset + limit]])

    @routes.get("/events/{event_id}")
    def event(event_id: str) -> WholeEvent:
        """One event with all that was said of it."""
        shelved = event_of(site, event_id)
        said, _ = board.said(event_id)
        return WholeEvent(
            message=decode_message(AnomalyEvent, shelved.body),
            said=[_answer(one) for one in said],
            media=list(board.media(event_id).values()),
        )

    @routes.get("/events/{event_id}/media/{kind}", response_class=Response)
    def media(event_id: str, kind: Literal["clip", "picture"]) -> Response:
        """The clip (MP4) or the large picture (JPEG) that ``engram clips`` made; ranges may be asked for."""
        return medium(site, event_id, kind)

    @routes.get("/events/{event_id}/picture", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
    def picture(event_id: str) -> Response:
        """The peak frame, small, as JPEG."""
        shelved = event_of(site, event_id)
        if shelved.picture is None:
            raise HTTPException(404, "this event has no picture")
        return Response(shelved.picture, media_type="image/jpeg", headers=PICTURE)

    @routes.post("/events/{event_id}/verdicts", status_code=201)
    def say(visitor: ApiOperator, event_id: str, wanted: VerdictRequest) -> VerdictAnswer:
        """Say something of an event, or undo what was said. What it changed comes later: ask for the event again."""
        said = Statement(wanted.judgement, visitor.grant.name, wanted.scope, one_line(wanted.reason), wanted.expires_at)
        return VerdictAnswer(verdict=give(site, event_id, said), outcome=None)

    @routes.get("/cameras")
    def cameras() -> list[CameraCard]:
        """How each camera fares."""
        return board.cameras()

    @routes.get("/plumbing")
    def plumbing() -> Pipes:
        """Who is how far behind, and counts that must add up."""
        found = site.parts.plumbing()
        return Pipes(found.lags, found.accounts, found.trouble)

    return routes


def bank_api_routes(site: Site) -> APIRouter:
    """Memories, where the console has their store."""
    routes = APIRouter(prefix=PREFIX, dependencies=FOR_VIEWERS)

    @routes.get("/banks")
    def banks() -> list[BankLine]:
        """The memories, where the console has their store."""
        return _desk(site).banks()

    @routes.get("/banks/{bank_id}/log")
    def log(bank_id: str) -> list[dict[str, Any]]:
        """Who changed a memory, when and why; newest first."""
        return [entry.to_json() for entry in _desk(site).log(bank_id)]

    @routes.post("/banks/{bank_id}/freeze")
    def freeze(visitor: ApiOperator, bank_id: str, why: BankRequest) -> BankLine:
        """Let a memory learn no more."""
        _desk(site).freeze(bank_id, visitor.grant.name, one_line(why.reason))
        return _desk(site).bank(bank_id)

    @routes.post("/banks/{bank_id}/thaw")
    def thaw(visitor: ApiOperator, bank_id: str, why: BankRequest) -> BankLine:
        """Let it learn again."""
        _desk(site).thaw(bank_id, visitor.grant.name, one_line(why.reason))
        return _desk(site).bank(bank_id)

    @routes.post("/banks/{bank_id}/versions/{version}/rollback")
    def roll_back(visitor: ApiOperator, bank_id: str, version: int, why: BankRequest) -> BankLine:
        """Take a memory back to a version, as one more version."""
        _desk(site).roll_back(bank_id, version, visitor.grant.name, one_line(why.reason))
        return _desk(site).bank(bank_id)

    return routes


def _desk(site: Site) -> MemoryDesk:
    if site.parts.memory is None:
        raise HTTPException(404, "this console has no store; give it one with --store, or use 'engram bank'")
    return site.parts.memory


def _answer(said: Said) -> VerdictAnswer:
    return VerdictAnswer(verdict=said.verdict, outcome=said.outcome)


def _listed(listed: Listed) -> EventAnswer:
    return EventAnswer(event=listed.card, holding=None if listed.said is None else _answer(listed.said))
