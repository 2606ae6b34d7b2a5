"""What programs read: every object whole, on one line, and the exit code with it; and the last words of ``watch``."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from deploy.local.stack import ServerStatus, Stack, StackStatus
from engram import doctor
from engram.build.adapters import open_store
from engram.cli.app import app
from engram.cli.config import KINDS
from engram.cli.output import print_json_line, print_table
from engram.demo import stack_run
from engram.demo.checks import Check
from engram.doctor import Diagnosis
from memory_store.bank import Bank, Change
from memory_store.proposal import normalised
from memory_store.store import CommitRequest
from schemas.settings.connections import StoreSection
from tests.unit.memory_store.proposals import FREEZE

NOW = datetime(2026, 3, 1, 12, 30, 15, tzinfo=timezone.utc)
ITEMS = normalised(np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32))


def call(*words: object, **environment: str) -> Result:
    wide = {"COLUMNS": "250", "TERM": "dumb", "NO_COLOR": "1"}
    return CliRunner(env=wide | environment).invoke(app, [str(word) for word in words])


def told(*words: object) -> Any:
    """The one line that a command prints for programs."""
    done = call(*words, "-o", "json")
    assert done.stdout.count("\n") == 1, done.output
    return json.loads(done.stdout)


def cells(shown: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with two banks: 'lobby' at version 1, 'dock' just made and frozen."""
    made = f"sqlite:///{tmp_path / 'banks.db'}"
    with open_store(StoreSection(url=made)) as store:
        lobby = store.create(Bank("lobby", 0, "e1", "b" * 64, ITEMS, NOW), Change("create", "c1", "as trained", "1"))
        lease = store.acquire("lobby", "c1", 10.0)
        assert lease is not None
        change = Change("update", "c1", "round", "2", 3, 30, 2, (("cam1", 20), ("cam2", 10)), 0.01234, 0.05678)
        store.commit(CommitRequest(lease, lobby.followed_by(ITEMS[::-1], NOW), change))
        store.create(Bank("dock", 0, "e2", "c" * 64, ITEMS, NOW), Change("create", "c1", "new", "3"))
        store.freeze("dock", *FREEZE)
    return made


def test_a_bank_for_programs(url: str) -> None:
    with open_store(StoreSection(url=url)) as store:
        bank = store.read("lobby")
    assert bank is not None
    whole = {
        "bank_id": "lobby",
        "version": 1,
        "updates": "allowed",
        "items": 4,
        "item_dim": 8,
        "committed_at": "2026-03-01T12:30:15+00:00",
        "epoch": "e1",
        "digest": bank.digest,
        "bundle_digest": "b" * 64,
    }
    assert told("bank", "show", "lobby", "--store", url) == whole
    assert whole in told("bank", "list", "--store", url)


def test_every_bank_is_listed_with_what_may_change_it(url: str) -> None:
    listed = {one["bank_id"]: (one["version"], one["updates"]) for one in told("bank", "list", "--store", url)}
    assert listed == {"lobby": (1, "allowed"), "dock": (0, "frozen")}
    rows = {row[0]: row[1:] for row in cells(call("bank", "list", "--store", url).stdout)}
    assert {name: (int(row[0]), row[1]) for name, row in rows.items()} == listed
    assert all(len(row[-1]) == 12 for row in rows.values()), "as much of a digest as a person compares"


def test_the_log_of_a_bank_in_columns(url: str) -> None:
    shown = call("bank", "log", "lobby", "--store", url)
    assert shown.exit_code == 0
    first, second = cells(shown.stdout)
    assert (first[:2], first[-2:]) == (["0", "create"], ["c1", "as trained"])
    assert second == ["1", "update", "2026-03-01 12:30:15", "30", "2", "0.0123", "0.0568", "c1", "round"]


def test_the_log_of_a_bank_that_is_not_there_is_empty(url: str) -> None:
    assert told("bank", "log", "nowhere", "--store", url) == []


@pytest.mark.parametrize("number", ["0", "-1", "x"])
def test_how_many_entries_is_a_number_from_one_on(url: str, number: str) -> None:
    assert call("bank", "log", "lobby", "-n", number, "--store", url).exit_code == 2


@pytest.mark.parametrize("process", KINDS)
def test_a_process_is_shown_the_settings_that_it_reads_and_no_other(process: str) -> None:
    shown = told("config", "show", "-p", process)
    fields = KINDS[process].model_fields
    assert {path.partition(".")[0] for path in shown} == set(fields) - {"cameras"}
    assert all(set(one) == {"value", "origin"} for one in shown.values())


@pytest.mark.parametrize("process", KINDS)
def test_what_another_process_reads_does_not_spoil_the_settings(process: str) -> None:
    done = call("config", "check", "-p", process, ENGRAM_COORDINATOR__ROUND_S="7")
    assert done.exit_code == 0, done.output
    given = 1 if "coordinator" in KINDS[process].model_fields else 0
    assert done.stdout.startswith(f"ok: {given} of ")


@pytest.mark.parametrize("is_ready", [True, False])
def test_the_stack_for_programs(is_ready: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path("/stack")
    kafka = ServerStatus("kafka", "127.0.0.1:1", 7, True, folder / "kafka.log")
    redis = ServerStatus("redis", None, None, is_ready, folder / "redis.log")
    found = StackStatus(folder, kafka, redis, folder / "stack.env")
    monkeypatch.setattr(Stack, "status", lambda _: found)
    done = call("stack", "status", "-o", "json")
    assert done.exit_code == (0 if is_ready else 1)
    assert json.loads(done.stdout) == {
        "is_ready": is_ready,
        "folder": "/stack",
        "servers": {
            "kafka": {"address": "127.0.0.1:1", "pid": 7, "is_ready": True, "log": "/stack/kafka.log"},
            "redis": {"address": None, "pid": None, "is_ready": is_ready, "log": "/stack/redis.log"},
        },
    }
    assert call("stack", "status").stdout == f"{found}\n"


@pytest.mark.parametrize(("words", "wanted"), [(["down"], "down"), (["down", "--wipe"], "wipe"), (["up"], "up")])
def test_topics_and_banks_are_deleted_only_by_that_word(
    words: list[str], wanted: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done: list[str] = []
    monkeypatch.setenv("ENGRAM_HOME", str(tmp_path))

    def noted(name: str) -> Callable[[Stack], StackStatus]:
        def note(self: Stack) -> StackStatus:
            done.append(name)
            return self.status()

        return note

    for name in ("up", "down", "wipe"):
        monkeypatch.setattr(Stack, name, noted(name))
    assert call("stack", *words, "-o", "json").exit_code == 0
    assert done == [wanted]


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
def test_a_promise_that_was_broken_is_an_exit_code(ok: bool, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = (Check("one", True, "0 of 3"), Check("two", ok, "1 of 3"))

    def run(request: stack_run.StackDemoRequest, stop: object) -> tuple[Check, ...]:
        request.tell("a step")
        return checks

    monkeypatch.setattr(stack_run, "run_stack_demo", run)
    done = call("stack", "demo", "-o", "json")
    assert done.exit_code == code
    assert json.loads(done.stdout) == [
        {"name": "one", "ok": True, "detail": "0 of 3"},
        {"name": "two", "ok": ok, "detail": "1 of 3"},
    ]
    assert done.stderr == "a step\n"
    assert cells(call("stack", "demo").stdout)[1] == ["ok" if ok else "FAIL", "two", "1 of 3"]


WELL = Diagnosis("broker", True, "answers")
WARNED = Diagnosis("store", True, "throws banks away", "set noeviction")
SICK = Diagnosis("bundle", False, "none is named", "name one")


@pytest.mark.parametrize(
    ("found", "code"), [((WELL,), 0), ((WELL, WARNED), 0), ((WELL, WARNED, SICK), 1), ((SICK, WELL), 1)]
)
def test_only_what_does_not_work_fails_the_doctor(
    found: tuple[Diagnosis, ...], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "diagnoses", lambda *_: iter(found))
    done = call("doctor", "-o", "json")
    assert done.exit_code == code
    assert json.loads(done.stdout) == [
        {"name": one.name, "ok": one.ok, "detail": one.detail, "remedy": one.remedy} for one in found
    ]
    shown = call("doctor")
    assert shown.exit_code == code
    state = {WELL: "ok   broker  answers", WARNED: "warn store   throws banks away", SICK: "FAIL bundle  none is named"}
    lines = [line for one in found for line in (state[one], *([f"             -> {one.remedy}"] if one.remedy else []))]
    assert shown.stdout.splitlines() == lines


def test_cells_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """No markup, whatever a camera is called; nothing is a dash."""
    print_table("t", ("a", "b"), [("[red]gate[/red]", None), (0, "")])
    assert cells(capsys.readouterr().out) == [["[red]gate[/red]", "-"], ["0", ""]]


def test_a_line_for_programs_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json_line({"text": "two\nlines", "path": Path("/x"), "at": NOW, "counts": Counter(a=1)})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"text": "two\nlines", "path": "/x", "at": str(NOW), "counts": {"a": 1}}
