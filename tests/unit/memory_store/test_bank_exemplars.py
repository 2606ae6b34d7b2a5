"""A bank with what operators said: one content with its items and counts, the same as ever where nobody has spoken."""

from dataclasses import replace
from pathlib import Path

import pytest

from memory_store.bank import Bank, Change, entry_for, from_wire, to_wire
from memory_store.bank_file import read_bank_file, write_bank_file
from memory_store.comparison import compare
from memory_store.coordinator.guards import unfit
from memory_store.exemplar import in_order
from memory_store.views import InitialBank
from schemas.codec import content_digest, encode_items
from schemas.errors import BadMessageError
from schemas.messages import NormalityHeader
from tests.unit.memory_store.counted import GRID, counting_bank, counts
from tests.unit.memory_store.proposals import BUNDLE, a_bank
from tests.unit.memory_store.said import WIDE, a_map, exemplar, small_exemplar

INITIAL = InitialBank(BUNDLE, a_bank().items_MC, grid=GRID)
SAID = in_order([small_exemplar("cam1:s1:5"), small_exemplar("cam2:s1:5", judgement="real")])


def taught(**changed: object) -> Bank:
    return replace(counting_bank(), normality=counts(7), exemplars=SAID, **changed)  # type: ignore[arg-type]


def entry(bank: Bank):
    return entry_for(bank, Change("verdict", "ann", "normal cam1:s1:5", "verdict v1"), None, None)


def test_a_bank_that_nobody_spoke_about_has_the_digest_it_always_had() -> None:
    bank = replace(counting_bank(), normality=counts(7))
    of, numbers = counts(7).to_wire()
    assert bank.digest == content_digest(encode_items(bank.items_MC), numbers, of)
    assert a_bank().digest == content_digest(encode_items(a_bank().items_MC)) == a_bank().items_digest


def test_counts_written_before_forms_were_told_keep_their_digest_and_others_have_another() -> None:
    of = NormalityHeader(rows=4, columns=8, at_s=1772352000.0)
    before = "3a67a9da38539fda3fa6b66bdfeb6f575bfb02889fc9214b88c544fe4485b82f"
    assert content_digest(bytes(8), b"\1" * 16, of, b"[]") == before
    assert content_digest(bytes(8), b"\1" * 16, of.model_copy(update={"form": 2}), b"[]") != before


def test_what_was_said_is_part_of_the_content() -> None:
    other = replace(taught(), exemplars=SAID[:1])
    assert len({taught().digest, other.digest, replace(taught(), exemplars=()).digest}) == 3
    assert taught().items_digest == counting_bank().items_digest, "proposals are computed against items alone"


def test_it_comes_back_from_the_wire_as_it_was() -> None:
    header, value = to_wire(taught(), entry(taught()))
    found = from_wire(header, value)
    assert (found.digest, found.exemplars, found.kind) == (taught().digest, SAID, taught().kind)


@pytest.mark.parametrize("change", [-1, 1, 10_000])
def test_a_header_that_says_another_length_is_refused(change: int) -> None:
    header, value = to_wire(taught(), entry(taught()))
    forged = header.model_copy(update={"exemplar_bytes": header.exemplar_bytes + change})
    with pytest.raises(BadMessageError):
        from_wire(forged, value)


def test_no_byte_of_it_can_be_changed_unnoticed() -> None:
    header, value = to_wire(taught(), entry(taught()))
    for place in range(len(value) - header.exemplar_bytes, len(value), 37):
        forged = value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]
        with pytest.raises(BadMessageError, match="digest"):
            from_wire(header, forged)


def test_it_travels_in_a_file(tmp_path: Path) -> None:
    bank = taught()
    write_bank_file(tmp_path / "bank", bank, entry(bank))
    found = read_bank_file(tmp_path / "bank")
    assert (found.bank.digest, found.bank.exemplars) == (bank.digest, SAID)


def test_the_next_version_holds_what_was_said() -> None:
    bank = taught()
    assert bank.followed_by(bank.items_MC, bank.committed_at, counts(9)).exemplars == SAID


def test_a_bank_with_a_trace_of_other_places_is_not_restored() -> None:
    assert unfit(taught(), INITIAL, None) is None
    alien = replace(taught(), exemplars=(exemplar([a_map((1, 1, 2, 2, 5.0), grid=WIDE)]),))
    found = unfit(alien, INITIAL, None)
    assert found is not None
    assert found.reason == "bad_shape"
    assert unfit(replace(a_bank(), exemplars=SAID), replace(INITIAL, grid=None), None) is not None


def test_two_versions_differ_in_what_was_said() -> None:
    found = compare(replace(taught(), exemplars=SAID[:1]), taught(version=1), [])
    assert (found.said_before, found.said_after) == ((), SAID[1:])
