"""A bank cannot be changed, survives the wire, and its log cannot be changed unnoticed."""

import json
from dataclasses import replace

import numpy as np
import pytest

from memory_store.bank import (
    GENESIS,
    Action,
    AuditEntry,
    Change,
    entry_for,
    entry_of,
    first_broken_link,
    from_wire,
    mark_for,
    next_epoch,
    to_wire,
)
from schemas.codec import MAX_HEADER_BYTES, encode_message, items_digest
from schemas.errors import BadMessageError, DamagedError, FatalError
from tests.unit.memory_store.proposals import NOW, a_bank, unit_rows

CHANGE = Change("update", "c1", "round", "id1", 2, 20, 1, (("cam1", 20),), 0.1, 0.2)


def chain(length: int) -> list[AuditEntry]:
    bank = a_bank()
    entries: list[AuditEntry] = []
    for number in range(length):
        before = entries[-1] if entries else None
        change = replace(CHANGE, commit_id=f"id{number}")
        previous = (before.digest, before.digest_of_entry()) if before else (None, None)
        entries.append(entry_for(bank, change, *previous))
        bank = bank.followed_by(unit_rows(number + 1, 4, 6), NOW)
    return entries


def test_items_are_copied_and_cannot_be_written_even_on_purpose() -> None:
    source_MC = unit_rows(0, 4, 6)
    bank = replace(a_bank(), items_MC=source_MC)
    source_MC[0, 0] = 9
    assert bank.items_MC[0, 0] != 9
    with pytest.raises(ValueError, match="read-only"):
        bank.items_MC[0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        bank.items_MC.flags.writeable = True


def test_the_digest_is_that_of_the_items() -> None:
    bank = a_bank()
    assert bank.digest == items_digest(bank.items_MC)
    assert bank.digest != a_bank(seed=1).digest


@pytest.mark.parametrize("items_MC", [np.zeros(4, np.float32), np.full((2, 2), np.nan, np.float32)])
def test_items_that_are_no_finite_matrix_are_refused(items_MC: np.ndarray) -> None:
    with pytest.raises(FatalError, match="lobby"):
        replace(a_bank(), items_MC=items_MC)


def test_a_bank_and_its_entry_survive_the_wire() -> None:
    bank = a_bank(version=3)
    entry = entry_for(bank, CHANGE, "a" * 64, None)
    header, value = to_wire(bank, entry)
    read = from_wire(header, value)
    assert (read.version, read.epoch, read.digest, read.committed_at) == (3, bank.epoch, bank.digest, NOW)
    assert AuditEntry.from_json(header.audit) == entry
    assert entry.previous_entry == GENESIS


def test_changed_bytes_are_noticed() -> None:
    header, value = to_wire(a_bank(), entry_for(a_bank(), CHANGE, None, None))
    with pytest.raises(BadMessageError, match="digest"):
        from_wire(header, value[:-1] + b"\x00" if value[-1] else value[:-1] + b"\x01")


def test_a_header_with_the_most_cameras_fits_into_a_record_header() -> None:
    cameras = tuple((f"{number:03}" + "x" * 61, 1_000_000) for number in range(100))
    bank = a_bank()
    header, _ = to_wire(bank, entry_for(bank, replace(CHANGE, cameras=cameras), None, None))
    assert len(encode_message(header)) <= MAX_HEADER_BYTES


def test_an_entry_of_something_else_is_refused() -> None:
    with pytest.raises(FatalError, match="audit entry"):
        AuditEntry.from_json({"action": "update"})


def test_an_untouched_chain_is_whole() -> None:
    assert first_broken_link(chain(5)) is None
    assert first_broken_link([]) is None


@pytest.mark.parametrize(
    "change", [{"version": 9}, {"digest": "c" * 64}, {"change": replace(CHANGE, author="mallory")}, {"epoch": "z"}]
)
def test_a_changed_entry_breaks_the_chain(change: dict[str, object]) -> None:
    entries = chain(5)
    entries[2] = replace(entries[2], **change)  # type: ignore[arg-type]
    assert first_broken_link(entries) in (2, 3)


def test_a_removed_entry_breaks_the_chain() -> None:
    entries = chain(5)
    assert first_broken_link(entries[:2] + entries[3:]) == 2


@pytest.mark.parametrize("action", ["freeze", "thaw"])
def test_an_entry_that_writes_no_items_keeps_the_version(action: Action) -> None:
    bank = a_bank()
    created = entry_for(bank, replace(CHANGE, action="create"), None, None)
    header, _ = to_wire(bank, created)
    mark = mark_for(header, replace(CHANGE, action=action), NOW, created.digest_of_entry())
    after = entry_for(bank.followed_by(unit_rows(1, 4, 6), NOW), CHANGE, mark.digest, mark.digest_of_entry())
    assert first_broken_link([created, mark, after]) is None
    assert first_broken_link([created, after]) == 1
    for changed in ({"version": 1}, {"digest": "c" * 64}, {"epoch": next_epoch(bank.epoch)}, {"change": CHANGE}):
        assert first_broken_link([created, replace(mark, **changed)]) == 1


def test_the_entry_of_a_version_is_the_newest_that_wrote_it() -> None:
    entries = chain(3)
    bank = replace(a_bank(), epoch=entries[1].epoch, version=1)
    header, _ = to_wire(bank, entries[1])
    mark = mark_for(header, replace(CHANGE, action="freeze"), NOW, entries[1].digest_of_entry())
    assert entry_of(bank, [*entries[:2], mark]) is entries[1]
    assert entry_of(replace(bank, epoch=next_epoch(bank.epoch)), entries) is None


def test_an_entry_survives_the_store_and_what_is_none_is_refused() -> None:
    entry = chain(1)[0]
    assert AuditEntry.from_text(entry.to_text()) == entry
    for damaged in ("{", "[]", "null", b"\xff", entry.to_text().replace('"author"', '"writer"')):
        with pytest.raises(DamagedError, match="audit entry"):
            AuditEntry.from_text(damaged)


ODD: dict[str, list[object]] = {
    "action": [None, [], {}],
    "digest": [None, 7, {"a": 1}],
    "epoch": [None, 7, []],
    "version": [None, "1", True, 1.5, []],
    "moved": [None, "0.1", True, [], float("inf"), float("nan")],
    "learn_s": [None, "x", [], float("inf")],
    "cameras": ["", {}, [1], [["a", None]], [["a", float("inf")]]],
    "committed_at": [None, 7, "2026-03-01", "9999-12-31T23:59:59-23:59"],
    "previous_digest": [7],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in ODD.items() for value in values])
def test_an_entry_with_a_field_of_another_kind_is_refused(name: str, value: object) -> None:
    """Nothing that compares, sorts, slices or prints entries meets it."""
    with pytest.raises(DamagedError, match="audit entry"):
        AuditEntry.from_text(json.dumps({**chain(1)[0].to_json(), name: value}))


def test_an_entry_as_deep_as_a_well_is_refused() -> None:
    with pytest.raises(DamagedError, match="audit entry"):
        AuditEntry.from_text("[" * 100_000)


def test_a_new_epoch_sorts_after_every_known_one() -> None:
    epochs = [next_epoch()]
    for _ in range(12):
        epochs.append(next_epoch(None, *epochs))
    assert epochs == sorted(epochs)
    assert len(set(epochs)) == len(epochs)
    assert next_epoch() != next_epoch()
    assert next_epoch("initial") < next_epoch(next_epoch())
