"""What bounds a worker: records lost, letters too large, names made up, cameras gone, a bus that does not open."""

import threading
from dataclasses import replace

import pytest

from inference.engine import engine_of
from memory_store.views import BankCache, BankView, InitialBank
from messaging.inprocess.bus import InProcessBus
from messaging.inprocess.members import InProcessOutbox
from messaging.ports import Claim, Intake, Lost, Subscription
from schemas.errors import TransientError
from schemas.messages import utc_now
from tests.integration.workers.conftest import Site, at_work, frame_record
from workers.worker import Worker


def states(site: Site) -> dict[bytes, bytes | None]:
    return {record.key or b"": record.value for record in site.records(site.topics.camera_states)}


def turns(worker: Worker, count: int) -> None:
    """A worker's turns, one by one, in this thread."""
    for _ in range(count):
        worker._guarded(worker._turn, threading.Event())


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def clocked(site: Site, **changes: object) -> tuple[Worker, Hand]:
    """A worker on a clock of its own, which commits at each turn."""
    hand = Hand()
    options = replace(site.options, commit_interval_s=0.0, **changes)  # type: ignore[arg-type]
    initial = InitialBank(site.bundle.digest, site.bundle.items_MC)
    engine = engine_of(site.bundle, device="cpu", threads=1)
    return Worker(site.bus, engine, BankCache(site.store, initial, refresh_s=0.05), options, utc_now, hand), hand


class Losing:
    """A subscription under which retention has deleted records once."""

    def __init__(self, worker: Worker, lost: tuple[int, int]) -> None:
        self._real, self._lost = worker._subscription, lost
        self._claims: list[Claim] = []

    def receive(self, max_records: int, timeout_s: float) -> Intake:
        intake = self._real.receive(max_records, timeout_s)
        if intake.assigned and not self._claims:
            self._claims = [each.claim for each in intake.assigned]
            return replace(intake, lost=(Lost(self._claims[0], *self._lost),))
        return intake

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


def losing(site: Site, first: int, count: int) -> tuple[Worker, Losing]:
    worker = site.worker(commit_interval_s=0.0)
    made = Losing(worker, (first, count))
    worker._subscription = made  # type: ignore[assignment]
    return worker, made


def test_lost_records_are_counted_though_nothing_else_comes(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    worker, _ = losing(site, 0, 100)
    turns(worker, 3)
    tally = worker.snapshot().tally
    assert (tally.lost, tally.received) == (100, 0)
    assert tally.balances()
    assert "the log deleted 100 records" in caplog.text


def test_lost_records_are_counted_once_however_often_they_are_told(site: Site) -> None:
    worker, made = losing(site, 0, 100)
    turns(worker, 2)
    (partition,) = [each for each in worker._partitions.values() if each.claim == made._claims[0]]
    assert partition.next_offset == 100
    worker._count_lost(Lost(made._claims[0], 40, 60))
    turns(worker, 1)
    assert worker.snapshot().tally.lost == 100
    worker._count_lost(Lost(made._claims[0], 90, 30))
    turns(worker, 1)
    assert worker.snapshot().tally.lost == 120


class Faltering:
    """Banks that are too old to go on with, once, when some output is in hand already."""

    def __init__(self, worker: Worker) -> None:
        self._real, self._worker, self.has_failed = worker._banks, worker, False

    def view(self, bank_id: str) -> BankView:
        if not self.has_failed and len(self._worker._output.records) > 8:
            self.has_failed = True
            raise TransientError("the copy is too old")
        return self._real.view(bank_id)

    def refresh(self) -> None:
        self._real.refresh()


def test_a_turn_that_fails_half_way_is_forgotten_and_done_again_without_a_double(site: Site) -> None:
    site.frames("ab", range(30))
    worker = site.worker(commit_interval_s=1e9)
    worker._banks = made = Faltering(worker)  # type: ignore[assignment]
    turns(worker, 20)
    assert made.has_failed
    worker._drain()
    scores = site.scores()
    assert len({(score.camera_id, score.frame_index) for score in scores}) == len(scores) == 60
    assert worker.snapshot().tally.received == 60


def test_names_that_are_made_up_cost_bounded_memory_and_no_camera_that_sends(site: Site) -> None:
    worker = site.worker(max_cameras=10, commit_interval_s=0.0)
    for index in range(40):
        site.publish(frame_record(site.topics.frames, f"made-up-{index}", 0))
        site.frames("a", range(index, index + 1))
        turns(worker, 2)
    turns(worker, 4)
    assert worker.snapshot().cameras <= 10
    assert [score.status for score in site.scores() if score.camera_id == "a"] == ["warming"] * 4 + ["scored"] * 36
    alive = [key for key, value in states(site).items() if value is not None]
    assert len(alive) <= 10
    assert b"a" in alive


def test_a_camera_that_comes_back_before_the_commit_keeps_its_state(site: Site) -> None:
    worker = site.worker(commit_interval_s=1e9)
    site.frames("a", range(6))
    turns(worker, 3)
    ((claim, camera),) = worker._cameras()
    worker._forget_camera(claim, camera, "camera_lost")
    site.frames("a", range(6, 9))
    turns(worker, 3)
    worker._commit()
    assert states(site)[b"a"] is not None


def test_a_silent_camera_holds_nothing_back_in_the_log(site: Site) -> None:
    worker, hand = clocked(site)
    site.frames("a", range(8))
    turns(worker, 4)
    ((claim, _),) = worker._cameras()
    assert worker._partitions[claim].progress().replay_from < worker._partitions[claim].next_offset
    hand.now_s = 31.0
    turns(worker, 3)
    progress = worker._partitions[claim].progress()
    assert progress.replay_from == progress.next_offset


class Away(InProcessBus):
    """A bus whose outbox cannot be opened at first."""

    is_away = True

    def outbox(self, subscription: Subscription, writer_id: str) -> InProcessOutbox:
        if self.is_away:
            raise TransientError("away")
        return super().outbox(subscription, writer_id)


def test_a_worker_that_cannot_be_made_leaves_the_group(site: Site) -> None:
    bus = Away()
    other = Site(bus, site.store, site.bundle, site.topics)
    with pytest.raises(TransientError):
        other.worker()
    bus.is_away = False
    other.frames("abcd", range(6))
    with at_work(other.worker()):
        assert len(other.wait_for_scores(24)) == 24
