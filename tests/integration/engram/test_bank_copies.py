"""Banks forked, exported and imported by the command line, over a real Redis and over SQLite."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save as save_tensors

from bundles.bundle import load_initial_bank, save_bundle
from engram.build.adapters import open_store
from memory_store.bank import Bank, Change, entry_for
from memory_store.bank_file import read_bank_file, write_bank_file
from schemas.settings.connections import StoreSection
from tests.integration.engram.bank_store import STEP, Call, forget_log, refused, told
from tests.small_bundle import small_bundle


def test_a_fork_names_its_origin(call_bank: Call, lobby: list[str]) -> None:
    made = told(call_bank("fork", "lobby", "night", "--version", 2, "--reason", "nights differ", "-o", "json"))
    assert (made["bank_id"], made["version"], made["digest"]) == ("night", 0, lobby[2])
    (entry,) = told(call_bank("log", "night", "-o", "json"))
    assert entry["reason"] == f"fork of 'lobby' v2, items {lobby[2][:12]}: nights differ"
    assert entry["anchor_distance"] == pytest.approx(0.02)
    assert told(call_bank("fork", "lobby", "newest", "-o", "json"))["digest"] == lobby[3]


def test_a_file_makes_a_bank_and_brings_one_back(call_bank: Call, lobby: list[str], tmp_path: Path) -> None:
    file = tmp_path / "lobby.bank"
    written = told(call_bank("export", "lobby", file, "--version", 2, "-o", "json"))
    assert written == {"file": str(file), "bank_id": "lobby", "version": 2, "digest": lobby[2]}
    refused(call_bank("export", "lobby", file), "must not exist yet; remove it or choose another name")
    made = told(call_bank("import", file, "copy", "-o", "json"))
    assert (made["bank_id"], made["version"], made["digest"]) == ("copy", 0, lobby[2])
    refused(call_bank("import", file), "to be made a bank must not exist, 'lobby' does")
    back = told(call_bank("import", file, "--replace", "--reason", "the night", "-o", "json"))
    assert (back["bank_id"], back["version"], back["digest"]) == ("lobby", 4, lobby[2])
    entry = told(call_bank("log", "lobby", "-n", 1, "-o", "json"))[0]
    assert (entry["action"], entry["reason"]) == ("restore", f"import of 'lobby' v2, items {lobby[2][:12]}: the night")
    assert entry["anchor_distance"] > STEP
    assert told(call_bank("log", "copy", "-o", "json"))[0]["action"] == "create"
    assert call_bank("verify", "--all").exit_code == 0
    refused(call_bank("import", file, "dock", "--replace"), "bank 'dock' must exist, the store has ['copy', 'lobby']")
    assert "written: " in call_bank("export", "lobby", tmp_path / "again.bank").stdout


def test_a_bank_of_a_store_that_lost_its_log_can_still_be_exported(
    call_bank: Call, lobby: list[str], section: StoreSection, tmp_path: Path
) -> None:
    with open_store(section) as store:
        forget_log(store)
    assert call_bank("export", "lobby", tmp_path / "lobby.bank").exit_code == 0
    exported = read_bank_file(tmp_path / "lobby.bank")
    assert exported.bank.digest == lobby[3]
    assert exported.entry.change.reason == "exported without its entry, which the log lacks"
    assert call_bank("verify", "lobby").exit_code == 1


@pytest.fixture
def exported(call_bank: Call, lobby: list[str], tmp_path: Path) -> Path:
    file = tmp_path / "lobby.bank"
    assert call_bank("export", "lobby", file).exit_code == 0
    return file


def rewritten(file: Path, **changed: Any) -> Path:
    """The file of a bank that differs, written as export would."""
    bank = read_bank_file(file).bank
    values = {name: getattr(bank, name) for name in ("bank_id", "version", "epoch", "bundle_digest", "items_MC")}
    other = Bank(**{**values, **changed}, committed_at=bank.committed_at)
    path = file.with_name("other.bank")
    write_bank_file(path, other, entry_for(other, Change("update", "eve", "", "x"), None, None))
    return path


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"bundle_digest": "c" * 64}, "foreign_bundle"),
        ({"items_MC": np.eye(5, 8, dtype=np.float32)}, "bad_shape: must be (6,"),
        ({"epoch": "x"}, "implausible: epoch x"),
    ],
)
@pytest.mark.parametrize("replace", [False, True])
def test_a_file_is_judged_like_an_update(
    call_bank: Call, exported: Path, changed: dict[str, Any], says: str, replace: bool
) -> None:
    words = ("import", rewritten(exported, **changed), "lobby" if replace else "new", *(["--replace"] * replace))
    refused(call_bank(*words), says)
    assert [bank["bank_id"] for bank in told(call_bank("list", "-o", "json"))] == ["lobby"]


def test_items_too_far_or_not_of_unit_length_are_refused(call_bank: Call, exported: Path) -> None:
    items_MC = read_bank_file(exported).bank.items_MC
    refused(call_bank("import", rewritten(exported, items_MC=-items_MC), "new"), "anchor_distance: an item would lie")
    exported.with_name("other.bank").unlink()
    refused(call_bank("import", rewritten(exported, items_MC=2 * items_MC), "new"), "an item is not of unit length")


def test_a_file_of_another_bundle_than_this_one_is_refused(call_bank: Call, exported: Path, tmp_path: Path) -> None:
    save_bundle(tmp_path / "other", small_bundle(seed=1))
    refused(call_bank("import", exported, "new", "--bundle", tmp_path / "other"), "foreign_bundle")
    refused(call_bank("diff", "lobby", 0, "--bundle", tmp_path / "other"), "--bundle must be the one of bank 'lobby'")
    refused(call_bank("import", exported, "new", ENGRAM_WORKER__BUNDLE=""), "bundle")


def test_a_file_that_is_none_of_ours_or_was_touched_is_refused(call_bank: Call, exported: Path, bundle: Path) -> None:
    content = exported.read_bytes()
    exported.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused(call_bank("import", exported, "new"), "must be as 'engram bank export' wrote it")
    exported.write_bytes(b"holiday pictures")
    refused(call_bank("import", exported, "new"), "it is no safetensors, or cut short")
    exported.write_bytes(save_tensors({"items": load_initial_bank(bundle).items_MC}, {"engram-bank": "0"}))
    refused(call_bank("import", exported, "new"), "an older Engram wrote it; export the bank again with this one")
