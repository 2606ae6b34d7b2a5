"""The loop around the windows, turn by turn, with a clock of the test's own: failures, silence, revoked partitions."""

import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory_store.stores.sqlite import SqliteStore
from messaging.inprocess.bus import InProcessBus
from messaging.ports import Claim, Intake, Lost, Outbox, OutRecord, Progress, TooLargeError
from messaging.sealing import MAC, SealedBus, Seals
from schemas.codec import HEADER
from schemas.errors import FatalError, OwnershipLostError, TransientError
from schemas.messages import utc_now
from schemas.topics import TopicNames
from tests.integration.workers.conftest import Site, at_work, frame_record, header, numbers
from tests.small_bundle import jpeg, small_bundle
from workers.worker import Worker

MANY_TURNS = 200


@dataclass
class FakeClock:
    """Seconds that go by when the test says so, and a little with each look, so that waits come to an end."""

    now_s: float = 1e9

    def __call__(self) -> float:
        self.now_s += 0.001
        return self.now_s


class Fickle:
    """A real outbox before which something goes wrong."""

    def __init__(self, real: Outbox, fault: Callable[[Sequence[OutRecord]], None]) -> None:
        self._real, self._fault = real, fault

    def commit(self, records: Sequence[OutRecord], progress: Sequence[Progress]) -> None:
        self._fault(records)
        self._real.commit(records, progress)

    def close(self) -> None:
        self._real.close()


def by_hand(site: Site, clock: FakeClock, **changes: object) -> Worker:
    worker = site.worker(commit_interval_s=0.0, **changes)
    worker._monotonic = clock
    return worker


def turn_until(worker: Worker, done: Callable[[], bool]) -> None:
    stop = threading.Event()
    stop.set()  # no waiting between attempts
    for _ in range(MANY_TURNS):
        if done():
            return
        worker._guarded(worker._turn, stop)
    pytest.fail("not done after many turns")


def received(worker: Worker, count: int) -> Callable[[], bool]:
    return lambda: worker.snapshot().tally.received >= count


def test_after_a_failed_commit_everything_is_read_again_and_nothing_is_doubled(site: Site) -> None:
    site.frames("a", range(12))
    worker, failures = by_hand(site, FakeClock()), [TransientError("away")] * 3

    def fail(_records: Sequence[OutRecord]) -> None:
        if failures:
            raise failures.pop()

    worker._outbox = Fickle(worker._outbox, fail)
    turn_until(worker, received(worker, 12))
    assert not failures
    assert len(numbers(site.scores())) == 12  # ``numbers`` refuses a frame that was scored twice
    assert worker.snapshot().tally.received == 12


def test_what_is_in_hand_at_the_end_is_committed(site: Site) -> None:
    site.frames("a", range(12))
    worker = site.worker(commit_interval_s=1e9)
    with at_work(worker):
        while worker._output.tally.received < 8:
            pass
    assert len(site.scores()) >= 8
    assert worker.snapshot().tally.balances()


def test_output_of_a_partition_that_went_away_is_not_published(site: Site) -> None:
    site.frames("a", range(6))
    worker = site.worker(commit_interval_s=1e9)
    stop = threading.Event()
    while worker._output.tally.received < 6:
        worker._guarded(worker._turn, stop)
    (claim,) = worker._output.claims
    with pytest.raises(OwnershipLostError):
        worker._rebalance(Intake(revoked=(claim,)))
    assert claim not in worker._partitions
    worker._rebalance(Intake(revoked=(Claim("frames", 99, 1),)))  # one that nothing was computed for is no loss
    assert not site.scores()


def test_a_record_that_the_topic_does_not_take_is_left_out_not_met_again(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.frames("a", range(8))
    worker = by_hand(site, FakeClock())
    refused: list[OutRecord] = []

    def refuse(records: Sequence[OutRecord]) -> None:
        scores = [record for record in records if record.topic == site.topics.frame_scores]
        if scores and not refused:
            refused.append(max(records, key=lambda record: len(record.value or b"")))
            raise TooLargeError(refused[0], "no")

    worker._outbox = Fickle(worker._outbox, refuse)
    turn_until(worker, received(worker, 8))
    assert len(refused) == 1
    assert "left out" in caplog.text
    assert worker.snapshot().tally.balances()


def test_states_and_tombstones_stay_with_the_partition_of_the_frames(site: Site) -> None:
    clock = FakeClock()
    worker = by_hand(site, clock)
    partitions = range(site.bus.existing_topics()[site.topics.frames])
    for index in range(6):  # one key in every partition, as while topics grow
        site.publish(*(replace(frame_record(site.topics.frames, "a", index), partition=each) for each in partitions))
    turn_until(worker, received(worker, 6 * len(partitions)))
    states = [(record.partition, record.key) for record in site.records(site.topics.camera_states) if record.value]
    assert set(states) == {(each, b"a") for each in partitions}
    clock.now_s += 3700
    turn_until(worker, lambda: worker.snapshot().cameras == 0)
    newest = {record.partition: record.value for record in site.records(site.topics.camera_states)}
    assert newest == dict.fromkeys(partitions)


def test_a_silent_camera_is_lost_then_forgotten(site: Site) -> None:
    clock = FakeClock()
    worker = by_hand(site, clock)
    site.frames("a", range(100))  # ends within the noise of frames 70 to 89
    site.frames("b", range(6))
    turn_until(worker, received(worker, 106))
    cameras = {camera.camera_id: (claim, camera) for claim, camera in worker._cameras()}
    clock.now_s += 31
    turn_until(worker, lambda: all(camera.is_silent for _, camera in cameras.values()))
    for claim, camera in cameras.values():
        assert camera.window.needed_from() is None, "a camera that is gone must not hold the replay back"
        assert camera.smoothing is None
        progress = worker._partitions[claim].progress()
        assert progress.replay_from == progress.next_offset
    clock.now_s += 3600
    turn_until(worker, lambda: worker.snapshot().cameras == 0)
    states = {record.key: record.value for record in site.records(site.topics.camera_states)}
    assert states == {b"a": None, b"b": None}
    site.frames("a", range(100, 106))
    turn_until(worker, received(worker, 112))
    assert len(numbers(site.scores())) == 112


def test_a_slow_worker_does_not_take_its_delay_for_a_cameras(site: Site) -> None:
    clock = FakeClock()
    worker = by_hand(site, clock, max_batch=1)
    site.frames("a", range(90))
    while worker.snapshot().tally.received < 88:
        clock.now_s += 100  # every turn takes longer than a camera may be silent
        worker._guarded(worker._turn, threading.Event())
    assert all(event.data.end_reason != "camera_lost" for event in site.events())
    assert not any(camera.is_silent for _, camera in worker._cameras())


def test_records_that_the_log_deleted_are_counted_and_told(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    worker = by_hand(site, FakeClock())
    worker._guarded(worker._turn, threading.Event())
    claim = next(iter(worker._partitions))
    worker._accept(Intake(lost=(Lost(claim, 40, 100), Lost(Claim("frames", 0, 99), 0, 7))))
    assert worker._output.tally.lost == 100
    assert "deleted 100 records from offset 40" in caplog.text


def test_two_senders_of_one_name_are_told_at_once_and_not_every_frame(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    worker = by_hand(site, clock)
    later = timedelta(seconds=1)
    for index in range(20):
        site.publish(frame_record(site.topics.frames, "a", index + 11, "first"))
        second = header("a", index, "second")
        told = second.model_copy(update={"captured_at": second.captured_at + later}).model_dump_json().encode()
        site.publish(OutRecord(site.topics.frames, "a", jpeg("a", index), ((HEADER, told),)))
    turn_until(worker, received(worker, 40))
    tally = worker.snapshot().tally
    assert tally.skipped["twin_session"] + tally.skipped["old_session"] == 19
    assert tally.skipped["twin_session"] >= 18
    warnings = [record.message for record in caplog.records if "send at the same time" in record.message]
    assert len(warnings) == 1
    assert "first" in warnings[0]
    assert "second" in warnings[0]


def test_counts_are_told_once_a_minute(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "workers.worker")
    clock = FakeClock()
    worker = by_hand(site, clock)
    worker._told_at_s = clock.now_s
    site.frames("a", range(6))
    turn_until(worker, received(worker, 6))
    assert "6 received" not in caplog.text
    clock.now_s += 61
    worker._guarded(worker._turn, threading.Event())
    worker._guarded(worker._turn, threading.Event())
    lines = [record.message for record in caplog.records if "records behind" in record.message]
    assert len(lines) == 1
    assert "6 received, 2 scored, 4 warming" in lines[0]
    assert "1 cameras" in lines[0]


def test_counts_of_a_camera_go_on_with_its_next_owner(site: Site) -> None:
    for last in (6, 12):
        site.frames("a", range(last - 6, last))
        site.publish(frame_record(site.topics.frames, "a", last - 1))  # a repeat
        worker = site.worker()
        with at_work(worker):
            site.wait_for_scores(last)
            while worker.snapshot().tally.received < 7:
                pass
    newest = {record.key: record.value for record in site.records(site.topics.camera_states)}
    counts = json.loads(newest[b"a"] or b"")["counts"]
    assert (counts["received"], counts["skipped"]) == (14, {"duplicate": 2})
    assert counts["scored"] + counts["warming"] == 12


def test_where_workers_have_keys_a_forged_state_costs_a_camera_nothing_but_its_window(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    within = site.bus
    site.bus = SealedBus(within, Seals(lambda: f"worker one {'11' * 32}", {site.topics.camera_states: "worker"}))
    site.frames("ab", range(6))
    with at_work(site.worker()):
        site.wait_for_scores(12)
    honest = {record.key: record for record in site.records(site.topics.camera_states)}
    assert {record.flaw for record in honest.values()} == {None}
    assert all(record.header(MAC) for record in honest.values())
    state = json.loads(honest[b"a"].value or b"")
    state["cursor"] |= {"last_frame": 10**9, "last_at": utc_now().isoformat()}
    within.publisher().publish(
        OutRecord(site.topics.camera_states, "a", json.dumps(state).encode(), partition=honest[b"a"].partition)
    )
    site.frames("ab", range(6, 12))
    heir = site.worker()
    with at_work(heir):
        site.wait_for_scores(24)
    assert heir.snapshot().tally.skipped == {}
    assert (
        "1 states have no MAC by a key that this worker holds (bad_state), their cameras start anew: a" in caplog.text
    )


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted(header("a", 0, "s1").model_dump())


@st.composite
def anything(draw: st.DrawFn) -> tuple[str, bytes | None, tuple[tuple[str, bytes], ...]]:
    """Key, value, headers: a frame, a frame with something wrong, or nothing like a frame."""
    index, key = draw(st.integers(0, 9)), draw(st.sampled_from(["a", "b", "x", "", "k" * 5000]))
    value = draw(st.sampled_from([jpeg("a", index), b"", None, b"\xff\xd8\xff", jpeg("a", index)[:200]]) | st.binary())
    fields = json.loads(header(draw(st.sampled_from("ab")), index, "s1").model_dump_json())
    if draw(st.booleans()):
        fields[draw(st.sampled_from(FIELDS))] = draw(ANY_JSON)
    told = draw(st.sampled_from([json.dumps(fields).encode(), b"[" * 1200, b"", b"\xff"]) | st.binary(max_size=30))
    name = draw(st.sampled_from([HEADER, HEADER, HEADER, "other", "\u00e9", ""]))
    return key, value, ((name, told),)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    records=st.lists(anything(), max_size=12),
    states=st.lists(st.tuples(st.sampled_from("ab"), ANY_JSON), max_size=3),
)
def test_whatever_comes_is_scored_skipped_or_buried_and_the_worker_lives(
    records: list[tuple[str, bytes | None, tuple[tuple[str, bytes], ...]]],
    states: list[tuple[str, object]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    store = SqliteStore(tmp_path_factory.mktemp("any") / "banks.db")
    bus = InProcessBus()
    site = Site(bus, store, small_bundle(), TopicNames.with_prefix(""))
    site.publish(*(OutRecord(site.topics.camera_states, key, json.dumps(state).encode()) for key, state in states))
    site.publish(*(OutRecord(site.topics.frames, key, value, headers) for key, value, headers in records))
    worker = by_hand(site, FakeClock())
    turn_until(worker, received(worker, len(records)))
    tally = worker.snapshot().tally
    assert tally.balances()
    assert tally.scored + tally.warming == len(site.scores())
    assert tally.dead_lettered.total() == len(site.records(site.topics.dead_letters))
    worker._guarded(worker._drain, threading.Event())
    bus.close()
    store.close()


def test_the_wall_clock_says_what_is_too_old(site: Site) -> None:
    site.frames("a", range(6))
    worker = by_hand(site, FakeClock(), max_staleness_s=1e15)
    worker._clock = lambda: replace_year(utc_now(), 2150)
    turn_until(worker, received(worker, 6))
    assert not worker.snapshot().tally.skipped


def replace_year(now: datetime, year: int) -> datetime:
    return now.replace(year=year, day=1)


@pytest.mark.parametrize(("error", "counts"), [(ValueError("a fault of ours"), True), (FatalError("a setting"), False)])
def test_a_fault_counts_against_the_record_in_hand_and_a_setting_does_not(
    site: Site, error: Exception, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.frames("a", range(1))
    worker, told = site.worker(), []

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(worker, "_process", fail)
    monkeypatch.setattr(worker._subscription, "abandon", lambda: told.append(True))
    with pytest.raises(type(error)):
        worker.run(threading.Event())
    assert bool(told) == counts
