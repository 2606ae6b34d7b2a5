"""What a next owner must know of what the one before it did, though no record says so."""

from collections.abc import Sequence

import pytest

from memory_store.stores.sqlite import SqliteStore
from messaging.inprocess.bus import InProcessBus
from schemas.topics import TopicNames
from tests.integration.workers.conftest import PARTITIONS, Site
from tests.integration.workers.test_worker_bounds import clocked, states, turns
from tests.small_bundle import small_bundle
from workers.worker import Worker


def die(worker: Worker) -> None:
    """As SIGKILL leaves it: what the broker notices, and nothing more."""
    for part in (worker._outbox, worker._subscription, worker._decoder):
        part.close()


def neighbours(like: Site) -> str:
    """Two cameras whose frames share a partition."""
    site = Site(InProcessBus(), like.store, like.bundle, like.topics)
    names = "pqrstu"
    site.ends(names, 0)
    by_partition: Sequence[list[str]] = [[] for _ in range(PARTITIONS)]
    for record in site.records(site.topics.frames):
        by_partition[record.partition].append((record.key or b"").decode())
    site.bus.close()
    return "".join(next(names for names in by_partition if len(names) > 1)[:2])


@pytest.mark.parametrize("model", ["mnad-reconstruction", "mnad-prediction"])
def test_a_silence_that_one_worker_saw_is_none_that_the_next_one_bridges(store: SqliteStore, model: str) -> None:
    def scores(dies: bool) -> list[float | None]:
        site = Site(InProcessBus(), store, small_bundle(model=model), TopicNames.with_prefix(""))
        both = neighbours(site)
        site.frames(both[0], range(2))  # its window is not full, so all behind it is read again
        site.frames(both[1], range(2, 20))
        worker, hand = clocked(site, max_wait_s=0.0, camera_timeout_s=30.0)
        turns(worker, 6)
        site.frames(both[0], range(2, 3))
        hand.now_s += 20.0
        turns(worker, 2)
        hand.now_s += 20.0
        turns(worker, 2)  # as long as the other was silent for
        assert [camera.is_silent for camera in worker.cameras()] == [False, True]
        if dies:
            die(worker)
            worker, _ = clocked(site, max_wait_s=0.0, worker_id="w2")
        site.frames(both[1], range(20, 30))
        turns(worker, 10)
        die(worker)
        found = [score for score in site.scores() if score.camera_id == both[1]]
        assert [score.frame_index for score in found] == list(range(2, 30))
        site.bus.close()
        return [score.anomaly_score for score in found]

    assert scores(dies=True) == pytest.approx(scores(dies=False), abs=1e-5)


def test_a_replay_that_was_taken_and_not_handled_is_read_again_by_the_next_owner(site: Site) -> None:
    """A commit that comes between must not cut it short: here of a camera that is one too many."""
    both = neighbours(site)
    site.frames(both, range(10))
    first, _ = clocked(site, max_wait_s=0.0)
    turns(first, 12)
    die(first)
    second, _ = clocked(site, max_wait_s=0.0, worker_id="w2", max_cameras=1, max_batch=50)
    turns(second, 1)
    die(second)
    (left,) = (key.decode() for key, state in states(site).items() if state is not None)
    third, _ = clocked(site, max_wait_s=0.0, worker_id="w3")
    site.frames(left, range(10, 11))
    turns(third, 6)
    die(third)
    assert [score.status for score in site.scores() if score.frame_index == 10] == ["scored"]
