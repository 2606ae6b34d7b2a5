"""Brokers and workers that die or freeze at the worst moment. The ledger must come out perfect."""

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import messaging.kafka.outbox as outbox_module
from deploy.local.kafka import LocalKafka
from deploy.local.wait import wait_until
from messaging.kafka import handover
from messaging.kafka.bus import KafkaBus
from messaging.kafka.connection import KafkaConnection
from messaging.kafka.handover import StateTopic
from messaging.kafka.states import StateTable
from messaging.ports import Claim, OutRecord
from schemas.errors import TransientError
from tests.contract.messaging.members import Member
from tests.integration.messaging.conftest import READY_S
from tests.integration.messaging.pipeline import (
    Names,
    Worker,
    command,
    departures,
    perfect,
    publish_frames,
    wait_for_scores,
)

MakeBus = Callable[..., KafkaBus]
KEYS = 6
NUM_STATES = 40_000


@contextmanager
def running(worker: Worker) -> Iterator[Worker]:
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,), daemon=True)
    thread.start()
    try:
        yield worker
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


@contextmanager
def worker_process(arguments: list[str]) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


@contextmanager
def stopped_before(point: str) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Outboxes of this process stop before ``point``, set the first event, and go on with the second."""
    at_the_point, may_go_on = threading.Event(), threading.Event()
    real = getattr(outbox_module, point)

    def stop(*arguments: object) -> None:
        at_the_point.set()
        assert may_go_on.wait(60)
        real(*arguments)

    setattr(outbox_module, point, stop)
    try:
        yield at_the_point, may_go_on
    finally:
        may_go_on.set()
        setattr(outbox_module, point, real)


def wait_for_line(process: "subprocess.Popen[str]", *wanted: str) -> str:
    """The next of ``wanted`` lines; pytest's own time limit bounds the wait."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() in wanted:
            return line.strip()
    raise AssertionError(f"the worker ended without saying one of {wanted}")


def test_a_killed_broker_comes_back_and_nothing_is_lost_or_repeated(
    kafka: LocalKafka, make_bus: MakeBus, names: Names
) -> None:
    """Killed within a transaction, Kafka 4.3 may keep its offsets though it aborts it, unless the next writer begins
    with an abort of its own: then scores of a commit were missing in one run of four."""
    bus = make_bus(commit_timeout_s=6.0, delivery_timeout_s=120.0)
    with running(Worker(bus, names, names.group)) as worker:
        publish_frames(bus, names, KEYS, range(1, 51))
        assert wait_for_scores(bus, names, KEYS * 50, 60) == perfect(KEYS, 50)
        publisher = bus.publisher()
        answers: list[Exception | None] = []
        for number in range(51, 301):
            for key in range(KEYS):
                publisher.publish(OutRecord(names.frames, f"camera-{key}", str(number).encode()), answers.append)
            if number == 100:
                assert publisher.flush(30)
                kafka.kill()
            if number == 200:
                kafka.start()
                kafka.wait_ready(READY_S)
        publisher.close(120)
        assert answers == [None] * KEYS * 250
        found = wait_for_scores(make_bus(), names, KEYS * 300, 120)
    told = departures(found, perfect(KEYS, 300))
    assert found == perfect(KEYS, 300), f"{worker.num_transient} transient errors; {told}"


@pytest.mark.parametrize("point", ["send_offsets", "commit_transaction"])
def test_a_worker_killed_in_its_transaction_is_replaced_exactly(
    kafka: LocalKafka, make_bus: MakeBus, names: Names, point: str
) -> None:
    bus = make_bus()
    publish_frames(bus, names, KEYS, range(1, 101))
    with worker_process(command(kafka.bootstrap_servers, names, f"first-{names.group}", point, at_call=5)) as process:
        wait_for_line(process, "AT THE POINT")
        process.kill()
        with running(Worker(bus, names, f"second-{names.group}")):
            found = wait_for_scores(bus, names, KEYS * 100, 60)
    assert found == perfect(KEYS, 100)


def test_a_new_owner_waits_for_the_open_transaction_of_the_old(
    kafka: LocalKafka, make_bus: MakeBus, names: Names
) -> None:
    """The old one is alive, holds a transaction with offsets and states open, leaves the group, then commits."""
    old_bus, new_bus = make_bus(transaction_timeout_s=30.0), make_bus()
    publish_frames(old_bus, names, 1, range(1, 11))
    old = Member(old_bus.subscription([names.frames], names.group, names.states)).until_received(10)
    outbox = old_bus.outbox(old.subscription, f"old-{names.group}")
    with stopped_before("commit_transaction") as (at_the_point, may_go_on):
        records = [OutRecord(names.states, "camera-0", b"10"), OutRecord(names.scores, "camera-0", b"10:10")]
        committing = threading.Thread(target=outbox.commit, args=(records, old.progress()), daemon=True)
        committing.start()
        assert at_the_point.wait(30)
        old.subscription.close()
        new = Member(new_bus.subscription([names.frames], names.group, names.states))
        busy = old.deliveries[0].record.partition
        new.until_owning(3)  # the others have nothing open and go on
        for _ in range(10):
            new.step(0.2)
        assert (names.frames, busy) not in new.claims
        may_go_on.set()
        committing.join(30)
        new.until_owning(4)
    mine = next(assigned for assigned in new.assigned if assigned.claim.partition == busy)
    assert mine.committed_offset == 10
    assert mine.states == {"camera-0": b"10"}
    assert not any(not delivery.is_replay for delivery in new.deliveries)


def test_a_transaction_that_nobody_ends_is_told(
    kafka: LocalKafka,
    make_bus: MakeBus,
    names: Names,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handover, "HANGING_S", 0.5)
    old_bus, new_bus = make_bus(transaction_timeout_s=60.0), make_bus()
    publish_frames(old_bus, names, 1, range(1, 11))
    old = Member(old_bus.subscription([names.frames], names.group, names.states)).until_received(10)
    outbox = old_bus.outbox(old.subscription, f"old-{names.group}")
    with stopped_before("commit_transaction") as (at_the_point, may_go_on):
        record = OutRecord(names.states, "camera-0", b"10")
        committing = threading.Thread(target=outbox.commit, args=([record], []), daemon=True)
        committing.start()
        assert at_the_point.wait(30)
        old.subscription.close()
        new = Member(new_bus.subscription([names.frames], names.group, names.states))
        new.until(lambda: "kafka-transactions.sh find-hanging" in caplog.text, "it is told")
        busy = old.deliveries[0].record.partition
        assert (names.frames, busy) not in new.claims
        may_go_on.set()
        committing.join(30)
        new.until_owning(4)
    assert caplog.text.count("find-hanging") == 1
    assert f"partition {busy} waits for a transaction in {names.states}, from offset 0 on" in caplog.text


@pytest.mark.parametrize("point", ["send_offsets", "commit_transaction"])
def test_a_worker_frozen_for_longer_than_its_session_has_no_effect_when_it_thaws(
    kafka: LocalKafka, make_bus: MakeBus, names: Names, point: str
) -> None:
    bus = make_bus()
    publish_frames(bus, names, KEYS, range(1, 101))
    with worker_process(command(kafka.bootstrap_servers, names, f"first-{names.group}", point, at_call=5)) as process:
        wait_for_line(process, "AT THE POINT")
        assert process.stdin is not None
        process.stdin.write("go on\n")
        process.send_signal(signal.SIGSTOP)
        process.stdin.flush()
        with running(Worker(bus, names, f"second-{names.group}")):
            assert wait_for_scores(bus, names, KEYS * 100, 60) == perfect(KEYS, 100)
            process.send_signal(signal.SIGCONT)
            wait_for_line(process, "LOST", "TRANSIENT")
            publish_frames(bus, names, KEYS, range(101, 151))
            found = wait_for_scores(bus, names, KEYS * 150, 60)
    assert found == perfect(KEYS, 150)


def test_a_broker_that_freezes_during_a_commit_leaves_all_or_nothing(
    kafka: LocalKafka, make_bus: MakeBus, names: Names
) -> None:
    bus = make_bus(commit_timeout_s=3.0, session_timeout_s=10.0)
    publish_frames(bus, names, KEYS, range(1, 11))
    member = Member(bus.subscription([names.frames], names.group, names.states)).until_received(KEYS * 10)
    outbox = bus.outbox(member.subscription, names.group)
    kafka.pause()
    with pytest.raises(TransientError, match="writer"):
        outbox.commit([OutRecord(names.scores, "camera-0", b"lost")] * 3, member.progress())
    kafka.resume()
    member.forget()
    member.subscription.rewind()
    member.until(lambda: len(member.assigned) == 4, "all claims again")
    committed = sum(assigned.committed_offset for assigned in member.assigned)
    found = wait_for_scores(bus, names, 3 if committed else 0, 60)
    values = [value for values in found.values() for value in values]
    assert (committed, values) in [(0, []), (KEYS * 10, ["lost"] * 3)]


def test_offsets_of_a_failed_transaction_do_not_slip_into_the_next(
    kafka: LocalKafka, make_bus: MakeBus, names: Names
) -> None:
    """The client keeps the offsets of a transaction whose offsets were refused, and sends them with the next."""
    bus = make_bus()
    publish_frames(bus, names, KEYS, range(1, 11))
    member = Member(bus.subscription([names.frames], names.group)).until_received(KEYS * 10)
    outbox = bus.outbox(member.subscription, names.group)
    inbox = member.subscription._inbox  # type: ignore[attr-defined]
    real = inbox._membership
    inbox._membership = real._replace(generation_id=real.generation_id + 7)
    kept, *refused = member.progress()
    assert refused
    with pytest.raises(TransientError, match="group has moved on"):
        outbox.commit([OutRecord(names.scores, "k", b"refused")], refused)
    inbox._membership = real
    outbox.commit([OutRecord(names.scores, "k", b"later")], [kept])
    member.forget()
    member.subscription.rewind()
    member.until(lambda: len(member.assigned) == 4, "all claims again")
    committed = {assigned.claim.partition: assigned.committed_offset for assigned in member.assigned}
    assert committed.pop(kept.claim.partition) == kept.next_offset
    assert set(committed.values()) == {0}
    assert wait_for_scores(bus, names, 1, 60) == {"k": ["later"]}


def test_a_transaction_that_lost_a_record_is_not_committed(kafka: LocalKafka, make_bus: MakeBus, names: Names) -> None:
    """The client would commit what is left of a transaction after a record of it has expired."""
    bus = make_bus(commit_timeout_s=20.0, transaction_timeout_s=20.0)
    subscription = bus.subscription([names.frames], names.group)
    outbox = bus.outbox(subscription, names.group)
    outbox.commit([OutRecord(names.scores, "k", b"first")], [])
    assert outbox._producer is not None
    outbox._producer._accumulator.config["delivery_timeout_ms"] = 1000
    kafka.pause()
    timer = threading.Timer(2.5, kafka.resume)
    timer.start()
    with pytest.raises(TransientError):
        outbox.commit([OutRecord(names.scores, "k", b"expires")], [])
    timer.join()
    outbox.commit([OutRecord(names.scores, "k", b"second")], [])
    assert wait_for_scores(bus, names, 2, 60) == {"k": ["first", "second"]}


def test_states_in_an_open_transaction_are_waited_for(kafka: LocalKafka, make_bus: MakeBus, names: Names) -> None:
    bus = make_bus()
    outbox = bus.outbox(bus.subscription([names.frames], names.group), names.group)
    outbox.commit([OutRecord(names.states, "camera-0", b"1")], [])
    reader = bus.reader([names.states], from_beginning=True)
    claim = Claim(names.frames, reader.read_to_end(30)[0].partition, 1)
    states = StateTopic(KafkaConnection(kafka.bootstrap_servers), names.states, bus._topics())
    with stopped_before("commit_transaction") as (at_the_point, may_go_on):
        records = [OutRecord(names.states, "camera-0", b"2")]
        committing = threading.Thread(target=outbox.commit, args=(records, []), daemon=True)
        committing.start()
        assert at_the_point.wait(30)
        assert claim not in states.newest({claim: None})
        may_go_on.set()
        committing.join(30)
    found: dict[Claim, StateTable] = {}
    assert wait_until(lambda: found.update(states.newest({claim: None})) or claim in found, 30)
    assert found[claim].values() == {"camera-0": b"2"}
    states.close()


def test_a_take_over_of_many_states_is_read_in_slices(
    kafka: LocalKafka, make_bus: MakeBus, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much a state topic holds, the poll thread comes back to its polls, and the newest values win."""
    bus, cameras = make_bus(), 50
    publisher = bus.publisher()
    for number in range(NUM_STATES):
        publisher.publish(OutRecord(names.states, f"camera-{number % cameras}", str(number).encode(), partition=1))
    assert publisher.flush(60)
    publisher.publish(OutRecord(names.states, "camera-7", None, partition=1))
    publisher.close(20)
    monkeypatch.setattr(handover, "_SLICE_S", 0.05)
    claim = Claim(names.frames, 1, 1)
    states = StateTopic(KafkaConnection(kafka.bootstrap_servers), names.states, bus._topics())
    found: dict[Claim, StateTable] = {}
    calls = 0
    while claim not in found:
        found.update(states.newest({claim: None}))
        calls += 1
        assert calls < 1000
    assert calls > 1, "one slice was not enough, and the next went on where it stopped"
    newest = {f"camera-{number % cameras}": str(number).encode() for number in range(NUM_STATES)}
    del newest["camera-7"]
    assert found[claim].values() == newest
    states.close()
