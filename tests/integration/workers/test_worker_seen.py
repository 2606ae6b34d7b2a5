"""What is seen of a worker turn by turn: readiness, lag in records and seconds, warnings, fields of its log."""

import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from engram.logs import JsonFormatter
from engram.observe.observed import STUCK_S
from engram.observe.worker import SeenWorker
from inference.engine import engine_of
from memory_store.bank import Bank
from memory_store.stores.sqlite import SqliteStore
from memory_store.views import BankCache, InitialBank
from messaging.ports import OutRecord
from schemas.errors import TransientError
from schemas.messages import utc_now
from tests.integration.workers.conftest import Site, at_work
from tests.integration.workers.test_worker_shell import FakeClock, Fickle, by_hand, received, turn_until
from workers.worker import Worker


class MovingStore(SqliteStore):
    """A store that is away while the test says so."""

    is_away = False

    def read(self, bank_id: str) -> Bank | None:
        if self.is_away:
            raise TransientError("no store")
        return super().read(bank_id)


def seen(site: Site, worker: Worker, clock: FakeClock) -> SeenWorker:
    return SeenWorker(worker, worker._engine, worker._banks, "w1", utc_now, clock)


def value(view: SeenWorker, name: str, *labels: str) -> float:
    for metric in view.metrics():
        for sample in metric.samples:
            if (sample.name, *sample.labels.values()) == (name, *labels):
                return sample.value
    raise AssertionError(f"{name}{labels} is not there")


def test_a_worker_without_partitions_is_not_ready(site: Site) -> None:
    clock = FakeClock()
    worker = by_hand(site, clock)
    view = seen(site, worker, clock)
    assert view.unready() == ("no partition is assigned: the group is forming, or has more workers than partitions",)
    turn_until(worker, lambda: worker.snapshot().partitions == 4)
    assert view.unready() == ()
    assert view.status()["partitions"] == [0, 1, 2, 3]


def test_a_loop_that_has_not_turned_for_long_is_told(site: Site) -> None:
    clock = FakeClock()
    worker = by_hand(site, clock)
    view = seen(site, worker, clock)
    turn_until(worker, lambda: worker.snapshot().partitions == 4)
    assert view.stuck() == ()
    clock.now_s += STUCK_S
    assert "the worker's loop has not come round" in view.stuck()[0]
    worker._turn()
    assert view.stuck() == ()


def test_a_commit_that_fails_is_a_trouble_until_the_log_answers(site: Site) -> None:
    clock = FakeClock()
    worker = by_hand(site, clock)
    view, faults = seen(site, worker, clock), [TransientError("the broker is away")]

    def fail(records: Sequence[OutRecord]) -> None:
        if faults:
            raise faults.pop()

    worker._outbox = Fickle(worker._outbox, fail)
    site.frames("a", range(6))
    turn_until(worker, lambda: not faults)
    assert view.unready()[0] == "starting over from the last commit: the broker is away"
    turn_until(worker, received(worker, 6))
    assert view.unready() == ()
    assert value(view, "engram_worker_records_received_total") == 6


def test_a_store_that_goes_away_is_told_with_the_age_of_the_copy(site: Site, tmp_path: Path) -> None:
    clock = FakeClock()
    moving = MovingStore(tmp_path / "moving.db")
    initial = InitialBank(site.bundle.digest, site.bundle.items_MC)
    engine = engine_of(site.bundle, device="cpu", threads=1)
    banks = BankCache(moving, initial, refresh_s=0.0, clock=clock)
    worker = Worker(site.bus, engine, banks, replace(site.options, commit_interval_s=0.0), utc_now, clock)
    view = SeenWorker(worker, engine, banks, "w1", utc_now, clock)
    site.frames("a", range(6))
    turn_until(worker, received(worker, 6))
    assert view.unready() == ()
    assert value(view, "engram_worker_bank_state", "shared", "initial") == 1
    moving.is_away = True
    clock.now_s += 50
    site.frames("a", range(6, 8))
    turn_until(worker, received(worker, 8))
    assert view.unready() == ("bank shared: the store is away, the copy may be old",)
    assert value(view, "engram_worker_bank_copy_age_seconds", "shared") >= 50
    assert value(view, "engram_worker_bank_state", "shared", "stale") == 1
    moving.close()


def test_a_worker_with_nothing_to_score_keeps_its_copy_fresh(site: Site) -> None:
    clock = FakeClock()
    engine = engine_of(site.bundle, device="cpu", threads=1)
    banks = BankCache(site.store, InitialBank(site.bundle.digest, site.bundle.items_MC), clock=clock)
    worker = Worker(site.bus, engine, banks, replace(site.options, commit_interval_s=0.0), utc_now, clock)
    view = SeenWorker(worker, engine, banks, "w1", utc_now, clock)
    site.frames("a", range(6))
    turn_until(worker, received(worker, 6))
    clock.now_s += 50
    worker._turn()
    assert value(view, "engram_worker_bank_copy_age_seconds", "shared") < 1


def test_a_worker_that_falls_behind_says_so_in_metrics_and_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "workers.pace")
    clock = FakeClock()
    began = site.bus._shared.clock  # type: ignore[attr-defined]
    site.bus._shared.clock = lambda: began() - 224  # type: ignore[attr-defined]
    site.frames("ab", range(20))
    worker = by_hand(site, clock, max_batch=4, warn_late_s=10.0)
    worker.pace.began_at_s = clock()
    view = seen(site, worker, clock)
    turn_until(worker, received(worker, 4))
    waiting = 40 - worker.snapshot().tally.received
    assert 0 < value(view, "engram_worker_lag_records") <= waiting
    assert value(view, "engram_worker_lag_seconds") >= 224
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "workers.pace"]
    assert int(warning.split()[2]) >= 224
    assert "add workers" in warning
    turn_until(worker, received(worker, 40))
    worker._turn()
    assert value(view, "engram_worker_lag_records") == 0
    assert value(view, "engram_worker_lag_seconds") == 0
    told = [(record.levelname, record.getMessage()[:24]) for record in caplog.records if record.name == "workers.pace"]
    assert told[1:] == [("INFO", "scores are no longer lat")]


def test_cameras_are_shown_with_where_they_stand(site: Site) -> None:
    site.frames("ab", range(6))
    with at_work(worker := site.worker()):
        site.wait_for_scores(12)
        view = SeenWorker(worker, worker._engine, worker._banks, "w1")
        cameras = view.status()["cameras"]
        newest = value(view, "engram_worker_camera_frame_timestamp_seconds", "a")
    assert isinstance(cameras, dict)
    assert cameras["a"]["scored"] == 2
    assert cameras["a"]["newest_frame_at"] == "2026-01-05T10:00:00.500000+00:00"
    assert newest == pytest.approx(1767607200.5)


def test_lines_about_a_partition_name_it_for_collectors(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = FakeClock()
    worker = by_hand(site, clock)
    turn_until(worker, lambda: worker.snapshot().partitions == 4)
    formatter = JsonFormatter({"worker": "w1"})
    entries = [json.loads(formatter.format(record)) for record in caplog.records if "is ours" in record.getMessage()]
    assert sorted(entry["partition"] for entry in entries) == [0, 1, 2, 3]
    assert {entry["worker"] for entry in entries} == {"w1"}


def test_many_may_look_while_it_works(site: Site) -> None:
    """Who looks meets no fault and never a count that does not balance."""
    stop, faults, looks = threading.Event(), [], 0

    def look(view: SeenWorker, worker: Worker) -> None:
        nonlocal looks
        while not stop.is_set():
            try:
                assert worker.snapshot().tally.balances()
                list(view.metrics())
                view.status()
                looks += 1
            except Exception as error:
                faults.append(error)
                return

    with at_work(worker := site.worker()):
        view = SeenWorker(worker, worker._engine, worker._banks, "w1")
        threads = [threading.Thread(target=look, args=(view, worker)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for camera in "abcdefgh":
            site.frames(camera, range(20))
            site.ends(camera, 20)
        site.wait_for_scores(160)
        stop.set()
        for thread in threads:
            thread.join(60)
    assert not faults
    assert looks > 0
