"""What flows through the pipes of one process, for the console: by its parts."""

from collections.abc import Mapping

from console.plumbing import Account, Lag, Plumbing, frames_account
from memory_store.coordinator.counts import CoordinatorSnapshot
from producers.producer import FeedSnapshot
from producers.reports import tally_of
from workers.worker import WorkerSnapshot


def pipes_of(
    feeds: Mapping[str, FeedSnapshot], worker: WorkerSnapshot, coordinator: CoordinatorSnapshot | None
) -> Plumbing:
    """Lag of the worker; an account for each camera, for the worker and for the coordinator, if there is one."""
    lags = [Lag("worker", worker.trouble or "at work", worker.lag, ())]
    cameras = (frames_account(f"frames of {name}", tally_of(feed.counts)) for name, feed in sorted(feeds.items()))
    accounts = [*cameras, _of_worker(worker)]
    if coordinator is not None:
        state = coordinator.trouble or ("leads" if coordinator.is_leader else "stands by")
        lags.append(Lag("coordinator", state, coordinator.held, ()))
        accounts.append(_of_coordinator(coordinator))
    return Plumbing(lags, accounts)


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
