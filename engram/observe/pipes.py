"""What flows through the pipes of one process, for the console: by its parts."""

from collections.abc import Mapping

from console.plumbing import Account, Lag, Plumbing
from memory_store.coordinator.counts import CoordinatorSnapshot
from producers.producer import FeedSnapshot
from workers.worker import WorkerSnapshot


def pipes_of(
    feeds: Mapping[str, FeedSnapshot], worker: WorkerSnapshot, coordinator: CoordinatorSnapshot | None
) -> Plumbing:
    """Lag of the worker; an account for each camera, for the worker and for the coordinator, if there is one."""
    lags = [Lag("worker", worker.trouble or "at work", worker.lag, ())]
    accounts = [*(_of_camera(name, feed) for name, feed in sorted(feeds.items())), _of_worker(worker)]
    if coordinator is not None:
        state = coordinator.trouble or ("leads" if coordinator.is_leader else "stands by")
        lags.append(Lag("coordinator", state, coordinator.held, ()))
        accounts.append(_of_coordinator(coordinator))
    return Plumbing(lags, accounts)


def _of_camera(name: str, feed: FeedSnapshot) -> Account:
    counts = feed.counts
    parts = {
        "sent": counts.sent,
        "in flight": counts.in_flight,
        "on disk": counts.spooled,
        "sampled out": counts.sampled_out,
        **{f"lost: {cause}": number for cause, number in counts.dropped.items()},
    }
    return Account(f"frames of {name}", counts.captured + counts.recovered, parts)


def _of_worker(worker: WorkerSnapshot) -> Account:
    tally = worker.tally
    parts = {
        "scored": tally.scored,
        "filling a window": tally.warming,
        "ends of sessions": tally.session_ends,
        **{f"dead letter: {reason}": number for reason, number in tally.dead_lettered.items()},
        **{f"skipped: {reason}": number for reason, number in tally.skipped.items()},
    }
    return Account("records of the worker", tally.received, parts)


def _of_coordinator(seen: CoordinatorSnapshot) -> Account:
    parts = {
        "became part of a version": seen.committed,
        "wait": seen.held,
        "given back": seen.returned,
        **{f"rejected: {reason}": number for reason, number in seen.rejected.items() if number},
    }
    return Account("contributions to the memory", seen.received, parts)
