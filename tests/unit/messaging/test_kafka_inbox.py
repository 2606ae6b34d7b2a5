"""The meeting place of the poll thread and its user, without Kafka."""

import threading

import pytest
from kafka import TopicPartition

from messaging.kafka import states
from messaging.kafka.inbox import CommitRequest, Inbox
from messaging.kafka.marks import Checkpoint, Mark
from messaging.kafka.states import StateTable
from messaging.ports import Assigned, Claim, Lost, OutRecord, Progress, Record
from schemas.errors import FatalError, OwnershipLostError, TransientError

ZERO, ONE = ("frames", 0), ("frames", 1)


def record(offset: int, partition: int = 0) -> Record:
    return Record("frames", partition, offset, b"k", b"x" * 100, (), 0)


def announced(*committed: int) -> tuple[Inbox, list[Claim]]:
    """An inbox whose claims have been told to the user."""
    inbox = Inbox()
    inbox.begin([("frames", number) for number in range(len(committed))], "generation 1")
    claims = inbox.unannounced()
    for claim, offset in zip(claims, committed, strict=True):
        assert inbox.announce(Assigned(claim, offset))
    assert len(inbox.take(10, 0).assigned) == len(committed)
    return inbox, claims


def begin_with(inbox: Inbox) -> None:
    """As the poll thread does once the marks are committed."""
    for claim, (offset, mark) in inbox.held(0.0).items():
        inbox.let_go(claim, offset, mark, 0.0)


def test_records_below_the_committed_offset_are_replay() -> None:
    inbox, (claim,) = announced(5)
    inbox.put(claim, [record(4), record(5)])
    begin_with(inbox)
    assert [delivery.is_replay for delivery in inbox.take(10, 0).deliveries] == [True, False]


def test_nothing_is_queued_before_its_claim_is_announced_or_after_it_ended() -> None:
    inbox = Inbox()
    inbox.begin([ZERO], "generation 1")
    (claim,) = inbox.unannounced()
    inbox.put(claim, [record(0)])
    assert inbox.queued() == (0, 0)
    inbox.announce(Assigned(claim, 0))
    inbox.put(claim, [record(0)])
    assert inbox.queued()[0] == 1
    inbox.end_all()
    assert inbox.queued() == (0, 0)
    inbox.put(claim, [record(1)])
    assert inbox.queued() == (0, 0)


def test_bytes_are_counted_in_and_out() -> None:
    inbox, (claim,) = announced(0)
    inbox.put(claim, [record(offset) for offset in range(4)])
    records, num_bytes = inbox.queued()
    assert records == 4
    assert num_bytes > 400
    begin_with(inbox)
    inbox.take(3, 0)
    assert inbox.queued() == (1, num_bytes // 4)


def test_a_rewind_ends_claims_and_starts_new_ones_under_a_higher_epoch() -> None:
    inbox, (old,) = announced(0)
    inbox.put(old, [record(0)])
    inbox.rewind()
    (new,) = inbox.unannounced()
    assert (new.partition, new.epoch) == (old.partition, old.epoch + 1)
    assert not inbox.announce(Assigned(old, 0))
    intake = inbox.take(10, 0)
    assert (intake.revoked, intake.assigned, intake.deliveries) == ((old,), (), ())


def test_the_end_of_a_claim_the_user_never_heard_of_is_not_told() -> None:
    inbox = Inbox()
    inbox.begin([ZERO], "generation 1")
    (claim,) = inbox.unannounced()
    inbox.announce(Assigned(claim, 0))
    inbox.end_all()
    inbox.begin([ZERO], "generation 2")
    intake = inbox.take(10, 0)
    assert (intake.revoked, intake.assigned) == ((), ())


def test_the_generation_goes_with_the_claims() -> None:
    inbox, claims = announced(0, 0)
    progress = [Progress(claim, 1, 1) for claim in claims]
    assert inbox.membership_for(progress) == "generation 1"
    inbox.end_all()
    inbox.begin([ONE], "generation 2")
    with pytest.raises(OwnershipLostError, match="rewind"):
        inbox.membership_for(progress)
    assert inbox.current(progress) == []
    assert inbox.membership_for([]) == "generation 2"


def test_a_failure_reaches_all_who_wait() -> None:
    inbox, (claim,) = announced(0)
    request = CommitRequest((Progress(claim, 1, 1),))
    inbox.ask_commit(request)
    threading.Timer(0.05, inbox.fail, [FatalError("beyond repair")]).start()
    with pytest.raises(FatalError, match="beyond repair"):
        inbox.take(1, 30)
    with pytest.raises(TransientError):
        request.done.result(1)
    with pytest.raises(FatalError, match="beyond repair"):
        inbox.ask_commit(request)


def test_closing_wakes_the_waiting_and_refuses_the_next() -> None:
    inbox, (claim,) = announced(0)
    request = CommitRequest((Progress(claim, 1, 1),))
    inbox.ask_commit(request)
    threading.Timer(0.05, inbox.close).start()
    assert inbox.take(1, 30).deliveries == ()
    with pytest.raises(TransientError):
        request.done.result(1)
    with pytest.raises(FatalError, match="closed"):
        inbox.take(1, 0)


def test_commits_come_out_in_the_order_they_were_asked_for() -> None:
    inbox, (claim,) = announced(0)
    requests = [CommitRequest((Progress(claim, number, number),)) for number in range(3)]
    for request in requests:
        inbox.ask_commit(request)
    assert [inbox.next_commit() for _ in range(4)] == [*requests, None]


def test_nothing_is_taken_before_it_is_marked_and_others_do_not_wait() -> None:
    inbox, (zero, one) = announced(5, 0)
    inbox.put(zero, [record(4), record(5)])
    inbox.put(one, [record(0, partition=1)])
    assert [d.record.offset for d in inbox.take(10, 0).deliveries] == [4]  # replay is no attempt
    held = inbox.held(0.0)
    assert {claim.partition: (offset, mark and mark.attempts) for claim, (offset, mark) in held.items()} == {
        0: (5, 1),
        1: (0, 1),
    }
    inbox.let_go(one, *held[one], 0.0)
    assert [(d.claim.partition, d.record.offset) for d in inbox.take(10, 0).deliveries] == [(1, 0)]
    inbox.let_go(zero, *held[zero], 0.0)
    assert [(d.claim.partition, d.record.offset) for d in inbox.take(10, 0).deliveries] == [(0, 5)]


def test_an_idle_claim_is_never_marked() -> None:
    inbox, _ = announced(5)
    assert inbox.held(0.0) == {}
    assert inbox.end_all() == {}


def test_after_a_death_records_go_one_by_one_with_their_attempts() -> None:
    inbox = Inbox()
    inbox.begin([ZERO], "generation 1")
    (claim,) = inbox.unannounced()
    inbox.announce(Assigned(claim, 5), 5, attempts=2)
    inbox.put(claim, [record(5), record(6)])
    begin_with(inbox)
    assert [(d.record.offset, d.attempts) for d in inbox.take(10, 0).deliveries] == [(5, 2)]
    begin_with(inbox)
    assert inbox.take(10, 0).deliveries == ()
    assert inbox.queued()[0] == 1
    inbox.committed([Progress(claim, 6, 6)])
    begin_with(inbox)
    assert [(d.record.offset, d.attempts) for d in inbox.take(10, 0).deliveries] == [(6, 0)]


def test_a_hand_over_that_we_live_to_see_is_no_attempt_unless_a_commit_is_under_way() -> None:
    inbox, (zero, one) = announced(5, 0)
    inbox.put(zero, [record(5)])
    inbox.put(one, [record(0, partition=1)])
    begin_with(inbox)
    inbox.membership_for([Progress(one, 1, 1)])
    cleared = inbox.end_all()
    assert {where: (mark.next_offset, mark.attempts) for where, mark in cleared.items()} == {ZERO: (5, 0)}


def test_progress_needs_no_clearing() -> None:
    inbox, (claim,) = announced(5)
    inbox.put(claim, [record(5)])
    begin_with(inbox)
    assert inbox.marks([Progress(claim, 5, 4)]) == {ZERO: Mark(5, 4, 1)}  # a commit without progress carries it on
    assert inbox.marks([Progress(claim, 6, 6)]) == {ZERO: Mark(6, 6, 0)}
    inbox.committed([Progress(claim, 6, 6)])
    assert inbox.end_all() == {}


def test_our_own_mark_from_before_a_rewind_is_not_an_attempt() -> None:
    inbox, (claim,) = announced(5)
    inbox.put(claim, [record(5)])
    begin_with(inbox)
    inbox.rewind()
    (again,) = inbox.unannounced()
    inbox.announce(Assigned(again, 5), 5, attempts=1)
    inbox.put(again, [record(5), record(6)])
    begin_with(inbox)
    assert [(d.record.offset, d.attempts) for d in inbox.take(10, 0).deliveries] == [(5, 0), (6, 0)]


def test_what_was_lost_is_told_once_and_ends_with_its_claim() -> None:
    inbox, (claim,) = announced(5)
    inbox.lose(Lost(claim, 5, 2))
    assert inbox.take(10, 0).lost == (Lost(claim, 5, 2),)
    assert inbox.take(10, 0).lost == ()
    inbox.lose(Lost(claim, 7, 1))
    inbox.rewind()
    inbox.lose(Lost(claim, 8, 1))
    assert inbox.take(10, 0).lost == ()


def test_a_poll_thread_that_does_not_come_round_is_noticed_within_its_bound() -> None:
    now = [0.0]
    inbox = Inbox(stuck_after_s=10.0, clock=lambda: now[0])
    now[0] = 9.0
    assert inbox.take(1, 0).deliveries == ()
    inbox.alive()
    now[0] = 18.9
    assert inbox.take(1, 0).deliveries == ()
    now[0] = 19.0
    with pytest.raises(FatalError, match=r"stuck for 10 s: start this process again"):
        inbox.take(1, 600)


def test_what_a_stuck_poll_thread_has_brought_is_still_taken() -> None:
    now = [0.0]
    inbox = Inbox(stuck_after_s=10.0, clock=lambda: now[0])
    inbox.begin([ZERO], "generation 1")
    (claim,) = inbox.unannounced()
    inbox.announce(Assigned(claim, 0))
    inbox.put(claim, [record(0)])
    begin_with(inbox)
    now[0] = 11.0
    assert len(inbox.take(1, 0).deliveries) == 1
    with pytest.raises(FatalError, match="stuck"):
        inbox.take(1, 0)


def test_the_wait_for_a_stuck_poll_thread_does_not_last_as_long_as_was_asked() -> None:
    inbox = Inbox(stuck_after_s=0.05)
    with pytest.raises(FatalError, match="stuck"):
        inbox.take(1, 600)


def test_who_needs_many_records_before_it_can_commit_gets_them_after_a_death_too() -> None:
    inbox = Inbox(counts_attempts=False)
    inbox.begin([ZERO], "generation 1")
    (claim,) = inbox.unannounced()
    inbox.announce(Assigned(claim, 5), 5, attempts=2)
    inbox.put(claim, [record(5), record(6), record(7)])
    assert inbox.held(0.0) == {}
    assert [(d.record.offset, d.attempts) for d in inbox.take(10, 0).deliveries] == [(5, 0), (6, 0), (7, 0)]
    assert inbox.end_all() == {}


def state(offset: int, key: str, value: bytes | None = b"s", partition: int = 0) -> Record:
    return Record("states", partition, offset, key.encode(), value, (), 0)


def with_states(*records: Record) -> tuple[Inbox, Claim]:
    """An inbox with a claim of which these states were read."""
    inbox = Inbox()
    inbox.begin([ZERO], "generation 1")
    (claim,) = inbox.unannounced()
    table = StateTable(TopicPartition("states", 0), "id", 0)
    for each in records:
        table.take(each)
    assert inbox.announce(Assigned(claim, 5, table.values()), 4, states=table)
    inbox.take(10, 0)
    return inbox, claim


def test_every_mark_carries_the_checkpoint() -> None:
    inbox, claim = with_states(state(3, "a"), state(8, "b"))
    inbox.put(claim, [record(5)])
    first = Checkpoint(3, "id")
    assert inbox.held(0.0) == {claim: (5, Mark(5, 4, 1, first))}
    begin_with(inbox)
    assert inbox.marks([Progress(claim, 6, 9)]) == {ZERO: Mark(6, 6, 0, first)}
    assert inbox.end_all() == {ZERO: Mark(5, 4, 0, first)}


def test_what_was_written_moves_the_checkpoint_of_the_next_commit() -> None:
    inbox, claim = with_states(state(3, "a"), state(8, "b"))
    scores = Record("scores", 0, 99, b"b", b"s", (), 0)
    inbox.committed([Progress(claim, 6, 6)], [state(10, "a"), scores, state(70, "b", partition=1), state(11, "c")])
    assert inbox.marks([Progress(claim, 7, 7)])[ZERO].checkpoint == Checkpoint(8, "id")
    inbox.committed([], [state(14, "b", None)])  # states count without progress too
    assert inbox.marks([Progress(claim, 7, 7)])[ZERO].checkpoint == Checkpoint(10, "id")


def test_what_was_written_under_an_ended_claim_is_none_of_the_next() -> None:
    inbox, old = with_states(state(3, "a"))
    inbox.rewind()
    (claim,) = inbox.unannounced()
    table = StateTable(TopicPartition("states", 0), "id", 0)
    table.take(state(9, "a"))  # as the old claim wrote it
    inbox.announce(Assigned(claim, 6), states=table)
    inbox.committed([Progress(old, 6, 6)], [state(9, "a")])
    assert inbox.marks([Progress(claim, 7, 7)])[ZERO].checkpoint == Checkpoint(9, "id")


def test_far_states_of_the_claims_that_commit_are_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "FAR_RECORDS", 8)
    inbox, claim = with_states(state(0, "a"), state(1, "b"), state(2, "c"), state(20, "d"))
    busy = [OutRecord("states", "a", b"new"), OutRecord("scores", "b", b"0.5")]
    assert inbox.far_behind(busy, []) == []
    again = [OutRecord("states", key, b"s", partition=0) for key in "bc"]
    assert inbox.far_behind(busy, [Progress(claim, 6, 6)]) == again
    inbox.distrust_states()
    assert inbox.far_behind(busy, [Progress(claim, 6, 6)]) == []
    assert inbox.marks([Progress(claim, 6, 6)]) == {ZERO: Mark(6, 6)}


def test_a_claim_without_states_has_no_checkpoint() -> None:
    inbox, (claim,) = announced(5)
    inbox.committed([Progress(claim, 6, 6)], [state(0, "a")])
    assert inbox.marks([Progress(claim, 6, 6)]) == {ZERO: Mark(6, 6)}
    assert inbox.far_behind([], [Progress(claim, 6, 6)]) == []
