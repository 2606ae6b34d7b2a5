"""A bank that counts what is normal: one content with its items, merged in any order, made of nothing else."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import numpy as np
import pytest

from memory_store.bank import AuditEntry, Change, entry_for, from_wire, to_wire
from memory_store.coordinator.guards import (
    ahead_of_time,
    empty,
    foreign_grid,
    implausible_counts,
    stale_base,
    unfit,
)
from memory_store.coordinator.options import CLOCK_SLACK, ChangeLimits
from memory_store.coordinator.settling import settle
from memory_store.normality import BY_SCORE, FORM, Grid, Normality, merge_all
from memory_store.proposal import ItemSums
from memory_store.views import InitialBank
from schemas.codec import decode_message, encode_message
from schemas.errors import BadMessageError
from schemas.messages import BankHeader, ProposalHeader
from tests.unit.memory_store.counted import GRID, HOUR_S, counted_for, counting_bank, counts
from tests.unit.memory_store.proposals import BUNDLE, NOW, a_bank, header_for, held_for

ANY = ChangeLimits(None, None, None)
INITIAL = InitialBank(BUNDLE, a_bank().items_MC, grid=GRID)


def wire(bank):
    return to_wire(bank, entry_for(bank, Change("update", "c1", "round", "1"), None, None))


def test_items_and_counts_are_one_content() -> None:
    bank = counting_bank()
    assert bank.items_digest == a_bank().digest
    assert len({bank.digest, a_bank().digest, replace(bank, normality=counts()).digest}) == 3


@pytest.mark.parametrize("num_items", [4, 0])
def test_a_bank_comes_back_from_the_wire_as_it_was(num_items: int) -> None:
    bank = replace(counting_bank(num_items=num_items), normality=counts(7))
    found = from_wire(*wire(bank))
    assert found.digest == bank.digest
    assert found.kind == bank.kind
    assert found.normality is not None
    assert found.normality.at_s == counts(7).at_s
    np.testing.assert_array_equal(found.normality.values_N, counts(7).values_N)


def test_a_bank_that_has_seen_nothing_comes_back_as_well() -> None:
    found = from_wire(*wire(counting_bank()))
    assert found.normality is not None
    assert found.normality.num_frames == 0
    assert found.normality.at_s == -np.inf


def test_how_long_to_learn_travels_beside_the_content_and_is_none_of_it() -> None:
    bank = replace(counting_bank(), normality=counts(7), learn_s=600.0)
    header, value = wire(bank)
    assert (from_wire(header, value).learn_s, bank.digest) == (600.0, replace(bank, learn_s=None).digest)
    assert AuditEntry.from_json(header.audit).learn_s == 600.0
    assert bank.followed_by(bank.items_MC, NOW, counts(9)).learn_s == 600.0
    assert (bank.wanted_s(60.0), replace(bank, learn_s=None).wanted_s(60.0)) == (600.0, 60.0)


def test_a_reader_that_does_not_know_of_it_and_a_writer_that_did_not_are_read_as_ever() -> None:
    header, value = wire(replace(counting_bank(), normality=counts(7), learn_s=600.0))
    told = json.loads(encode_message(header))
    del told["learn_s"], told["audit"]["learn_s"]
    older = decode_message(BankHeader, json.dumps(told).encode())
    bank = from_wire(older, value)
    assert (bank.learn_s, bank.digest, AuditEntry.from_json(older.audit).learn_s) == (None, header.digest, None)
    without = wire(replace(bank, learn_s=None))[0].audit
    assert "learn_s" not in without, "entries that say nothing of it keep their digest"


@pytest.mark.parametrize("wrong", [0, -1, 7 * 86_400 + 1, "long", "NaN", [600]])
def test_a_time_to_learn_that_cannot_be_is_not_read(wrong: object) -> None:
    header, _ = wire(replace(counting_bank(), learn_s=600.0))
    told = json.loads(encode_message(header)) | {"learn_s": wrong}
    with pytest.raises(BadMessageError, match="learn_s"):
        decode_message(BankHeader, json.dumps(told).encode())


def test_a_bank_is_learning_for_as_long_as_it_says_itself() -> None:
    seen = replace(counting_bank(), normality=counts(100))
    assert not INITIAL.is_learning(seen, 50.0)
    assert INITIAL.is_learning(replace(seen, learn_s=600.0), 50.0)
    assert not INITIAL.is_learning(replace(seen, learn_s=1.0), 600.0)
    assert not INITIAL.is_learning(replace(a_bank(), learn_s=600.0), 600.0), "what counts nothing learns nothing"


@pytest.mark.parametrize(("wanted_s", "until_s"), [(10.0, 20.0), (60.0, 120.0), (7200.0, 7260.0)])
def test_who_learns_for_hours_has_a_quarantine_soon_after(wanted_s: float, until_s: float) -> None:
    def is_learning(num_frames: float) -> bool:
        normality = Normality.empty(GRID)
        normality.field("frames")[...] = num_frames
        return INITIAL.is_learning(replace(counting_bank(), normality=normality), wanted_s)

    assert (is_learning(until_s - 1), is_learning(until_s)) == (True, False)


def test_no_count_is_changed_unnoticed() -> None:
    header, value = wire(replace(counting_bank(), normality=counts(7)))
    forged = bytearray(value)
    forged[-5] ^= 1
    with pytest.raises(BadMessageError, match="fails its digest"):
        from_wire(header, bytes(forged))
    later = header.model_copy(update={"normality": header.normality.model_copy(update={"at_s": 5.0})})
    with pytest.raises(BadMessageError, match="fails its digest"):
        from_wire(later, value)


@pytest.mark.parametrize("cut", [1, 8, 100])
def test_counts_of_another_length_are_refused(cut: int) -> None:
    bank = replace(counting_bank(), normality=counts(7))
    header, counted = counts(7).to_wire()
    assert bank.normality is not None
    with pytest.raises(BadMessageError, match=f"must be {8 * GRID.size} bytes, got {8 * GRID.size - cut}"):
        Normality.from_wire(header, counted[:-cut])


def forged(change: Callable[[Normality], None]) -> Normality:
    made = counts(10)
    change(made)
    return made


def scaled(name: str, by: float) -> Callable[[Normality], None]:
    def change(made: Normality) -> None:
        made.field(name)[...] *= by

    return change


@pytest.mark.parametrize("name", ["frames", "levels", "speeds", "errors", "evidence"])
def test_ten_frames_count_for_no_more_than_ten(name: str) -> None:
    header = header_for(counting_bank())
    assert implausible_counts(header, counts(10)) is None
    found = implausible_counts(header, forged(scaled(name, 100.0)))
    assert found is not None
    assert f"'{name}' are of more than the 10 frames" in found.detail


def louder(name: str) -> Callable[[Normality], None]:
    """Sums and squares of values a million times as large: as moments they hold."""

    def change(made: Normality) -> None:
        made.field(name)[..., -2] *= 1e6
        made.field(name)[..., -1] *= 1e12

    return change


@pytest.mark.parametrize("name", ["psnr", "background", "errors"])
def test_no_frame_is_louder_than_an_image_can_be(name: str) -> None:
    made = forged(louder(name))
    made.check()
    found = implausible_counts(header_for(counting_bank()), made)
    assert found is not None
    assert f"'{name}' are larger than any image gives" in found.detail


def test_counts_are_of_the_time_of_their_frames() -> None:
    header = header_for(counting_bank(), captured_from=NOW, captured_to=NOW + timedelta(seconds=1))
    assert implausible_counts(header, counts(10, late_s=0.5)) is None
    found = implausible_counts(header, counts(10, late_s=86_400.0))
    assert found is not None and "another time" in found.detail


def test_frames_of_tomorrow_would_make_today_weigh_nothing() -> None:
    tomorrow = header_for(counting_bank(), captured_to=NOW + timedelta(days=1))
    assert ahead_of_time(header_for(counting_bank()), NOW, CLOCK_SLACK) is None
    assert ahead_of_time(tomorrow, NOW + timedelta(days=1) - CLOCK_SLACK, CLOCK_SLACK) is None
    assert ahead_of_time(tomorrow, NOW, None) is None, "a recording may run ahead of the clock"
    found = ahead_of_time(tomorrow, NOW, CLOCK_SLACK)
    assert found is not None and found.reason == "implausible"


def test_counts_must_be_there_where_the_bundle_counts_and_nowhere_else() -> None:
    assert foreign_grid(counts(), GRID) is None
    assert foreign_grid(None, None) is None
    for found, wanted in ((None, GRID), (counts(), None), (counts(), Grid(4, 4))):
        rejection = foreign_grid(found, wanted)
        assert rejection is not None and rejection.reason == "bad_shape"


def test_what_was_counted_is_not_nothing() -> None:
    nothing = ItemSums.empty(4, 6)
    assert empty(nothing, counts()) is None
    assert empty(nothing, Normality.empty(GRID)) is not None


def test_a_restored_bank_must_count_as_the_bundle_does() -> None:
    assert unfit(counting_bank(), INITIAL, 0.5) is None
    without = unfit(a_bank(), INITIAL, 0.5)
    assert without is not None and without.reason == "bad_shape"


def test_counts_merge_whatever_the_order_and_the_version_they_were_made_with() -> None:
    bank = counting_bank()
    old = replace(counting_bank(seed=5), version=3)
    round_ = [counted_for(bank, first=0), counted_for(old, first=10, late_s=30.0), counted_for(bank, first=20)]
    assert stale_base(round_[1].header, bank) is None
    found = [settle(bank, bank.items_MC, order, ANY, HOUR_S) for order in permutations(round_)]
    digests = {bank.followed_by(one.items_MC, NOW, one.normality).digest for one in found}
    assert len(digests) == 1
    assert [len(one.accepted) for one in found] == [3] * 6
    expected = merge_all([held.normality for held in round_ if held.normality], HOUR_S)
    assert found[0].normality is not None
    np.testing.assert_allclose(found[0].normality.values_N, expected.values_N, rtol=1e-12)


def test_a_bank_of_an_older_form_goes_on_and_counts_anew_what_frames_score() -> None:
    old = from_wire(*wire(replace(counting_bank(), normality=replace(counts(70, seed=1), form=FORM - 1))))
    proposals = [counted_for(old, first=first) for first in (0, 10, 20)]
    settled = settle(old, old.items_MC, proposals, ANY, HOUR_S)
    found = from_wire(*wire(old.followed_by(settled.items_MC, NOW, settled.normality))).normality
    assert found is not None
    assert found.form == FORM
    assert found.num_frames == pytest.approx(100.0)
    new = merge_all([one.normality for one in proposals if one.normality], HOUR_S)
    for name in BY_SCORE:
        np.testing.assert_allclose(found.field(name), new.field(name))


def test_what_was_counted_before_fades() -> None:
    bank = replace(counting_bank(), normality=counts(10))
    settled = settle(bank, bank.items_MC, [counted_for(bank, late_s=HOUR_S)], ANY, HOUR_S)
    assert settled.normality is not None
    assert settled.normality.num_frames == pytest.approx(15.0)


def test_sums_that_break_a_limit_are_left_out_and_their_frames_counted() -> None:
    bank = counting_bank()
    counted = counted_for(bank)
    held = replace(counted, sums=held_for(bank).sums)
    settled = settle(bank, bank.items_MC, [held], replace(ANY, moved_per_round=1e-9), HOUR_S)
    assert settled.items_MC is bank.items_MC
    assert (len(settled.accepted), len(settled.rejected)) == (1, 0)
    assert settled.normality is not None and settled.normality.num_frames == 10


def test_forged_sums_take_their_counts_with_them() -> None:
    bank = counting_bank()
    sums = held_for(bank).sums
    forged_sums = ItemSums(sums.running_max_M, -sums.sums_MC, sums.counts_M)
    settled = settle(bank, bank.items_MC, [replace(counted_for(bank), sums=forged_sums)], ANY, HOUR_S)
    assert not settled.accepted
    assert settled.normality is bank.normality


def test_a_network_without_items_learns_by_counts_alone() -> None:
    bank = counting_bank(num_items=0)
    settled = settle(bank, bank.items_MC, [counted_for(bank, first=first) for first in (0, 10)], ANY, HOUR_S)
    assert (settled.moved, settled.anchor_distance) == (0.0, 0.0)
    assert settled.normality is not None and settled.normality.num_frames == 20


@pytest.mark.parametrize("at_s", [-1.0, 1e12])
def test_counts_of_no_time_at_all_are_refused(at_s: float) -> None:
    header, _ = counts().to_wire()
    with pytest.raises(ValueError, match="at_s"):
        ProposalHeader.model_validate(
            header_for(counting_bank()).model_dump() | {"normality": header.model_dump() | {"at_s": at_s}}
        )
