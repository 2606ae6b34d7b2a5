"""The topic of banks as a coordinator finds it: the newest of each bank, and a count of all that is none."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_store.bank import Bank, Change, entry_for
from memory_store.coordinator.archive import MAX_TOLD, Archive, read_archive
from memory_store.coordinator.guards import MAX_VERSION
from memory_store.coordinator.outgoing import bank_record
from memory_store.views import InitialBank
from messaging.ports import Record
from tests.unit.memory_store.proposals import BUNDLE, unit_rows

INITIAL = InitialBank(BUNDLE, unit_rows(0, 4, 6))


def version(number: int, generation: int = 1, bank_id: str = "lobby", **changed: object) -> Bank:
    bank = INITIAL.as_bank(bank_id, f"{generation:08d}-" + "a" * 16)
    return replace(bank, version=number, **changed)  # type: ignore[arg-type]


def record(bank: Bank, offset: int = 0) -> Record:
    sent = bank_record(bank, entry_for(bank, Change("update", "c1", "", "x"), None, None), "banks")
    return Record("banks", 3, offset, sent.key.encode(), sent.value, sent.headers, 0)


def read(records: Sequence[Record], limit: float | None = 0.5) -> Archive:
    return read_archive(records, INITIAL, limit)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 3), st.integers(0, 5)), max_size=12))
def test_the_newest_is_kept_in_whatever_order_they_lie(written: list[tuple[str, int, int]]) -> None:
    banks = [version(number, generation, bank_id) for bank_id, generation, number in written]
    archive = read([record(bank, offset) for offset, bank in enumerate(banks)])
    newest = {bank_id: max((g, n) for name, g, n in written if name == bank_id) for bank_id, _, _ in written}
    found = {name: (int(kept.bank.epoch[:8]), kept.bank.version) for name, kept in archive.newest.items()}
    assert found == newest
    assert not archive.refused
    for name, kept in archive.newest.items():  # of two that are the same, the first
        assert kept.place == f"banks/3/{written.index((name, *newest[name]))}"


def test_a_bank_that_was_taken_away_is_none() -> None:
    gone = replace(record(version(3)), value=None)
    assert read([gone]) == Archive({}, read([]).refused)
    assert not read([gone]).refused


@pytest.mark.parametrize(
    ("bank", "reason"),
    [
        (version(1, bundle_digest="c" * 64), "foreign_bundle"),
        (version(1, generation=0), "implausible"),
        (version(MAX_VERSION + 1), "implausible"),
        (version(1, items_MC=INITIAL.items_MC[:, :5]), "bad_shape"),
        (version(1, items_MC=1.01 * INITIAL.items_MC), "implausible"),
        (version(1, items_MC=-INITIAL.items_MC), "anchor_distance"),
    ],
)
def test_what_no_update_can_have_led_to_is_left_out_and_the_older_one_stands(bank: Bank, reason: str) -> None:
    archive = read([record(version(0)), record(bank, 1)])
    assert archive.newest["lobby"].bank.version == 0
    assert archive.refused == {reason: 1}


def test_at_the_bounds_a_bank_is_still_one() -> None:
    assert read([record(version(MAX_VERSION))]).newest["lobby"].bank.version == MAX_VERSION
    turned = version(1, items_MC=-INITIAL.items_MC)  # an item lies 2 from its trained self, as far as it can
    assert read([record(turned)], limit=None).newest["lobby"].bank.digest == turned.digest
    assert read([record(turned)], limit=2.0).refused == {"anchor_distance": 1}


def test_a_topic_full_of_rubbish_is_counted_and_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    rubbish = [replace(record(version(1), offset), value=b"x") for offset in range(MAX_TOLD + 30)]
    archive = read([*rubbish, record(version(2), 99)])
    assert archive.newest["lobby"].place == "banks/3/99"
    assert archive.refused.total() == MAX_TOLD + 30
    told = [line for line in caplog.messages if "restores no bank" in line]
    assert len(told) == MAX_TOLD
    assert "banks/3/0" in told[0]
