"""An operator and the versions of a memory, by the command line, over a real Redis and over SQLite."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from engram.build.adapters import open_store
from inference.loading import open_engine
from memory_store.bank import Bank
from schemas.settings.connections import StoreSection
from tests.integration.engram.bank_store import Call, forget_log, refused, teach, told
from tests.small_bundle import HEIGHT, WIDTH


def test_a_bad_night_is_stopped_looked_at_undone_and_over(
    call_bank: Call, lobby: list[str], section: StoreSection
) -> None:
    frozen = call_bank("freeze", "lobby", "--reason", "doors", "--author", "ann@edge7")
    assert frozen.exit_code == 0, frozen.output
    assert "bank 'lobby' v3 is frozen: freeze by ann@edge7, 20" in frozen.stdout
    assert frozen.stdout.endswith(" UTC, doors\n")
    compared = told(call_bank("diff", "lobby", 1, 3, "-o", "json"))
    assert [entry["reason"] for entry in compared["entries"]] == ["round", "round"]
    back = told(
        call_bank("rollback", "lobby", "--to", 1, "--reason", "the night", "--author", "ann@edge7", "-o", "json")
    )
    assert (back["version"], back["digest"], back["updates"]) == (4, lobby[1], "frozen")
    assert back["items_of_version"] == 1
    thawed = told(call_bank("thaw", "lobby", "--reason", "done", "--author", "ann@edge7", "-o", "json"))
    assert (thawed["updates"], thawed["changed"], thawed["since"]["action"]) == ("allowed", True, "thaw")
    with open_store(section) as store:
        teach(store, "lobby", (4,))
    entries = told(call_bank("log", "lobby", "-o", "json"))
    assert [(entry["version"], entry["action"]) for entry in entries] == [
        (0, "create"),
        (1, "update"),
        (2, "update"),
        (3, "update"),
        (3, "freeze"),
        (4, "rollback"),
        (4, "thaw"),
        (5, "update"),
    ]
    assert [entry["reason"] for entry in entries[4:7]] == ["doors", "to v1: the night", "done"]
    assert {entry["author"] for entry in entries[4:7]} == {"ann@edge7"}
    assert call_bank("verify", "lobby").exit_code == 0


def test_a_rollback_gives_the_scores_of_the_old_version_again(
    call_bank: Call, lobby: list[str], section: StoreSection, bundle: Path
) -> None:
    predictor = open_engine(bundle, "cpu", 1, "torch").predictor
    clips = [np.random.default_rng(0).integers(0, 256, (5, HEIGHT, WIDTH, 1)).astype(np.uint8)]

    def measures(bank: Bank | None) -> tuple[float, float, float]:
        assert bank is not None
        (result,) = predictor.infer(clips, bank.items_MC[None])
        return result.psnr_db, result.regular_score, result.feature_distance

    with open_store(section) as store:
        wanted, spoiled = measures(store.read_version("lobby", 1)), measures(store.read("lobby"))
    assert spoiled != wanted
    assert call_bank("rollback", "lobby", "--to", 1).exit_code == 0
    with open_store(section) as store:
        assert measures(store.read("lobby")) == wanted


def test_a_comparison_for_programs(call_bank: Call, lobby: list[str], bundle: Path, section: StoreSection) -> None:
    found = told(call_bank("diff", "lobby", 0, "--bundle", bundle, "-o", "json"))
    with open_store(section) as store:
        first, last = store.read_version("lobby", 0), store.read("lobby")
    assert first is not None
    assert last is not None
    distances = np.linalg.norm(first.items_MC - last.items_MC, axis=1)
    assert (found["before"]["version"], found["after"]["version"]) == (0, 3)
    assert [item["moved"] for item in found["items"]] == pytest.approx(distances.tolist())
    assert [item["item"] for item in found["items"]] == list(range(6))
    assert found["moved_mean"] == pytest.approx(distances.mean())
    assert found["moved_max"] == pytest.approx(distances.max())
    assert [item["from_bundle_before"] for item in found["items"]] == [0] * 6
    assert [item["from_bundle_after"] for item in found["items"]] == pytest.approx(distances.tolist())
    assert [entry["num_frames"] for entry in found["entries"]] == [30, 30, 30]
    assert [entry["cameras"][0] for entry in found["entries"]] == [["cam1", 20], ["cam2", 20], ["cam3", 20]]
    assert found["is_whole"]
    without = told(call_bank("diff", "lobby", 0, 3, "-o", "json"))
    assert {item["from_bundle_after"] for item in without["items"]} == {None}


def test_a_comparison_for_people_names_who_moved_what_most(call_bank: Call, lobby: list[str]) -> None:
    shown = call_bank("diff", "lobby", 1, 2).stdout
    assert "bank lobby, v1 to v2: items moved 0.00" in shown
    assert "at most (item 2)" in shown
    rows = [line.split("│")[1:-1] for line in shown.splitlines() if "│" in line]
    assert (rows[0][0].strip(), len(rows[0])) == ("2", 2)
    assert "frames by camera: cam2 20, door 10" in shown
    both = call_bank("diff", "lobby", 0, 3).stdout
    assert "frames by camera: door 30, cam1 20, cam2 20, cam3 20" in both


def test_a_picture_has_a_bar_for_each_item(call_bank: Call, lobby: list[str], bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "pictures" / "moved.png"
    done = call_bank("diff", "lobby", 0, "--plot", path, "--bundle", bundle)
    assert done.exit_code == 0, done.output
    assert f"drawn: {path}" in done.stdout
    image = cv2.imread(str(path))
    assert image is not None
    blue = np.abs(image.astype(int) - np.array([0x79, 0x4E, 0x1F])).sum(2) < 30
    columns = blue[: int(0.85 * len(blue))].sum(0) > 5
    assert np.count_nonzero(np.diff(columns.astype(int)) == 1) >= 6


def test_pictures_that_cannot_be_written(call_bank: Call, lobby: list[str], tmp_path: Path) -> None:
    done = call_bank("diff", "lobby", 0, "--plot", tmp_path / "moved.doc")
    assert done.exit_code == 2
    assert "a picture must be a file that we may write, as in --plot moved.png" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("diff", "dock", 0, 1), "bank 'dock' must exist, the store has ['lobby']"),
        (("diff", "lobby", 0, 9), "v9 of bank 'lobby' does not exist yet; it has v0 to v3"),
        (("rollback", "lobby", "--to", 9), "v9 of bank 'lobby' does not exist yet; it has v0 to v3"),
        (("rollback", "lobby", "--to", 3), "has those of v3 already; see 'engram bank log lobby'"),
        (("rollback", "dock", "--to", 0), "bank 'dock' must exist"),
        (("rollback", "lobby", "--to", 1, "--author", " "), "--author must say who does this"),
        (("rollback", "lobby", "--to", 1, "--reason", "a\nb"), "--reason must be one line"),
        (("freeze", "dock", "--reason", "x"), "there is no 'dock'; see 'engram bank list'"),
        (("thaw", "dock", "--reason", "x"), "there is no 'dock'; see 'engram bank list'"),
        (("freeze", "lobby", "--reason", " "), "--reason must say why"),
        (("thaw", "lobby", "--reason", ""), "--reason must say why"),
        (("learn", "dock", "--reason", "x"), "bank 'dock' must exist"),
        (("learn", "lobby", "--reason", " "), "--reason must say why"),
        (("learn", "lobby"), "--reason must say why"),
        (("learn", "lobby", "--reason", "x"), "must count what is normal"),
        (("learn", "lobby", "--for", "10m"), "must count what is normal"),
        (("learn", "lobby", "--for", "0"), "--for must be a length of time such as"),
        (("learn", "lobby", "--for", "8d"), "at most 7 d"),
        (("learn", "dock", "--for", "10m"), "bank 'dock' must exist"),
        (("fork", "dock", "new"), "bank 'dock' must exist"),
        (("fork", "lobby", "lobby"), "to be made a bank must not exist, 'lobby' does"),
        (("fork", "lobby", "a b"), "a bank id must match"),
        (("fork", "lobby", "new", "--version", 9), "v9 of bank 'lobby' does not exist yet"),
        (("export", "dock", "x.bank"), "bank 'dock' must exist"),
        (("export", "lobby", "x.bank", "--version", 9), "v9 of bank 'lobby' does not exist yet"),
        (("verify", "dock"), "bank 'dock' must exist, the store has ['lobby']"),
        (("verify",), "either a bank or --all must be given"),
        (("verify", "lobby", "--all"), "either a bank or --all must be given"),
        (("import", "nowhere.bank"), "'nowhere.bank' must be a file that 'engram bank export' wrote, there is none"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_changes_nothing(
    call_bank: Call, lobby: list[str], section: StoreSection, words: tuple[object, ...], says: str
) -> None:
    with open_store(section) as store:
        before = store.head("lobby")
    refused(call_bank(*words), says)
    with open_store(section) as store:
        assert (store.head("lobby"), list(store.list_banks())) == (before, ["lobby"])
    assert not Path("x.bank").exists()


def test_a_new_camera_is_to_learn_for_two_hours_and_so_is_every_copy_of_its_bank(
    call_bank: Call, section: StoreSection, tmp_path: Path
) -> None:
    assert call_bank("create", "yard", "--bundle", "anywhere").exit_code == 0
    told = json.loads(call_bank("learn", "--camera", "yard", "--for", "2h", "-o", "json").stdout)
    assert (told["bank_id"], told["version"], told["frames_counted"], told["learn_s"]) == ("yard", 1, 0, 7200)
    assert call_bank("freeze", "yard", "--reason", "x").exit_code == 0
    assert json.loads(call_bank("show", "yard", "-o", "json").stdout)["wanted_s"] == 7200
    assert call_bank("fork", "yard", "gate").exit_code == 0
    file = tmp_path / "yard.bank"
    assert call_bank("export", "yard", file).exit_code == 0
    assert call_bank("import", file, "door", "--bundle", "anywhere").exit_code == 0
    back = json.loads(call_bank("rollback", "yard", "--to", 0, "-o", "json").stdout)
    assert (back["version"], back["learn_s"], back["updates"]) == (2, None, "frozen")
    assert call_bank("import", file, "--replace", "--bundle", "anywhere").exit_code == 0
    with open_store(section) as store:
        banks = [store.read(name) for name in ("door", "gate", "yard")]
    assert [bank.learn_s for bank in banks if bank is not None] == [7200.0] * 3
    assert "learns for 2 h" in call_bank("log", "yard").stdout
    assert call_bank("verify", "--all").exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("freeze", "lobby"),
        ("thaw", "lobby"),
        ("rollback", "lobby"),
        ("diff", "lobby"),
        ("rollback", "lobby", "--to", "-1"),
    ],
)
def test_what_must_be_said_is_asked_for(call_bank: Call, words: tuple[str, ...]) -> None:
    done = call_bank(*words)
    assert done.exit_code == 2
    assert "Missing" in done.stderr or "Invalid value for '--to'" in done.stderr


def test_freezing_twice_says_who_was_first(call_bank: Call, lobby: list[str]) -> None:
    assert told(call_bank("freeze", "lobby", "--reason", "one", "--author", "ann", "-o", "json"))["changed"]
    again = call_bank("freeze", "lobby", "--reason", "two", "--author", "bob")
    assert again.exit_code == 0
    assert "is frozen, and was so before: freeze by ann" in again.stdout
    found = told(call_bank("freeze", "lobby", "--reason", "two", "-o", "json"))
    assert (found["changed"], found["since"]["reason"]) == (False, "one")
    assert [entry["action"] for entry in told(call_bank("log", "lobby", "-o", "json"))][4:] == ["freeze"]


def test_thawing_what_was_never_frozen(call_bank: Call, lobby: list[str]) -> None:
    assert call_bank("thaw", "lobby", "--reason", "x").stdout == "bank 'lobby' v3 is not frozen, and was so before\n"
    assert told(call_bank("thaw", "lobby", "--reason", "x", "-o", "json"))["since"] is None


def test_without_an_author_it_is_the_user_and_the_host(call_bank: Call, lobby: list[str]) -> None:
    found = told(call_bank("freeze", "lobby", "--reason", "x", "-o", "json", LOGNAME="ann"))
    assert found["since"]["author"] == f"ann@{os.uname().nodename}"


def test_whole_banks_are_told_to_people_and_programs(call_bank: Call, lobby: list[str], section: StoreSection) -> None:
    call_bank("fork", "lobby", "dock")
    shown = call_bank("verify", "--all")
    assert shown.exit_code == 0
    assert [line.split()[:4] for line in shown.stdout.splitlines()] == [
        ["ok", "dock:", "1", "entries,"],
        ["ok", "lobby:", "4", "entries,"],
    ]
    with open_store(section) as store:
        head = store.head("lobby")
    assert told(call_bank("verify", "lobby", "-o", "json")) == [
        {
            "bank_id": "lobby",
            "head": head,
            "num_entries": 4,
            "is_from_start": True,
            "versions": [0, 1, 2, 3],
            "faults": [],
            "ok": True,
        }
    ]


def test_a_broken_bank_ends_with_one_and_names_the_place(
    call_bank: Call, lobby: list[str], section: StoreSection
) -> None:
    call_bank("fork", "lobby", "dock")
    with open_store(section) as store:
        forget_log(store)
        empty = list(store.log("lobby"))
    assert empty == []
    shown = call_bank("verify", "--all")
    assert shown.exit_code == 1
    lines = shown.stdout.splitlines()
    broken = next(index for index, line in enumerate(lines) if line.startswith("BROKEN lobby: 0 entries"))
    assert lines[broken + 1].strip() == "the log is empty"
    found = call_bank("verify", "lobby", "-o", "json")
    assert (found.exit_code, json.loads(found.stdout)[0]["ok"]) == (1, False)


def test_a_store_without_banks_is_in_order(call_bank: Call) -> None:
    assert call_bank("verify", "--all").stdout == "the store has no banks\n"
    assert told(call_bank("verify", "--all", "-o", "json")) == []


def test_an_operators_write_drops_no_versions_that_the_coordinator_keeps(
    call_bank: Call, lobby: list[str], section: StoreSection
) -> None:
    assert call_bank("rollback", "lobby", "--to", 0, ENGRAM_COORDINATOR__HISTORY="1").exit_code == 0
    with open_store(section) as store:
        assert list(store.versions("lobby")) == [0, 1, 2, 3, 4]
