"""What people do on the pages: say something of events, take it back, hold a memory still, roll it back."""

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from console.verdicts import verdict_of
from console.web.entry import FormOperator
from console.web.pages import event_context, event_of
from console.web.site import Site
from consumers.verdicts import MAX_REASON as MAX_SAID
from consumers.verdicts import Statement
from memory_store.interventions import MAX_REASON
from schemas.codec import decode_message
from schemas.messages import AnomalyEvent
from schemas.verdicts import OperatorVerdict, Scope

MAX_AT_ONCE = 200
TICK = timedelta(microseconds=1)
Given = Literal["normal", "real", "skip", "undo"]
Days = Literal["", "1", "7", "30"]


def give(site: Site, event_id: str, said: Statement) -> OperatorVerdict:
    """Publish a verdict on an event and show it at once; its outcome comes from the coordinator.

    Raises:
        TransientError: the log does not take it; nothing was said.
    """
    board = site.parts.board
    event = decode_message(AnomalyEvent, event_of(site, event_id).body)
    before, _ = board.said(event_id)
    # After all that was said before, whatever the clocks of those who said it: the verdict given last counts.
    given_at = max([board.now(), *(one.verdict.given_at + TICK for one in before)])
    verdict = verdict_of(event, said, given_at)
    site.parts.say(verdict)
    board.take_verdict(verdict)
    return verdict


def action_routes(site: Site) -> APIRouter:
    """Verdicts, one and many."""
    routes = APIRouter(include_in_schema=False)

    @routes.post("/events/{event_id}/verdicts")
    def say(
        request: Request,
        visitor: FormOperator,
        event_id: str,
        judgement: Annotated[Given, Form()],
        scope: Annotated[Scope, Form()] = "place",
        days: Annotated[Days, Form()] = "",
        reason: Annotated[str, Form(max_length=MAX_SAID)] = "",
    ) -> Response:
        expires = site.parts.board.now() + timedelta(days=int(days)) if days and judgement == "normal" else None
        give(site, event_id, Statement(judgement, visitor.grant.name, scope, one_line(reason), expires))
        if "hx-request" in request.headers:
            return site.page("parts/said.html", visitor, event_context(site, event_id))
        return RedirectResponse(site.url(f"/events/{event_id}"), 303)

    @routes.post("/verdicts")
    def say_of_many(
        request: Request,
        visitor: FormOperator,
        judgement: Annotated[Literal["skip", "undo"], Form()],
        ids: Annotated[list[str] | None, Form(max_length=MAX_AT_ONCE)] = None,
    ) -> Response:
        here = [event_id for event_id in dict.fromkeys(ids or ()) if site.parts.board.event(event_id) is not None]
        for event_id in here:
            give(site, event_id, Statement(judgement, visitor.grant.name))
        if "hx-request" in request.headers:
            return site.page("parts/done.html", visitor, {"judgement": judgement, "ids": here})
        return RedirectResponse(site.url("/queue"), 303)

    return routes


def memory_action_routes(site: Site) -> APIRouter:
    """Freeze, thaw, roll back; only where the console has the store."""
    routes = APIRouter(include_in_schema=False)
    desk = site.parts.memory

    @routes.post("/memory/{bank_id}/updates/{action}")
    def change(
        visitor: FormOperator,
        bank_id: str,
        action: Literal["freeze", "thaw"],
        reason: Annotated[str, Form(min_length=1, max_length=MAX_REASON)],
    ) -> Response:
        if desk is None:
            raise HTTPException(404, "this console has no store; use 'engram bank'")
        apply = desk.freeze if action == "freeze" else desk.thaw
        apply(bank_id, visitor.grant.name, one_line(reason))
        return RedirectResponse(site.url(f"/memory/{bank_id}"), 303)

    @routes.post("/memory/{bank_id}/versions/{version}/rollback")
    def go_back(
        visitor: FormOperator,
        bank_id: str,
        version: int,
        reason: Annotated[str, Form(min_length=1, max_length=MAX_REASON)],
        confirm: Annotated[str, Form(max_length=80)] = "",
    ) -> Response:
        if desk is None:
            raise HTTPException(404, "this console has no store; use 'engram bank rollback'")
        line = desk.bank(bank_id)
        if confirm != bank_id:
            context = {"line": line, "version": version, "reason": one_line(reason), "is_wrong": bool(confirm)}
            return site.page("rollback.html", visitor, context)
        desk.roll_back(bank_id, version, visitor.grant.name, one_line(reason))
        return RedirectResponse(site.url(f"/memory/{bank_id}"), 303)

    return routes


def one_line(text: str) -> str:
    """As it can stand in a log."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
