"""``engram bank`` over a real SQLite store."""

import json
import sqlite3
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from bundles.bundle import load_initial_bank
from engram.build.adapters import open_store
from engram.build.shipped import WALKWAY, shipped_bundle
from engram.cli.app import app
from memory_store.bank import Bank, Change, next_epoch
from memory_store.proposal import normalised
from memory_store.store import CommitRequest
from schemas.settings.connections import StoreSection
from tests.unit.memory_store.counted import counting_bank, counts

runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})
NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)


def items(seed: int) -> np.ndarray:
    return normalised(np.random.default_rng(seed).normal(size=(4, 8)).astype(np.float32))


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with bank 'shared' at version 1."""
    made = f"sqlite:///{tmp_path / 'banks.db'}"
    with open_store(StoreSection(url=made)) as store:
        first = Bank("shared", 0, next_epoch(), "b" * 64, items(0), NOW)
        first = store.create(first, Change("create", "c1", "as trained", "create-1"))
        lease = store.acquire("shared", "c1", 10.0)
        assert lease is not None
        change = Change("update", "c1", "round", "commit-1", 3, 30, 2, (("cam1", 20), ("cam2", 10)), 0.01, 0.02)
        store.commit(CommitRequest(lease, first.followed_by(items(1), NOW), change))
    return made


def test_list(url: str) -> None:
    (bank,) = json.loads(runner.invoke(app, ["bank", "list", "--store", url, "-o", "json"]).stdout)
    assert (bank["bank_id"], bank["version"], bank["updates"]) == ("shared", 1, "allowed")
    assert (bank["items"], bank["item_dim"]) == (4, 8)
    assert "shared" in runner.invoke(app, ["bank", "list", "--store", url]).stdout


def test_a_damaged_bank_hides_no_other(url: str) -> None:
    assert runner.invoke(app, ["bank", "fork", "shared", "another", "--store", url]).exit_code == 0
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as rogue:
        rogue.execute("UPDATE bank SET items = x'00' WHERE bank_id = 'another'")
    result = runner.invoke(app, ["bank", "list", "--store", url, "-o", "json"])
    assert [bank["bank_id"] for bank in json.loads(result.stdout)] == ["shared"]
    assert (result.exit_code, "'another'" in result.stderr) == (2, True)


def test_show(url: str) -> None:
    result = runner.invoke(app, ["bank", "show", "shared", "--store", url])
    assert result.exit_code == 0
    assert "b" * 64 in result.stdout


def test_log_tells_who_why_and_from_what(url: str) -> None:
    entries = json.loads(runner.invoke(app, ["bank", "log", "--store", url, "-o", "json"]).stdout)
    assert [entry["version"] for entry in entries] == [0, 1]
    assert entries[1]["num_frames"] == 30
    newest = json.loads(runner.invoke(app, ["bank", "log", "-n", "1", "--store", url, "-o", "json"]).stdout)
    assert [entry["version"] for entry in newest] == [1]
    assert "as trained" in runner.invoke(app, ["bank", "log", "--store", url]).stdout


def test_a_bank_that_is_not_there(url: str) -> None:
    result = runner.invoke(app, ["bank", "show", "other", "--store", url])
    assert result.exit_code == 2
    assert "bank 'other' must exist, the store has ['shared']" in result.stderr


def test_an_empty_log_of_a_bank_that_is_not_there_says_so_beside_it(url: str) -> None:
    result = runner.invoke(app, ["bank", "log", "other", "--store", url, "-o", "json"])
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])
    assert "there is no bank 'other', the store has ['shared']" in result.stderr
    assert runner.invoke(app, ["bank", "log", "shared", "--store", url]).stderr == ""


def test_the_history_setting_bounds_what_can_be_read_back(tmp_path: Path) -> None:
    section = StoreSection(url=f"sqlite:///{tmp_path / 'short.db'}")
    with open_store(section, kept_versions=2) as store:
        bank = store.create(Bank("b", 0, next_epoch(), "b" * 64, items(0), NOW), Change("create", "c", "r", "id-0"))
        lease = store.acquire("b", "c", 10.0)
        assert lease is not None
        for number in (1, 2, 3):
            bank = bank.followed_by(items(number), NOW)
            store.commit(CommitRequest(lease, bank, Change("update", "c", "r", f"id-{number}")))
        readable = [version for version in range(4) if store.read_version("b", version) is not None]
    assert readable[-1] == 3
    assert 0 not in readable


def test_an_operator_makes_a_bank_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    arguments = ["bank", "create", "dock", "--bundle", str(shipped_bundle(WALKWAY)), "--store", url]
    assert runner.invoke(app, arguments).exit_code == 0
    with open_store(StoreSection(url=url)) as store:
        made = store.read("dock")
        assert made is not None
        np.testing.assert_array_equal(made.items_MC, load_initial_bank(shipped_bundle(WALKWAY)).items_MC)
        assert store.log("dock")[-1].change.action == "create"
    again = runner.invoke(app, arguments)
    assert again.exit_code == 2
    assert "'dock' does" in again.stderr


@pytest.fixture
def counting(tmp_path: Path) -> str:
    """A store with bank 'lobby', without items, that has counted ten frames in version 1."""
    made = f"sqlite:///{tmp_path / 'counted.db'}"
    with open_store(StoreSection(url=made)) as store:
        first = store.create(counting_bank(num_items=0), Change("create", "c1", "as trained", "create-1"))
        lease = store.acquire("lobby", "c1", 10.0)
        assert lease is not None
        change = Change("update", "c1", "round", "commit-1", 1, 10, 1, (("lobby", 10),))
        store.commit(CommitRequest(lease, first.followed_by(first.items_MC, NOW, counts(10)), change))
    return made


def test_what_a_bank_has_counted_is_shown_drawn_and_compared(counting: str, tmp_path: Path) -> None:
    picture = tmp_path / "lobby.png"
    shown = runner.invoke(app, ["bank", "show", "lobby", "--store", counting, "--plot", str(picture), "-o", "json"])
    assert json.loads(shown.stdout)["frames_counted"] == 10
    assert json.loads(shown.stdout)["last_seen"] == "2026-05-04T12:00:00+00:00"
    drawn = cv2.imread(str(picture))
    assert drawn is not None
    assert drawn.std() > 10
    compared = runner.invoke(app, ["bank", "diff", "lobby", "0", "--store", counting])
    assert compared.exit_code == 0
    assert "+10.0 frames counted as normal" in compared.stdout


def test_a_bank_that_has_counted_nothing_cannot_be_drawn(url: str, tmp_path: Path) -> None:
    result = runner.invoke(app, ["bank", "show", "shared", "--store", url, "--plot", str(tmp_path / "a.png")])
    assert result.exit_code != 0
    assert "must have counted frames, 'shared' v1 has not" in result.stderr
    assert not (tmp_path / "a.png").exists()
