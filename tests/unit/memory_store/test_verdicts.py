"""What may become of a verdict, by plain values: applied, noted, or refused with its reason."""

from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from memory_store.bank import Bank
from memory_store.coordinator.positions import Place
from memory_store.coordinator.verdicts import Decision, Refusal, Said, decide, flaw_of
from memory_store.exemplar import MAX_EXEMPLARS, Exemplar, exemplar_of, in_order
from memory_store.normality import Grid
from memory_store.views import InitialBank
from messaging.ports import Claim
from schemas.verdicts import OperatorVerdict
from tests.unit.memory_store.counted import GRID, counting_bank
from tests.unit.memory_store.proposals import BUNDLE, NOW, a_bank
from tests.unit.memory_store.said import MINUTE, a_map, small_exemplar, small_verdict, unsaid, verdict_of

INITIAL = InitialBank(BUNDLE, a_bank().items_MC, grid=GRID)
LATER = NOW + 10 * MINUTE
PLACE = Place(Claim("operator-verdicts", 0, 1), 0)


def bank_with(*events: Any) -> Bank:
    return replace(counting_bank(), exemplars=in_order(events))


def said(verdict: OperatorVerdict) -> Said:
    return Said(verdict, exemplar_of(verdict) if verdict.trace is not None else None, PLACE)


def applied(verdict: OperatorVerdict, bank: Bank) -> tuple[Exemplar, ...]:
    """What the next version holds."""
    decision = decide(said(verdict), bank, LATER)
    assert isinstance(decision, Decision)
    assert decision.exemplars is not None
    return decision.exemplars


def decided(verdict: OperatorVerdict, bank: Bank) -> tuple[str, ...]:
    return tuple(one.event_id for one in applied(verdict, bank))


def refused(verdict: OperatorVerdict, bank: Bank) -> Refusal:
    decision = decide(said(verdict), bank, LATER)
    assert isinstance(decision, Refusal)
    return decision


def test_what_was_said_is_added_in_order() -> None:
    assert decided(small_verdict("cam1:s1:5"), bank_with(small_exemplar("cam2:s1:5"))) == ("cam1:s1:5", "cam2:s1:5")


def test_what_is_undone_is_gone_and_the_bank_as_it_was() -> None:
    before = bank_with(small_exemplar("cam2:s1:5"))
    verdict = small_verdict("cam1:s1:5")
    after = replace(before, exemplars=applied(verdict, before))
    assert after.digest != before.digest
    undone = replace(after, exemplars=applied(unsaid(verdict), after))
    assert undone.digest == before.digest


def test_of_two_opposite_verdicts_the_one_given_last_counts_whatever_comes_first() -> None:
    normal = small_verdict("cam1:s1:5")
    real = small_verdict("cam1:s1:5", judgement="real", given_at=NOW + MINUTE)
    for order in permutations([normal, real]):
        bank = counting_bank()
        for verdict in order:
            decision = decide(said(verdict), bank, LATER)
            if isinstance(decision, Refusal):
                assert (decision.reason, "said 'real' later" in decision.why) == ("superseded", True)
            elif decision.exemplars is not None:
                bank = replace(bank, exemplars=decision.exemplars)
        assert [one.judgement for one in bank.exemplars] == ["real"]


def test_an_undoing_from_before_a_verdict_undoes_nothing() -> None:
    early = unsaid(small_verdict("cam1:s1:5"), given_at=NOW - MINUTE)
    assert refused(early, bank_with(small_exemplar("cam1:s1:5"))).reason == "superseded"


def test_what_was_never_said_cannot_be_undone() -> None:
    found = refused(unsaid(small_verdict("cam1:s1:5")), bank_with(small_exemplar("cam2:s1:5")))
    assert (found.reason, "no verdict on 'cam1:s1:5'" in found.why) == ("nothing_said", True)


def test_what_was_skipped_or_said_before_is_noted() -> None:
    bank = bank_with(small_exemplar("cam1:s1:5"))
    skipped = unsaid(small_verdict("cam1:s1:5"), judgement="skip")
    assert decide(said(skipped), bank, LATER) == Decision(None, "seen")
    assert decide(said(small_verdict("cam1:s1:5")), bank, LATER) == Decision(None, "it was said already")


def test_a_frozen_bank_takes_none() -> None:
    found = refused(small_verdict(), replace(counting_bank(), frozen=True))
    assert (found.reason, "engram bank thaw lobby" in found.why) == ("frozen", True)


def test_there_is_an_end_to_verdicts() -> None:
    full = bank_with(*(small_exemplar(f"cam1:s1:{n}") for n in range(MAX_EXEMPLARS)))
    found = refused(small_verdict("cam1:s1:999"), full)
    assert (found.reason, "engram feedback --list lobby" in found.why) == ("too_many", True)
    assert len(decided(small_verdict("cam1:s1:7", given_at=NOW + MINUTE, scope="camera"), full)) == MAX_EXEMPLARS


def test_what_would_silence_what_was_called_real_is_refused_by_its_name() -> None:
    real = small_exemplar("cam1:s1:90", judgement="real", operator="eve@desk1")
    found = refused(small_verdict("cam1:s1:5", scope="camera"), bank_with(real))
    assert found.reason == "silences"
    assert "'cam1:s1:90', which eve@desk1 called real" in found.why


def test_who_calls_real_what_was_called_normal_is_told_so() -> None:
    decision = decide(said(small_verdict("cam1:s1:90", judgement="real")), bank_with(small_exemplar()), LATER)
    assert isinstance(decision, Decision)
    assert "called normal with 'cam1:s1:5'" in decision.why
    assert decision.exemplars is not None
    assert [one.judgement for one in decision.exemplars] == ["normal", "real"]


def test_what_is_over_goes_with_the_next_verdict() -> None:
    over = small_exemplar("cam2:s1:5", expires_at=LATER)
    assert decided(small_verdict("cam1:s1:5"), bank_with(over)) == ("cam1:s1:5",)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bundle_digest": "c" * 64}, "foreign_bundle"),
        ({"event_id": "cam2:s1:5"}, "foreign_event"),
        ({"given_at": LATER + timedelta(minutes=6)}, "implausible"),
        ({"expires_at": LATER}, "expired"),
    ],
)
def test_what_speaks_against_a_verdict_whatever_the_bank(changes: dict[str, Any], reason: str) -> None:
    verdict = small_verdict(**changes)
    found = flaw_of(verdict, exemplar_of(verdict), INITIAL, LATER)
    assert found is not None
    assert found.reason == reason
    assert flaw_of(small_verdict(), exemplar_of(small_verdict()), INITIAL, LATER) is None


def test_a_trace_of_another_grid_is_refused() -> None:
    verdict = verdict_of([a_map((0, 0, 1, 2, 5.0), grid=Grid(32, 48))])
    found = flaw_of(verdict, exemplar_of(verdict), INITIAL, LATER)
    assert found is not None
    assert (found.reason, "must be of (1, 3) patches" in found.why) == ("bad_shape", True)


def test_a_bundle_without_a_memory_takes_none() -> None:
    found = flaw_of(small_verdict(), exemplar_of(small_verdict()), replace(INITIAL, grid=None), LATER)
    assert found is not None
    assert found.reason == "no_memory"
