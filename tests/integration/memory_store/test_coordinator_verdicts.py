"""Verdicts through a coordinator: one version each, the operator in the audit, answers, undoing, crashes, expiry."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from memory_store.bank import Bank, Change, first_broken_link, next_epoch
from memory_store.coordinator.archive import read_archive
from memory_store.coordinator.coordinator import Coordinator
from memory_store.coordinator.positions import Place
from memory_store.coordinator.verdicts import Verdicts
from memory_store.exemplar import MAX_EXEMPLARS
from memory_store.interventions import Signature, roll_back
from memory_store.store import CommitOutcome, CommitRequest
from memory_store.stores.sqlite import SqliteStore
from messaging.inprocess.bus import InProcessBus
from messaging.ports import Claim, OutRecord, Record, TopicSpec
from schemas.codec import decode_message, encode_message
from schemas.errors import BadMessageError, TransientError
from schemas.verdicts import OperatorVerdict, VerdictOutcome, VerdictOutcomeEvent
from tests.integration.memory_store import bench as benches
from tests.integration.memory_store.bench import AT, BANK_ID, TOPICS, Bench, new_bus, options
from tests.unit.memory_store.counted import GRID
from tests.unit.memory_store.said import MINUTE, small_verdict, unsaid

INITIAL = replace(benches.INITIAL, grid=GRID)
GIVEN_AT = AT + timedelta(seconds=900)


class Desk(Bench):
    """A bench whose bundle has a memory, and where operators are heard."""

    def coordinator(self, coordinator_id: str = "c1", *_: Any, **changed: Any) -> Coordinator:
        chosen = options(coordinator_id, refresh_s=0.0, **changed)
        return Coordinator(self.bus, self.store, INITIAL, chosen, self.clock, self.clock.wall)

    def say(self, *verdicts: OperatorVerdict) -> None:
        topic = TOPICS.operator_verdicts
        self.send(*(OutRecord(topic, verdict.bank_id, encode_message(verdict)) for verdict in verdicts))

    def answers(self) -> list[VerdictOutcome]:
        """Each once, as a reader has them."""
        found = [decode_message(VerdictOutcomeEvent, record.value) for record in self.records(TOPICS.memory_events)]
        return [event.data for event in {(event.source, event.id): event for event in found}.values()]

    def reasons(self) -> list[str | None]:
        return [answer.reason for answer in self.answers()]


class Forgetful(SqliteStore):
    """Writes once and loses the answer."""

    loses = False

    def commit(self, request: CommitRequest) -> CommitOutcome:
        outcome = super().commit(request)
        if self.loses:
            self.loses = False
            raise TransientError("the answer was lost")
        return outcome


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store, bus = Forgetful(tmp_path / "banks.sqlite"), new_bus()
    bus.create_topics([TopicSpec(TOPICS.operator_verdicts, 2), TopicSpec(TOPICS.memory_events, 2)])
    store.create(INITIAL.as_bank(BANK_ID, next_epoch(), AT), Change("create", "c0", "by hand", "create"))
    yield Desk(store, bus)
    bus.close()
    store.close()


def normal(event: str = "cam1:s1:5", **changed: Any) -> OperatorVerdict:
    return small_verdict(event, **({"given_at": GIVEN_AT} | changed))


def run(coordinator: Coordinator, steps: int = 4) -> None:
    for _ in range(steps):
        coordinator.step()


def test_a_verdict_is_one_version_with_the_operator_in_the_audit_and_an_answer(desk: Desk) -> None:
    coordinator = desk.coordinator()
    desk.say(normal(expires_at=GIVEN_AT + timedelta(days=1)))
    run(coordinator)
    bank = desk.stored()
    assert (bank.version, [one.event_id for one in bank.exemplars]) == (1, ["cam1:s1:5"])
    change = desk.store.log(BANK_ID)[-1].change
    assert (change.action, change.author) == ("verdict", "ann@desk2")
    assert change.reason == "normal cam1:s1:5, place until 2026-05-05T12:15:00Z: the mail van"
    (answer,) = desk.answers()
    assert (answer.outcome, answer.bank_version, answer.bank_digest) == ("applied", 1, bank.digest)
    assert coordinator.snapshot().verdicts == {"applied": 1}
    told = read_archive(desk.records(TOPICS.memory_banks), INITIAL, None).newest[BANK_ID].bank
    assert (told.digest, told.exemplars) == (bank.digest, bank.exemplars)


def test_undoing_restores_the_digest_and_leaves_both_in_the_log(desk: Desk) -> None:
    before, coordinator = desk.stored(), desk.coordinator()
    desk.say(normal())
    run(coordinator)
    assert desk.stored().digest != before.digest
    desk.say(unsaid(normal()))
    run(coordinator)
    after = desk.stored()
    assert (after.version, after.digest) == (2, before.digest)
    assert [entry.change.reason for entry in desk.store.log(BANK_ID)][-1] == "undo cam1:s1:5: the mail van"
    assert first_broken_link(desk.store.log(BANK_ID)) is None


def test_verdicts_on_one_bank_are_decided_in_their_order_at_once(desk: Desk) -> None:
    coordinator = desk.coordinator()
    desk.say(normal(), normal("cam1:s1:9", scope="camera"), unsaid(normal()), unsaid(normal(), verdict_id="again"))
    run(coordinator)
    assert [one.event_id for one in desk.stored().exemplars] == ["cam1:s1:9"]
    assert [answer.outcome for answer in desk.answers()] == ["applied", "applied", "applied", "refused"]
    assert desk.reasons()[-1] == "nothing_said"


def test_a_record_that_comes_twice_has_no_second_effect(desk: Desk) -> None:
    coordinator = desk.coordinator()
    desk.say(normal(), unsaid(normal()), normal())
    run(coordinator)
    assert (desk.stored().version, desk.stored().exemplars) == (2, ())
    assert [answer.outcome for answer in desk.answers()] == ["applied", "applied"]


def test_an_answer_of_the_store_that_was_lost_is_found_in_the_log(desk: Desk) -> None:
    coordinator = desk.coordinator()
    assert isinstance(desk.store, Forgetful)
    desk.store.loses = True
    desk.say(normal())
    run(coordinator)
    assert coordinator.snapshot().trouble is not None
    desk.pass_time(coordinator, 10)
    assert (desk.stored().version, [answer.outcome for answer in desk.answers()]) == (1, ["applied"])


def test_who_takes_over_decides_what_was_left_and_nothing_twice(desk: Desk) -> None:
    first = desk.coordinator("c1")
    assert isinstance(desk.store, Forgetful)
    desk.say(normal("cam1:s1:5"), normal("cam1:s1:9", scope="camera"))
    first.step()
    desk.store.loses = True
    run(first)
    first.step_back()
    second = desk.coordinator("c2")
    desk.pass_time(second, 10)
    assert [one.event_id for one in desk.stored().exemplars] == ["cam1:s1:5", "cam1:s1:9"]
    assert desk.stored().version == 2
    assert [answer.outcome for answer in desk.answers()] == ["applied", "applied"]


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (normal(bank_id="elsewhere"), "unknown_bank"),
        (normal(bundle_digest="c" * 64), "foreign_bundle"),
        (normal(event_id="cam2:s1:5"), "foreign_event"),
        (normal(expires_at=GIVEN_AT), "expired"),
        (normal(given_at=GIVEN_AT + timedelta(days=1)), "implausible"),
        (normal(trace=None), "bad_shape"),
        (normal(extents=(1,)), "bad_shape"),
        (unsaid(normal()), "nothing_said"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(desk: Desk, verdict: OperatorVerdict, reason: str) -> None:
    before, coordinator = desk.stored(), desk.coordinator()
    desk.say(verdict)
    run(coordinator)
    assert (desk.reasons(), desk.stored().version) == ([reason], before.version)
    assert list(desk.store.list_banks()) == [BANK_ID], "no bank is made of a verdict"


def test_a_frozen_bank_refuses_until_it_is_thawed(desk: Desk) -> None:
    coordinator = desk.coordinator()
    desk.store.freeze(BANK_ID, Change("freeze", "ann", "a bad week", "f1"), AT)
    desk.say(normal())
    run(coordinator)
    desk.store.unfreeze(BANK_ID, Change("thaw", "ann", "all is well", "t1"), AT)
    desk.say(normal(verdict_id="again"))
    run(coordinator)
    assert [(answer.outcome, answer.reason) for answer in desk.answers()] == [("refused", "frozen"), ("applied", None)]


def test_too_many_verdicts_are_refused(desk: Desk) -> None:
    coordinator = desk.coordinator()
    desk.say(*(normal(f"cam1:s1:{number}") for number in range(MAX_EXEMPLARS + 1)))
    run(coordinator)
    assert len(desk.stored().exemplars) == MAX_EXEMPLARS
    assert desk.reasons()[-1] == "too_many"


def test_what_would_silence_a_canary_is_refused(desk: Desk) -> None:
    coordinator = desk.coordinator()
    desk.say(normal("cam1:s1:90", judgement="real"), normal(scope="bank"))
    run(coordinator)
    refusal = desk.answers()[-1]
    assert (refusal.reason, "'cam1:s1:90'" in refusal.why) == ("silences", True)
    assert [one.judgement for one in desk.stored().exemplars] == ["real"]


def test_a_verdict_on_a_damaged_bank_is_answered_and_others_are_heard(desk: Desk) -> None:
    coordinator = desk.coordinator()
    run(coordinator)
    dock = desk.store.create(replace(desk.stored(), bank_id="dock"), Change("create", "ann", "", "create dock"))
    with desk.store._transaction() as cursor:  # type: ignore[attr-defined]
        for table in ("bank", "version"):
            cursor.execute(f"UPDATE {table} SET header = '{{}}' WHERE bank_id = 'lobby'")
    desk.say(normal(), normal("cam1:s1:9", bank_id=dock.bank_id))
    run(coordinator)
    first, second = sorted(desk.answers(), key=lambda answer: answer.outcome, reverse=True)
    assert (first.outcome, first.reason, "engram bank rollback" in first.why) == ("refused", "damaged_bank", True)
    assert (second.outcome, second.bank_id) == ("applied", "dock")
    assert (coordinator.snapshot().trouble, list(coordinator.snapshot().damaged)) == (None, [BANK_ID])


def test_what_is_no_verdict_becomes_a_dead_letter(desk: Desk) -> None:
    coordinator = desk.coordinator()
    desk.send(OutRecord(TOPICS.operator_verdicts, BANK_ID, b"\xff not ours"))
    desk.send(OutRecord(TOPICS.operator_verdicts, BANK_ID, None))
    desk.say(normal())
    run(coordinator)
    assert len(desk.records(TOPICS.dead_letters)) == 2
    assert [answer.outcome for answer in desk.answers()] == ["applied"]


def test_what_must_not_be_believed_is_no_verdict(desk: Desk) -> None:
    record = Record(TOPICS.operator_verdicts, 0, 0, b"lobby", encode_message(normal()), (), 0)
    unheard = Verdicts(options(), INITIAL, None, None, Counter())  # type: ignore[arg-type]
    with pytest.raises(BadMessageError, match="no MAC"):
        unheard.take(replace(record, flaw=BadMessageError("unsealed", "no MAC")), Place(Claim("t", 0, 1), 0))
    assert len(unheard) == 0
    assert desk.stored().exemplars == ()


def test_a_judgement_of_a_newer_console_is_refused_by_its_word(desk: Desk) -> None:
    coordinator = desk.coordinator()
    newer = encode_message(normal()).replace(b'"judgement":"normal"', b'"judgement":"usual"')
    desk.send(OutRecord(TOPICS.operator_verdicts, BANK_ID, newer))
    run(coordinator)
    (answer,) = desk.answers()
    assert (answer.outcome, answer.judgement, answer.reason) == ("refused", "usual", "bad_shape")


def test_what_has_expired_is_taken_out_by_a_version_of_its_own(desk: Desk) -> None:
    before, coordinator = desk.stored(), desk.coordinator()
    desk.say(normal(expires_at=GIVEN_AT + timedelta(seconds=160)), normal("cam1:s1:9", scope="camera"))
    run(coordinator)
    desk.pass_time(coordinator, 50)
    assert len(desk.stored().exemplars) == 2
    desk.pass_time(coordinator, 20)
    assert [one.event_id for one in desk.stored().exemplars] == ["cam1:s1:9"]
    entry = desk.store.log(BANK_ID)[-1]
    assert (entry.change.action, entry.change.author, entry.change.reason) == ("verdict", "c1", "expired: cam1:s1:5")
    assert desk.stored().version == before.version + 3


def test_a_rollback_brings_back_what_was_said_then(desk: Desk) -> None:
    coordinator = desk.coordinator()
    desk.say(normal())
    run(coordinator)
    taught = desk.stored()
    desk.say(unsaid(normal()))
    run(coordinator)
    roll_back(desk.store, BANK_ID, taught.version, Signature("ann", "", GIVEN_AT))
    run(coordinator)
    assert (desk.stored().digest, desk.stored().exemplars) == (taught.digest, taught.exemplars)
    desk.say(unsaid(normal(), verdict_id="u2", given_at=GIVEN_AT + 2 * MINUTE))
    run(coordinator)
    assert desk.answers()[-1].outcome == "applied"


def test_a_wiped_store_is_restored_with_what_was_said(desk: Desk, tmp_path: Path) -> None:
    coordinator = desk.coordinator()
    desk.say(normal())
    run(coordinator)
    coordinator.step_back()
    said: Bank = desk.stored()
    desk.store = SqliteStore(tmp_path / "new.sqlite")
    run(desk.coordinator("c2"))
    assert (desk.stored().digest, desk.stored().exemplars) == (said.digest, said.exemplars)
    desk.store.close()


def test_without_the_topics_of_verdicts_a_coordinator_works_as_before(tmp_path: Path) -> None:
    store, bus = SqliteStore(tmp_path / "banks.sqlite"), InProcessBus()
    names = (TOPICS.memory_updates, TOPICS.anomaly_events, TOPICS.memory_banks, TOPICS.dead_letters)
    bus.create_topics([TopicSpec(name, 1, compacted=name == TOPICS.memory_banks) for name in names])
    desk = Desk(store, bus)
    coordinator = desk.coordinator()
    run(coordinator)
    assert coordinator.snapshot().is_leader
    assert coordinator.snapshot().trouble is None
    bus.close()
    store.close()
