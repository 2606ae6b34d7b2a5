"""How far each item moved between two versions, and what of the log lies between them."""

from dataclasses import replace

import numpy as np
import pytest

from memory_store.bank import AuditEntry, Bank, Change, entry_for, mark_for, next_epoch, to_wire
from memory_store.comparison import compare
from tests.unit.memory_store.proposals import NOW, a_bank, unit_rows


def history() -> tuple[list[Bank], list[AuditEntry]]:
    """Four versions, a freeze after the second, and the fourth under a new epoch."""
    banks, entries = [a_bank()], list[AuditEntry]()
    for seed in (1, 2):
        banks.append(banks[-1].followed_by(unit_rows(seed, 4, 6), NOW))
    banks.append(replace(banks[1], version=3, epoch=next_epoch(banks[0].epoch)))
    for number, bank in enumerate(banks):
        change = Change("update", "c1", "round", f"id{number}")
        previous = (entries[-1].digest, entries[-1].digest_of_entry()) if entries else (None, None)
        entries.append(entry_for(bank, change, *previous))
        if number == 1:
            header, _ = to_wire(bank, entries[-1])
            entries.append(mark_for(header, Change("freeze", "ann", "", "f"), NOW, entries[-1].digest_of_entry()))
    return banks, entries


def test_each_item_has_its_distance() -> None:
    before = a_bank()
    items_MC = before.items_MC.copy()
    items_MC[2] = -items_MC[2]
    found = compare(before, before.followed_by(items_MC, NOW), [])
    np.testing.assert_allclose(found.moved_M, [0, 0, 2, 0], atol=1e-6)
    assert (found.anchor_before_M, found.anchor_after_M) == (None, None)


def test_with_the_bundles_items_each_version_has_its_distance_to_them() -> None:
    before = a_bank()
    after = before.followed_by(unit_rows(1, 4, 6), NOW)
    found = compare(before, after, [], anchor_MC=after.items_MC)
    assert found.anchor_before_M is not None
    assert found.anchor_after_M is not None
    np.testing.assert_array_equal(found.anchor_before_M, found.moved_M)
    assert not found.anchor_after_M.any()
    assert found.moved_M.all()


@pytest.mark.parametrize(
    ("before", "after", "actions"),
    [
        (0, 1, ["id1"]),
        (1, 2, ["f", "id2"]),
        (2, 1, ["f", "id2"]),
        (0, 3, ["id1", "f", "id2", "id3"]),
        (3, 2, ["id3"]),
        (1, 1, []),
    ],
)
def test_what_led_from_the_older_to_the_newer(before: int, after: int, actions: list[str]) -> None:
    banks, entries = history()
    found = compare(banks[before], banks[after], entries)
    assert [entry.change.commit_id for entry in found.entries] == actions
    assert (found.before, found.after, found.is_whole) == (banks[before], banks[after], True)


def test_a_log_that_no_longer_reaches_back_says_what_it_has() -> None:
    banks, entries = history()
    found = compare(banks[0], banks[2], entries[2:])
    assert [entry.change.commit_id for entry in found.entries] == ["f", "id2"]
    assert not found.is_whole
    lost = compare(banks[0], banks[2], entries[:2])
    assert (lost.entries, lost.is_whole) == ((), False)
