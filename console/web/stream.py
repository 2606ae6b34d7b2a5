"""The page's one stream: what has changed, and a beat by which a page knows that it still hears us.

Nothing waits in a queue for a slow reader: each turn tells what is different from what this reader was told last. A
stream ends after a while by itself, so that a page that is open for a day asks for its session again.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import StreamingResponse

from console.web.entry import COOKIE, Viewer
from console.web.site import Site

TURN_S = 1.0
BEAT_S = 2.0
LONGEST_S = 1800.0
MAX_STREAMS = 100
INTERVAL_S: Mapping[str, float] = {"scores": 3.0}
"""How often a part is told of at most; others at each turn."""


class Streams:
    """Counts the open streams, and ends them when the server does."""

    def __init__(self) -> None:
        self.num_open = 0
        self.is_ending = False

    def end(self) -> None:
        """No stream lasts beyond its next turn."""
        self.is_ending = True


def stream_routes(site: Site, streams: Streams) -> APIRouter:
    """The stream."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/stream")
    async def stream(request: Request, visitor: Viewer) -> StreamingResponse:
        if streams.num_open >= MAX_STREAMS:
            raise HTTPException(503, f"at most {MAX_STREAMS} pages may listen at once")
        secret = request.cookies.get(COOKIE, "")

        def is_welcome() -> bool:
            return visitor.csrf is None or site.parts.access.session(secret) is not None

        return StreamingResponse(
            told(site, streams, is_welcome),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    return routes


async def told(
    site: Site,
    streams: Streams,
    is_welcome: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
    turn_s: float = TURN_S,
) -> AsyncIterator[str]:
    """Server-sent events: ``changed`` with the names of parts, ``beat`` with how old our own news are."""
    board, began_s = site.parts.board, clock()
    known = dict(board.turns())
    told_s = dict.fromkeys(INTERVAL_S, began_s)
    beat_s = began_s - BEAT_S
    streams.num_open += 1
    try:
        yield "retry: 3000\n\n"
        while not streams.is_ending and clock() - began_s < LONGEST_S and is_welcome():
            now_s, turns = clock(), board.turns()
            changed = [
                part
                for part, turn in turns.items()
                if turn != known.get(part) and now_s - told_s.get(part, began_s - 1) >= INTERVAL_S.get(part, 0.0)
            ]
            if changed:
                known |= {part: turns[part] for part in changed}
                told_s |= dict.fromkeys(changed, now_s)
                yield f"event: changed\ndata: {' '.join(changed)}\n\n"
            if now_s - beat_s >= BEAT_S:
                beat_s = now_s
                yield f"event: beat\ndata: {json.dumps(_beat(site))}\n\n"
            await asyncio.sleep(turn_s)
    finally:
        streams.num_open -= 1


def _beat(site: Site) -> Mapping[str, object]:
    health = site.parts.health()
    return {
        "at": site.parts.board.now().isoformat(timespec="seconds"),
        "log_s": round(health.log_silent_s, 1),
        "reader_s": round(health.reader_silent_s, 1),
        "trouble": health.trouble,
    }
