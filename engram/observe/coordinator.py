"""A coordinator as it is seen: what became of every proposal, and how the memory fares."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

import numpy as np
from prometheus_client.metrics_core import Metric

from engram.observe.families import Family, choices
from engram.observe.observed import stuck_for
from memory_store.bank import Bank
from memory_store.coordinator.coordinator import Coordinator
from memory_store.coordinator.guards import Reason, distance_to_anchor
from memory_store.coordinator.options import ChangeLimits
from memory_store.views import InitialBank
from schemas.messages import utc_now

LEADS = Family("gauge", "engram_coordinator_leader", "1 while it leads, 0 while it stands by")
RECEIVED = Family("counter", "engram_coordinator_proposals_received_total", "proposals, each time they came")
COMMITTED = Family("counter", "engram_coordinator_proposals_committed_total", "proposals that became part of a version")
REJECTED = Family(
    "counter", "engram_coordinator_proposals_rejected_total", "proposals without effect, by reason", ("reason",)
)
RETURNED = Family(
    "counter", "engram_coordinator_proposals_returned_total", "proposals given back undecided; they come again"
)
HELD = Family("gauge", "engram_coordinator_proposals_held", "proposals that wait")
CONFLICTING = Family(
    "counter", "engram_coordinator_proposals_conflicting_total", "proposals under an id that another had"
)
EVENTS = Family("counter", "engram_coordinator_events_received_total", "messages of events, each time they came")
REMEMBERED = Family("gauge", "engram_coordinator_events_remembered", "events that bear on proposals")
DEAD = Family("counter", "engram_coordinator_records_dead_lettered_total", "records given up, by reason", ("reason",))
NOT_RESTORED = Family(
    "counter", "engram_coordinator_banks_not_restored_total", "archived banks that were not believed", ("reason",)
)
COMMITS = Family("counter", "engram_coordinator_commits_total", "versions written")
VERDICTS = Family("counter", "engram_coordinator_verdicts_total", "what operators said, by outcome", ("outcome",))
UNSENT = Family("gauge", "engram_coordinator_records_unsent", "records that the log has not confirmed")
VERSION = Family("gauge", "engram_coordinator_bank_version", "newest version of a bank", ("bank",))
WRITTEN = Family(
    "gauge", "engram_coordinator_bank_committed_timestamp_seconds", "when that version was written", ("bank",)
)
FROZEN = Family("gauge", "engram_coordinator_bank_frozen", "1 while updates are switched off", ("bank",))
ITEMS = Family("gauge", "engram_coordinator_bank_items", "items of a bank", ("bank",))
COUNTED = Family(
    "gauge", "engram_coordinator_bank_normal_frames", "frames counted as normal, those of long ago as less", ("bank",)
)
DEAD_ITEMS = Family(
    "gauge", "engram_coordinator_bank_dead_items", "items as they were trained: nothing has ever taught them", ("bank",)
)
DRIFT = Family(
    "gauge", "engram_coordinator_bank_anchor_distance", "farthest item from its trained self, 0 to 2", ("bank",)
)
DRIFT_LIMIT = Family("gauge", "engram_coordinator_anchor_distance_limit", "no update may lead so far; absent = any")
MEAN_DRIFT = Family(
    "gauge",
    "engram_coordinator_bank_mean_anchor_distance",
    "mean distance of items from their trained selves",
    ("bank",),
)
DEAD_REASONS = (
    *("missing_header", "foreign", "invalid_message", "oversized_header", "future_version", "wrong_key"),
    *("bad_payload", "no_mac", "bad_mac"),
)
OUTCOMES = ("applied", "refused", "noted")
"""Shown with 0 before they happen: a series that begins at 1 has not grown, as Prometheus sees it."""
ROUNDING = 1e-5
"""An item that no query came near is made unit length again at each update, and moves by no more than this."""
FAMILIES = (
    *(LEADS, RECEIVED, COMMITTED, REJECTED, RETURNED, HELD, CONFLICTING, EVENTS, REMEMBERED, DEAD, NOT_RESTORED),
    *(COMMITS, VERDICTS, UNSENT, VERSION, WRITTEN, FROZEN, ITEMS, COUNTED, DEAD_ITEMS, DRIFT, MEAN_DRIFT, DRIFT_LIMIT),
)
"""received = committed + rejected + returned + held, at any moment."""


class SeenCoordinator:
    """See ``observed.Observed``.

    Args:
        coordinator: at work, or about to be.
        initial: the bundle's bank, from which drift is measured.
        limits: how far a bank may go.
        now: wall clock.
        monotonic: the coordinator's monotonic clock.
    """

    name = "coordinator"

    def __init__(
        self,
        coordinator: Coordinator,
        initial: InitialBank,
        limits: ChangeLimits,
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._coordinator = coordinator
        self._initial = initial
        self._limits = limits
        self._now = now
        self._monotonic = monotonic

    def metrics(self) -> Iterator[Metric]:
        """See ``Observed``."""
        seen = self._coordinator.snapshot()
        yield LEADS.one(seen.is_leader)
        yield RECEIVED.one(seen.received)
        yield COMMITTED.one(seen.committed)
        yield REJECTED.each(dict.fromkeys((*choices(Reason), *DEAD_REASONS), 0) | dict(seen.rejected))
        yield RETURNED.one(seen.returned)
        yield HELD.one(seen.held)
        yield CONFLICTING.one(seen.conflicting)
        yield EVENTS.one(seen.events)
        yield REMEMBERED.one(seen.events_remembered)
        yield DEAD.each(dict.fromkeys(DEAD_REASONS, 0) | dict(seen.dead_lettered))
        yield NOT_RESTORED.each(dict(seen.not_restored))
        yield COMMITS.one(seen.commits)
        yield VERDICTS.each(dict.fromkeys(OUTCOMES, 0) | dict(seen.verdicts))
        yield UNSENT.one(seen.waiting_to_send)
        yield from self._memory(seen.banks)

    def status(self) -> Mapping[str, object]:
        """See ``Observed``."""
        seen = self._coordinator.snapshot()
        return {
            "leads": seen.is_leader,
            "trouble": seen.trouble,
            "proposals": {
                "received": seen.received,
                "committed": seen.committed,
                "rejected": {reason: number for reason, number in seen.rejected.items() if number},
                "returned": seen.returned,
                "held": seen.held,
            },
            "commits": seen.commits,
            "banks": {bank_id: self._told(bank) for bank_id, bank in seen.banks.items()},
            "damaged_banks": dict(seen.damaged),
        }

    def stuck(self) -> tuple[str, ...]:
        """See ``Observed``."""
        return stuck_for("the coordinator's loop", self._coordinator.turned_at_s, self._monotonic())

    def unready(self) -> tuple[str, ...]:
        """See ``Observed``. Standing by is what a second coordinator is for."""
        trouble = self._coordinator.snapshot().trouble
        return () if trouble is None else (f"trying again: {trouble}",)

    def totals(self) -> Mapping[str, int]:
        """See ``Observed``."""
        seen = self._coordinator.snapshot()
        return {"received": seen.received, "committed": seen.committed, "rejected": seen.rejected.total()}

    def _memory(self, banks: Mapping[str, Bank]) -> Iterator[Metric]:
        yield VERSION.each({bank_id: bank.version for bank_id, bank in banks.items()})
        yield WRITTEN.each({bank_id: bank.committed_at.timestamp() for bank_id, bank in banks.items()})
        yield FROZEN.each({bank_id: bank.frozen for bank_id, bank in banks.items()})
        yield ITEMS.each({bank_id: len(bank.items_MC) for bank_id, bank in banks.items()})
        counted = {bank_id: bank.normality for bank_id, bank in banks.items()}
        yield COUNTED.each({bank_id: counts.num_frames for bank_id, counts in counted.items() if counts is not None})
        ours = {bank_id: bank for bank_id, bank in banks.items() if self._is_ours(bank)}
        yield DEAD_ITEMS.each({bank_id: self._num_dead(bank) for bank_id, bank in ours.items()})
        yield DRIFT.each({bank_id: self._drift(bank) for bank_id, bank in ours.items()})
        yield MEAN_DRIFT.each({bank_id: self._mean_drift(bank) for bank_id, bank in ours.items()})
        limit = self._limits.anchor_distance
        yield DRIFT_LIMIT.each({} if limit is None else {(): limit})

    def _told(self, bank: Bank) -> dict[str, object]:
        told: dict[str, object] = {
            "version": bank.version,
            "age_s": round((self._now() - bank.committed_at).total_seconds(), 1),
            "frozen": bank.frozen,
            "items": len(bank.items_MC),
        }
        if bank.normality is not None:
            told["normal_frames"] = round(bank.normality.num_frames, 1)
        if bank.learn_s is not None:
            told["learn_s"] = bank.learn_s
        if not self._is_ours(bank):
            return told | {"bundle": bank.bundle_digest[:12]}
        drift = {
            "anchor_distance": round(self._drift(bank), 5),
            "mean_anchor_distance": round(self._mean_drift(bank), 5),
        }
        return told | {"dead_items": self._num_dead(bank)} | drift

    def _is_ours(self, bank: Bank) -> bool:
        """Whether it has items that began as the bundle's."""
        ours = self._initial
        return bool(bank.items_MC.size) and (bank.bundle_digest, bank.items_MC.shape) == (
            ours.bundle_digest,
            ours.items_MC.shape,
        )

    def _num_dead(self, bank: Bank) -> int:
        moved_M = np.linalg.norm(bank.items_MC - self._initial.items_MC, axis=1)
        return int((moved_M <= ROUNDING).sum())

    def _drift(self, bank: Bank) -> float:
        return distance_to_anchor(bank.items_MC, self._initial.items_MC)

    def _mean_drift(self, bank: Bank) -> float:
        return float(np.linalg.norm(bank.items_MC - self._initial.items_MC, axis=1).mean())
