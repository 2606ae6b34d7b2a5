"""The stream of a page: what it tells, how often, and when it ends."""

import asyncio
import json
from collections.abc import Callable

from console.access import Access
from console.board import Board
from console.plumbing import Plumbing
from console.web.site import Health, Parts, Place, Site
from console.web.stream import LONGEST_S, MAX_STREAMS, Streams, told
from tests.unit.console.worlds import NOW, board_at, seen, world
from tests.unit.consumers.samples import score


def site_of(board: Board) -> Site:
    parts = Parts(board, Access([]), lambda verdict: None, lambda: Health(3.0, 0.5, 7), Plumbing)
    return Site(parts, Place())


def heard(
    board: Board, turns: list[Callable[[], object]], step_s: float = 1.0, **given: object
) -> list[tuple[str, str]]:
    """Name and data of what is told while ``turns`` happen, one each ``step_s``; the stream ends after them."""
    streams = Streams()
    clock = [0.0]
    found: list[tuple[str, str]] = []

    async def listen() -> None:
        left = list(turns)

        def now() -> float:
            return clock[0]

        stream = told(site_of(board), streams, lambda: True, now, turn_s=0)
        task = asyncio.ensure_future(_collect(stream, found))
        for act in left:
            await asyncio.sleep(0)
            act()
            clock[0] += step_s
            for _ in range(5):
                await asyncio.sleep(0)
        streams.end()
        await task

    asyncio.run(listen())
    assert streams.num_open == 0
    return found


async def _collect(stream: object, found: list[tuple[str, str]]) -> None:
    async for text in stream:  # type: ignore[attr-defined]
        if text.startswith("event: "):
            name, data = text.removeprefix("event: ").split("\ndata: ")
            found.append((name, data.strip()))


def nothing() -> None:
    """Nothing happens."""


def test_what_has_changed_is_named_once() -> None:
    board = board_at()
    found = heard(board, [lambda: board.take_event(seen(), NOW), nothing, nothing])
    assert [data for name, data in found if name == "changed"] == ["wall queue"]


def test_scores_are_told_of_seldom_however_many_come() -> None:
    board = board_at()
    number = iter(range(1000))
    turns: list[Callable[[], object]] = [lambda: board.take_score(score(next(number)), NOW)] * 30
    changed = [data for name, data in heard(board, turns, step_s=0.5) if name == "changed"]
    assert set(changed) == {"scores"}
    assert 3 <= len(changed) <= 5, "15 s, and at most one in three"


def test_a_beat_says_how_old_our_own_news_are() -> None:
    beats = [json.loads(data) for name, data in heard(board_at(), [nothing] * 10) if name == "beat"]
    assert 4 <= len(beats) <= 6
    assert (beats[0]["log_s"], beats[0]["reader_s"], beats[0]["trouble"]) == (3.0, 0.5, None)


def test_a_stream_ends_by_itself_and_when_its_session_does() -> None:
    async def listen(is_welcome: bool, at_s: float) -> int:
        times = iter([0.0, *([at_s] * 1000)])
        stream = told(site_of(board_at()), Streams(), lambda: is_welcome, lambda: next(times), turn_s=0)
        return len([text async for text in stream])

    assert asyncio.run(listen(True, LONGEST_S + 1)) == 1
    assert asyncio.run(listen(False, 1.0)) == 1


def test_no_more_than_so_many_listen_at_once() -> None:
    there = world()
    client = there.client()
    streams = _streams_of(client)
    streams.num_open = MAX_STREAMS
    assert client.get("/stream").status_code == 503
    streams.num_open = 0
    streams.end()
    answer = client.get("/stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text == "retry: 3000\n\n"


def _streams_of(client: object) -> Streams:
    return client.app._inner.state.streams  # type: ignore[attr-defined]
