"""Memories on the page: versions, who and why, what changed, hold still, go back; over a real store."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from console.memory import MemoryDesk
from console.verdicts import verdict_of
from consumers.verdicts import Statement
from memory_store.bank import Bank, Change
from memory_store.exemplar import exemplar_of
from memory_store.normality import Grid, Normality
from memory_store.store import CommitRequest
from memory_store.stores.sqlite import SqliteStore
from schemas.verdicts import Judgement
from tests.unit.console.worlds import NOW, board_at, csrf_of, seen, world
from tests.unit.consumers.samples import DIGEST

GRID = Grid(8, 12)


def counted(frames: float, grey: float) -> Normality:
    places = GRID.places
    background = np.zeros((*places, 2))
    background[..., 0] = frames * 0.5
    background[0, 1, 0] = frames * grey
    background[..., 1] = frames
    return Normality.of(GRID, NOW.timestamp(), frames=frames, background=background)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """A bank 'gate' with versions 0 and 1."""
    with closing(SqliteStore(tmp_path / "banks.db", 100)) as banks:
        bank = Bank("gate", 0, "00000001-" + "a" * 16, DIGEST, np.eye(3, 4, dtype=np.float32), NOW)
        bank = Bank(bank.bank_id, 0, bank.epoch, DIGEST, bank.items_MC, NOW, normality=counted(100, 0.5))
        banks.create(bank, Change("create", "c1", "begun", "create 1"))
        lease = banks.acquire("gate", "c1", 60.0)
        assert lease is not None
        items = bank.items_MC.copy()
        items[2] = (0, 0, 0, 1)
        after = bank.followed_by(items, NOW + timedelta(seconds=60), counted(150, 0.9))
        change = Change("update", "c1", "a round", "update 1", 2, 50, 1, (("gate-cam", 50),), 0.3, 0.1)
        banks.commit(CommitRequest(lease, after, change))
        yield banks


TRACE = {"rows": 3, "columns": 5, "values": [0, 0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0], "scale": "common"}
"""Of the patches of ``GRID``."""
PROVENANCE = {"bank_id": "gate", "bundle_digest": DIGEST}


@pytest.mark.parametrize(
    ("said_of", "judgement", "told"),
    [
        (10, "normal", "ann has called it normal"),
        (70, "normal", "ann has called cam1:s1:70 normal, and it is like that"),
        (70, "real", "Nothing that people have said by now"),
        (None, "normal", "Nothing that people have said by now"),
    ],
)
def test_an_event_is_held_against_what_people_have_said_by_now(
    store: SqliteStore, said_of: int | None, judgement: Judgement, told: str
) -> None:
    event = seen(trace=TRACE, heat_map=TRACE, provenance=PROVENANCE)
    if said_of is not None:
        spoken = seen(said_of, said_of + 10, trace=TRACE, heat_map=TRACE, provenance=PROVENANCE)
        verdict = verdict_of(spoken, Statement(judgement, "ann"), NOW)
        bank = store.read("gate")
        assert bank is not None
        lease = store.acquire("gate", "c1", 60.0)
        assert lease is not None
        after = replace(bank.followed_by(bank.items_MC, NOW), exemplars=(exemplar_of(verdict),))
        store.commit(CommitRequest(lease, after, Change("verdict", "ann", "normal", "verdict 1")))
    assert told in (MemoryDesk(store, lambda: NOW).today(event) or "")


def test_of_an_event_of_another_bundle_or_an_unknown_bank_nothing_is_said(store: SqliteStore) -> None:
    desk = MemoryDesk(store, lambda: NOW)
    assert desk.today(seen(trace=TRACE, provenance=PROVENANCE | {"bundle_digest": "1" * 64})) is None
    assert desk.today(seen(trace=TRACE, provenance=PROVENANCE | {"bank_id": "yard"})) is None
    assert desk.today(seen(heat_map=TRACE | {"scale": "peak"}, provenance=PROVENANCE)) is None


def test_versions_say_who_and_why_and_what_changed(store: SqliteStore) -> None:
    client = world(memory=MemoryDesk(store, lambda: NOW)).client()
    page = client.get("/memory").text
    assert "gate" in page
    bank = client.get("/memory/gate?before=0&after=1").text
    assert "a round" in bank
    assert "+50.0 frames counted as normal" in bank
    assert "gate-cam 50" in bank
    assert "row 1 column 2 +0.400" in bank
    assert "2 by 1.4142" in bank
    picture = client.get("/memory/gate/difference.png?before=0&after=1&measure=grey")
    assert picture.content.startswith(b"\x89PNG")
    assert client.get("/memory/gate?before=0&after=9").status_code == 409
    assert client.get("/memory/none").status_code == 409


def test_a_memory_is_held_still_with_a_reason_and_let_go(store: SqliteStore) -> None:
    client = world(memory=MemoryDesk(store, lambda: NOW)).client()
    mark = csrf_of(client.get("/memory/gate").text)
    assert client.post("/memory/gate/updates/freeze", data={"csrf": mark, "reason": ""}).status_code == 422
    assert client.post("/memory/gate/updates/freeze", data={"csrf": mark, "reason": "odd"}).status_code == 200
    held = store.read("gate")
    assert held is not None
    assert held.frozen
    entry = store.log("gate")[-1]
    assert (entry.change.action, entry.change.author, entry.change.reason) == ("freeze", "ann@console", "odd")
    client.post("/memory/gate/updates/thaw", data={"csrf": mark, "reason": "fine"})
    freed = store.read("gate")
    assert freed is not None
    assert not freed.frozen


def test_going_back_asks_twice(store: SqliteStore) -> None:
    client = world(memory=MemoryDesk(store, lambda: NOW)).client()
    mark = csrf_of(client.get("/memory/gate").text)
    url = "/memory/gate/versions/0/rollback"
    asked = client.post(url, data={"csrf": mark, "reason": "it was better"})
    assert "Type the name of the memory" in asked.text
    wrong = client.post(url, data={"csrf": mark, "reason": "it was better", "confirm": "yard"})
    assert "That is not the name of the memory." in wrong.text
    now = store.read("gate")
    assert now is not None
    assert now.version == 1
    client.post(url, data={"csrf": mark, "reason": "it was better", "confirm": "gate"})
    back = store.read("gate")
    assert back is not None
    assert back.version == 2
    first = store.read_version("gate", 0)
    assert first is not None
    assert back.digest == first.digest
    assert "it was better" in store.log("gate")[-1].change.reason
    again = client.post(url, data={"csrf": mark, "reason": "once more", "confirm": "gate"})
    assert again.status_code == 409
    assert "a rollback must change the items" in again.text


def test_who_may_look_changes_no_memory(store: SqliteStore) -> None:
    client = world(memory=MemoryDesk(store, lambda: NOW)).client("view")
    page = client.get("/memory/gate").text
    assert "Freeze" not in page
    assert "Go back" not in page
    mark = csrf_of(page)
    assert client.post("/memory/gate/updates/freeze", data={"csrf": mark, "reason": "x"}).status_code == 403


def test_the_same_by_rest(store: SqliteStore) -> None:
    there = world(memory=MemoryDesk(store, lambda: NOW))
    client = there.client(None, headers={"Authorization": f"Bearer {there.tokens['operate']}"})
    assert [bank["bank_id"] for bank in client.get("/api/v1/banks").json()] == ["gate"]
    assert client.post("/api/v1/banks/gate/freeze", json={"reason": "odd"}).json()["is_frozen"]
    assert not client.post("/api/v1/banks/gate/thaw", json={"reason": "fine"}).json()["is_frozen"]
    back = client.post("/api/v1/banks/gate/versions/0/rollback", json={"reason": "better"})
    assert back.json()["version"] == 2
    assert client.get("/api/v1/banks/gate/log").json()[0]["action"] == "rollback"


def test_without_a_store_the_page_says_how_else() -> None:
    there = world(board_at())
    client = there.client()
    assert "This console has no store" in client.get("/memory").text
    mark = csrf_of(client.get("/memory").text)
    answer = client.post("/memory/gate/updates/freeze", data={"csrf": mark, "reason": "x"})
    assert answer.status_code == 404
    assert "engram bank" in answer.text
