"""Every event that starts ends exactly once, under the same id, whoever dies in between."""

import json
import threading

from messaging.ports import Lost, OutRecord
from schemas.messages import AnomalyEvent
from tests.integration.workers.conftest import Site, at_work, wait_for
from workers.worker import Worker

OPEN_AT = 85
"""Frames of ``jpeg``: the noise that makes an event lasts from 70 to 89."""


def turns_until(worker: Worker, scored: int) -> None:
    """Turn by turn, in this thread."""
    for _ in range(500):
        if worker.snapshot().tally.scored + worker.snapshot().tally.warming >= scored:
            return
        worker._guarded(worker._turn, threading.Event())
    raise AssertionError(f"{scored} frames must be scored, got {worker.snapshot().tally}")


def ends(site: Site) -> list[AnomalyEvent]:
    return [event for event in site.events() if event.data.phase == "end"]


def only_event(site: Site) -> list[AnomalyEvent]:
    """The messages of the one event there is, which must be whole."""
    events = site.events()
    assert len({event.data.event_id for event in events}) == 1
    assert [int(event.sequence) for event in events] == list(range(len(events)))
    phases = [event.data.phase for event in events]
    assert (phases[0], phases[-1]) == ("start", "end")
    assert set(phases[1:-1]) <= {"update"}
    return events


def left_with_an_open_event(site: Site) -> None:
    site.frames("a", range(OPEN_AT))
    with at_work(site.worker()):
        site.wait_for_scores(OPEN_AT)
    assert site.events()
    assert not ends(site)


def test_a_worker_killed_with_output_in_hand_costs_an_event_nothing(site: Site) -> None:
    site.frames("a", range(80))
    first = site.worker(commit_interval_s=0.0)
    turns_until(first, 80)
    first._committed_at_s = float("inf")  # whatever it does from here on, it does not live to commit it
    site.frames("a", range(80, 120))
    for _ in range(10):
        first._guarded(first._turn, threading.Event())
    assert first._output.records
    first._subscription.close()
    with at_work(site.worker(worker_id="w2")):
        site.wait_for_scores(120)
        wait_for(lambda: ends(site), bool)
    events = only_event(site)
    assert events[0].data.provenance.worker_id == "w1"
    assert (events[-1].data.provenance.worker_id, events[-1].data.end_reason) == ("w2", "cleared")
    assert events[-1].data.thumbnail is not None


def test_an_event_in_a_state_that_cannot_be_used_ends_once_as_the_workers_loss(site: Site) -> None:
    """As when a newer Engram wrote the state, and an older one takes over."""
    left_with_an_open_event(site)
    state = site.records(site.topics.camera_states)[-1]
    newer = json.loads(state.value or b"") | {"schema_version": 2}
    record = OutRecord(site.topics.camera_states, "a", json.dumps(newer).encode(), partition=state.partition)
    site.publish(record)
    for worker_id in ("w2", "w3"):
        with at_work(site.worker(worker_id=worker_id)):
            wait_for(lambda: ends(site), bool)
    events = only_event(site)
    assert (events[-1].data.end_reason, events[-1].data.provenance.worker_id) == ("worker_lost", "w2")
    assert site.records(site.topics.camera_states)[-1].value is None, "nobody must end it again"


def test_an_event_that_nobody_read_on_in_time_is_the_workers_loss(site: Site) -> None:
    left_with_an_open_event(site)
    worker = site.worker(worker_id="w2", commit_interval_s=0.0)
    turns_until(worker, 0)
    for _ in range(3):
        worker._guarded(worker._turn, threading.Event())
    (partition,) = [each for each in worker._partitions.values() if each.cameras]
    worker._count_lost(Lost(partition.claim, partition.next_offset, 300))
    site.frames("a", range(400, 410))
    turns_until(worker, 10)
    worker._commit()
    (end,) = ends(site)
    assert (end.data.end_reason, end.data.event_id) == ("worker_lost", site.events()[0].data.event_id)
    assert end.data.frames.last < OPEN_AT
    worker._subscription.close()
