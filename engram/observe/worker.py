"""A worker as it is seen: what became of every record, how far it is behind, how fast and how late, its banks."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from prometheus_client.metrics_core import Metric

from engram.observe.families import Family, choices
from engram.observe.observed import stuck_for
from inference.engine import Engine
from memory_store.views import BankCache
from schemas.messages import EventPhase, MemoryState, utc_now
from workers.camera import CameraView, SkipReason
from workers.pace import Histogram
from workers.worker import Worker, WorkerSnapshot

INFO = Family("gauge", "engram_worker_info", "1; which network, computed by what", ("worker", "bundle", "backend"))
RECEIVED = Family("counter", "engram_worker_records_received_total", "records taken and brought to an end")
SCORED = Family("counter", "engram_worker_frames_scored_total", "frames with a score")
LEARNING = Family(
    "counter", "engram_worker_frames_learning_total", "scored frames of cameras too little known to be judged"
)
WARMING = Family("counter", "engram_worker_frames_warming_total", "frames that filled a window and have no score")
ENDS = Family("counter", "engram_worker_session_ends_total", "ends of sessions")
DEAD = Family("counter", "engram_worker_records_dead_lettered_total", "records given up, by reason", ("reason",))
SKIPPED = Family("counter", "engram_worker_records_skipped_total", "records passed over, by reason", ("reason",))
LOST = Family("counter", "engram_worker_records_lost_total", "records that the log deleted before they were read")
EVENTS = Family("counter", "engram_worker_event_messages_total", "messages of events, by phase", ("phase",))
PROPOSALS = Family("counter", "engram_worker_proposals_total", "contributions to the memory, by outcome", ("outcome",))
UNTAUGHT = Family(
    "counter", "engram_worker_frames_untaught_total", "scored frames that the memory learned nothing from", ("reason",)
)
LAG = Family("gauge", "engram_worker_lag_records", "records that wait in the worker's partitions")
LAG_S = Family("gauge", "engram_worker_lag_seconds", "how late scores are against the log; 0 while nothing waits")
PARTITIONS = Family("gauge", "engram_worker_partitions", "partitions of frames held")
CAMERAS = Family("gauge", "engram_worker_cameras", "cameras held")
NEWEST = Family(
    "gauge", "engram_worker_camera_frame_timestamp_seconds", "capture time of the newest frame handled", ("camera",)
)
KNOWN = Family("gauge", "engram_worker_camera_known_seconds", "normal video that the camera is judged by", ("camera",))
EVENT_S = Family(
    "gauge", "engram_worker_camera_event_seconds", "since its open event began; 0 while none is open", ("camera",)
)
BATCH = Family("histogram", "engram_worker_batch_frames", "clips that went through the network at once")
NETWORK = Family("histogram", "engram_worker_network_seconds", "time of the network for one batch")
LATENCY = Family(
    "histogram", "engram_worker_capture_to_score_seconds", "from a frame's capture until its score is durable"
)
VERSION = Family("gauge", "engram_worker_bank_version", "version of the worker's copy of a bank", ("bank",))
WRITTEN = Family("gauge", "engram_worker_bank_committed_timestamp_seconds", "when that version was written", ("bank",))
COPY_AGE = Family(
    "gauge", "engram_worker_bank_copy_age_seconds", "time since the store last confirmed the copy", ("bank",)
)
STATE = Family("gauge", "engram_worker_bank_state", "1 for the state that the copy is in", ("bank", "state"))
DEAD_REASONS = (
    *("missing_header", "foreign", "invalid_message", "oversized_header", "future_version", "wrong_key", "empty"),
    *("not_jpeg", "truncated", "undecodable", "oversized", "too_much_work", "decode_timeout", "not_finite", "poison"),
    *("no_mac", "bad_mac"),
)
"""Shown with 0 before they happen: a series that begins at 1 has not grown, as Prometheus sees it."""
FAMILIES = (
    *(
        INFO,
        RECEIVED,
        SCORED,
        LEARNING,
        WARMING,
        ENDS,
        DEAD,
        SKIPPED,
        LOST,
        EVENTS,
        PROPOSALS,
        UNTAUGHT,
        LAG,
        LAG_S,
        PARTITIONS,
        CAMERAS,
    ),
    *(NEWEST, KNOWN, EVENT_S, BATCH, NETWORK, LATENCY, VERSION, WRITTEN, COPY_AGE, STATE),
)
"""received = scored + warming + session ends + dead-lettered + skipped, at any moment; only what is durable counts."""


class SeenWorker:
    """See ``observed.Observed``.

    Args:
        worker: at work, or about to be.
        engine: what it measures with.
        banks: its copies of banks.
        worker_id: its name.
        now: wall clock.
        monotonic: the worker's monotonic clock.
    """

    name = "worker"

    def __init__(
        self,
        worker: Worker,
        engine: Engine,
        banks: BankCache,
        worker_id: str,
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._worker = worker
        self._bundle, self._backend = engine.bundle.digest[:12], engine.backend
        self._banks = banks
        self._worker_id = worker_id
        self._now = now
        self._monotonic = monotonic

    def metrics(self) -> Iterator[Metric]:
        """See ``Observed``."""
        seen, pace = self._worker.snapshot(), self._worker.pace
        yield INFO.each({(self._worker_id, self._bundle, self._backend): 1})
        yield from _counters(seen)
        yield LEARNING.one(pace.num_learning)
        yield LAG.one(seen.lag)
        yield LAG_S.one(seen.behind_s)
        yield PARTITIONS.one(seen.partitions)
        yield CAMERAS.one(seen.cameras)
        cameras = self._worker.cameras()
        yield NEWEST.each({camera.camera_id: camera.last_at.timestamp() for camera in cameras if camera.last_at})
        yield KNOWN.each({camera.camera_id: camera.known_s for camera in cameras if camera.known_s is not None})
        yield EVENT_S.each({camera.camera_id: self._event_s(camera) for camera in cameras})
        yield BATCH.spread(pace.batch_frames)
        yield NETWORK.spread(pace.network_s)
        yield LATENCY.spread(pace.capture_to_score_s)
        views = self._banks.views()
        yield VERSION.each({bank_id: view.bank.version for bank_id, view in views.items()})
        yield WRITTEN.each({bank_id: view.bank.committed_at.timestamp() for bank_id, view in views.items()})
        ages = {bank_id: self._banks.age_s(bank_id) for bank_id in views}
        yield COPY_AGE.each({bank_id: age_s for bank_id, age_s in ages.items() if age_s is not None})
        states = choices(MemoryState)
        yield STATE.each(
            {(bank, state): view.memory_state == state for bank, view in views.items() for state in states}
        )

    def status(self) -> Mapping[str, object]:
        """See ``Observed``."""
        seen, pace = self._worker.snapshot(), self._worker.pace
        tally, cameras = seen.tally, self._worker.cameras()
        return {
            "worker": self._worker_id,
            "bundle": self._bundle,
            "backend": self._backend,
            "partitions": self._worker.partitions(),
            "lag_records": seen.lag,
            "lag_s": round(seen.behind_s, 3),
            "counts": {
                "received": tally.received,
                "scored": tally.scored,
                "learning": pace.num_learning,
                "warming": tally.warming,
                "session_ends": tally.session_ends,
                "dead_lettered": dict(tally.dead_lettered),
                "skipped": dict(tally.skipped),
                "lost": tally.lost,
                "event_messages": dict(tally.events),
                "proposals": dict(tally.proposals),
                "untaught": dict(tally.untaught),
            },
            "batch_frames": _told(pace.batch_frames),
            "network_s": _told(pace.network_s),
            "capture_to_score_s": _told(pace.capture_to_score_s),
            "banks": self._told_banks(),
            "cameras": {
                camera.camera_id: {
                    "partition": camera.partition,
                    "session": camera.session_id,
                    "newest_frame_at": camera.last_at.isoformat() if camera.last_at else None,
                    "silent": camera.is_silent,
                    "event_open": camera.event_since is not None,
                    "known_s": camera.known_s,
                    "wanted_s": camera.wanted_s,
                    **camera.counts,
                }
                for camera in cameras
            },
        }

    def stuck(self) -> tuple[str, ...]:
        """See ``Observed``."""
        return stuck_for("the worker's loop", self._worker.pace.turned_at_s, self._monotonic())

    def unready(self) -> tuple[str, ...]:
        """See ``Observed``."""
        seen, views = self._worker.snapshot(), self._banks.views()
        reasons = [] if seen.trouble is None else [f"starting over from the last commit: {seen.trouble}"]
        if seen.partitions == 0:
            reasons.append("no partition is assigned: the group is forming, or has more workers than partitions")
        stale = sorted(bank_id for bank_id, view in views.items() if view.memory_state == "stale")
        return (*reasons, *(f"bank {bank_id}: the store is away, the copy may be old" for bank_id in stale))

    def totals(self) -> Mapping[str, int]:
        """See ``Observed``."""
        tally = self._worker.snapshot().tally
        return {"received": tally.received, "scored": tally.scored}

    def _event_s(self, camera: CameraView) -> float:
        since = camera.event_since
        return 0.0 if since is None else max(0.0, (self._now() - since).total_seconds())

    def _told_banks(self) -> dict[str, object]:
        return {
            bank_id: {
                "version": view.bank.version,
                "state": view.memory_state,
                "age_s": round((self._now() - view.bank.committed_at).total_seconds(), 1),
                "copy_age_s": None if (age_s := self._banks.age_s(bank_id)) is None else round(age_s, 2),
            }
            for bank_id, view in self._banks.views().items()
        }


def _counters(seen: WorkerSnapshot) -> Iterator[Metric]:
    tally = seen.tally
    yield RECEIVED.one(tally.received)
    yield SCORED.one(tally.scored)
    yield WARMING.one(tally.warming)
    yield ENDS.one(tally.session_ends)
    yield DEAD.each(dict.fromkeys(DEAD_REASONS, 0) | dict(tally.dead_lettered))
    yield SKIPPED.each(dict.fromkeys(choices(SkipReason), 0) | dict(tally.skipped))
    yield LOST.one(tally.lost)
    yield EVENTS.each(dict.fromkeys(choices(EventPhase), 0) | dict(tally.events))
    yield PROPOSALS.each(dict.fromkeys(("published", "withdrawn"), 0) | dict(tally.proposals))
    yield UNTAUGHT.each(dict.fromkeys(("event", "gate"), 0) | dict(tally.untaught))


def _told(histogram: Histogram) -> dict[str, object]:
    """Count, mean, and the bins by their upper ends; the last has none."""
    counts = histogram.counts
    number = sum(counts)
    ends = [*(f"{bound:g}" for bound in histogram.bounds), "more"]
    return {
        "count": number,
        "mean": round(histogram.total / number, 5) if number else None,
        "p50_at_most": _finite(histogram.quantile(0.5)),
        "p99_at_most": _finite(histogram.quantile(0.99)),
        "bins": dict(zip(ends, counts, strict=True)),
    }


def _finite(value: float | None) -> float | None:
    """JSON has no infinity: beyond the last bound nothing is known."""
    return None if value is None or value == float("inf") else value
