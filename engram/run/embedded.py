"""All of Engram in one process: cameras, worker and coordinator in threads, over a log in memory.

The same parts as in a fleet, so a recording gives the same scores here and there. Nothing survives the process but the
memory bank in its store.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from console.plumbing import Plumbing
from consumers.reader import EventReader, ScoreReader
from engram.build.bundles import bank_cache
from engram.build.options import (
    camera_options,
    coordinator_options,
    event_options,
    with_banks_for,
    worker_options,
)
from engram.build.topics import topic_specs
from engram.observe.coordinator import SeenCoordinator
from engram.observe.observed import Observed
from engram.observe.pipes import pipes_of
from engram.observe.producer import SeenProducer
from engram.observe.worker import SeenWorker
from engram.run.process import Crew
from engram.run.roster import Roster
from inference.engine import Engine
from memory_store.coordinator.coordinator import Coordinator
from memory_store.coordinator.options import CAMERA, CoordinatorOptions
from memory_store.store import BankStore
from memory_store.views import InitialBank
from messaging.inprocess.bus import InProcessBus
from messaging.ports import Bus
from messaging.tracing import Tracer, traced
from producers.feed import CameraFeed
from producers.producer import Producer, ProducerOptions
from producers.reports import ReportOptions
from schemas.errors import EngramError
from schemas.messages import AnomalyEvent, FrameScore, utc_now
from schemas.settings import WatchSettings
from schemas.topics import TopicNames
from workers.worker import Worker, WorkerSnapshot

log = logging.getLogger(__name__)

POLL_S = 0.1
DRAIN_S = 10.0
"""So long after a stop, what has been captured may still be scored."""
STALL_S = 60.0
"""A worker that finishes no frame for so long, with frames waiting, will not do so later."""
END_S = 15.0
SETTLE_S = 10.0
COMPANION_ROOM = 4
"""So many times the room for frames where somebody looks back at them."""
COMPANION_END_S = 120.0
"""A companion may have so long for what is left at the end."""


class Listener(Protocol):
    """Who is told what happens, from the thread that runs ``Embedded``."""

    def on_scores(self, scores: Sequence[FrameScore]) -> None:
        """New scores, each once, in order per camera."""

    def on_event(self, event: AnomalyEvent) -> None:
        """The next message of an event, each once, in order per event."""


class Companion(Protocol):
    """Works beside the parts, on the same log."""

    def run(self, bus: Bus, names: TopicNames, stop: threading.Event) -> None:
        """Until ``stop`` is set, which is when all that comes has come; then what is left is finished."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of everything.

    Attributes:
        sent: frames that the cameras sent.
        worker: the worker's last counters.
        versions: bank id to version in the end.
    """

    sent: int
    worker: WorkerSnapshot
    versions: dict[str, int]


class Embedded:
    """Runs feeds through a worker and a coordinator; to be used once.

    Args:
        settings: of all parts.
        engine: the bundle's network.
        store: where banks are; closed by its owner.
        feeds: the cameras, or those to begin with.
        listener: who is told.
        roster: which cameras run, where that may change.
        companion: who else reads the log.
        reports: where it is told how the cameras fare; None = nowhere.
        in_step: read frames only as fast as the memory follows, so that what a recording teaches does not depend on how
            fast it is read: for recordings.
        tracer: tells what frames spend their time on; None = nothing is told.
    """

    def __init__(
        self,
        settings: WatchSettings,
        engine: Engine,
        store: BankStore,
        feeds: Sequence[CameraFeed],
        listener: Listener,
        roster: Roster | None = None,
        companion: Companion | None = None,
        reports: ReportOptions | None = None,
        in_step: bool = False,
        tracer: Tracer | None = None,
    ) -> None:
        settings = with_banks_for(settings, engine.bundle.calibration)
        self._settings = settings
        self._store = store
        self._listener = listener
        self._topics = TopicNames.with_prefix(settings.kafka.topic_prefix)
        self._companion = companion
        room = 1 if companion is None else COMPANION_ROOM
        bus = InProcessBus(max_topic_bytes=room * settings.producer.buffer_bytes)
        self._bus = traced(bus, tracer, self._topics.frames)
        # One worker owns all partitions, so that more of them than cameras would only be more to look through.
        kafka = settings.kafka.model_copy(update={"frames_partitions": max(1, len(feeds))})
        self._bus.create_topics(topic_specs(kafka, settings.worker.max_frame_bytes))
        self._scores = ScoreReader(self._bus.reader([self._topics.frame_scores], from_beginning=True))
        self._events = EventReader(self._bus.reader([self._topics.anomaly_events], from_beginning=True))
        self._roster = roster
        self._producer = Producer(
            feeds,
            self._bus.publisher(),
            ProducerOptions(self._topics.frames, reports=reports),
            is_complete=None if roster is None else lambda: roster.is_complete,
        )
        # A recording is read as fast as may be, so that its frames wait by design.
        late_s = settings.worker.warn_late_s if settings.producer.pace == "live" else None
        options = replace(worker_options(settings), on_stop="end_events", warn_late_s=late_s)
        initial = InitialBank.of_bundle(engine.bundle)
        self._learns = settings.memory.updates and not initial.is_empty
        rules = coordinator_options(settings)
        memory = settings.memory
        follow: Callable[[], None] | None = None
        if in_step and self._learns:
            rules, follow = _in_step(rules, num_cameras=len(feeds)), self._follow
            memory = memory.model_copy(update={"refresh_interval_s": math.inf})  # the worker looks at each step
        self._coordinator = Coordinator(self._bus, store, initial, rules, tracer=tracer)
        self._seen_coordinator = SeenCoordinator(self._coordinator, initial, rules.limits)
        banks = bank_cache(store, engine, memory)
        self._worker = Worker(self._bus, engine, banks, options, utc_now, follow=follow, tracer=tracer)
        self._seen_worker = SeenWorker(self._worker, engine, banks, options.worker_id)
        self._gave_up_step = False
        self._crew = Crew()
        self._beside: Callable[[threading.Event], None] | None = None

    @property
    def bus(self) -> Bus:
        """Where all of it goes over, for who looks on; closed at the end of ``run``."""
        return self._bus

    def stay_for(self, beside: Callable[[threading.Event], None]) -> None:
        """Run ``beside`` in a thread, until the event that it is given is set, and stay after the sources have ended.

        Then ``run`` returns when it is told to stop.
        """
        self._beside = beside

    def pipes(self) -> Plumbing:
        """Who is how far behind, and counts that must add up; from any thread."""
        seen = self._coordinator.snapshot() if self._learns else None
        return pipes_of(self._producer.snapshot(), self._worker.snapshot(), seen)

    def seen(self) -> tuple[Observed, ...]:
        """The parts, for who asks how they fare."""
        parts: tuple[Observed, ...] = (SeenProducer(self._producer), self._seen_worker)
        return (*parts, self._seen_coordinator) if self._learns else parts

    def run(self, stop: threading.Event) -> Outcome:
        """Run until every source has ended and every frame is scored, or until ``stop`` is set, then drain.

        Raises:
            EngramError: a part failed, or the worker stands still.
        """
        ending, all_learned, all_come = threading.Event(), threading.Event(), threading.Event()
        if self._learns:
            self._crew.start("coordinator", lambda: self._coordinator.run(all_learned))
        companion = self._companion
        if companion is not None:
            self._crew.start("companion", lambda: companion.run(self._bus, self._topics, all_come))
        self._crew.start("worker", lambda: self._worker.run(ending))
        if (beside := self._beside) is not None:
            self._crew.start("beside", lambda: beside(all_learned))
        self._producer.start()
        self._crew.start("producer", self._producer.finish)
        try:
            self._attend(stop)
        finally:
            self._producer.request_stop()
            ending.set()
            late = self._crew.join(END_S, "worker", "producer")
            if self._learns and not late and not self._must_give_up():
                self._learn_the_rest()
            all_learned.set()
            all_come.set()
            if companion is not None:
                self._crew.join(COMPANION_END_S, "companion")
            late = self._crew.join(END_S)
            self._tell(0.0)
            self._bus.close()
        if late:
            log.warning("did not end in time: %s", ", ".join(late))
        self._crew.raise_error()
        return self._outcome()

    def change_events(self, settings: WatchSettings) -> None:
        """Go by other thresholds and zones from the next frame on; from any thread."""
        self._worker.rules.change(event_options(settings), camera_options(settings))

    def _attend(self, stop: threading.Event) -> None:
        """Pass on what comes, until all is done, or has had its time."""
        drain_until_s = float("inf")
        patience = _Patience(STALL_S)
        while not self._must_give_up():
            self._tell(POLL_S)
            if self._roster is not None and not stop.is_set():
                self._roster.keep(self._producer)
            if self._is_done() and (self._beside is None or stop.is_set()):
                return
            if stop.is_set() and drain_until_s == float("inf"):
                self._producer.request_stop()
                drain_until_s = time.monotonic() + DRAIN_S
            if time.monotonic() > drain_until_s:
                log.warning("stopped with %d frames not scored", self._num_waiting())
                return
            if not self._crew.is_running("producer") and self._num_waiting() > 0:
                patience.require_progress(self._worker.snapshot().tally.received)

    def _follow(self) -> None:
        """Have the memory take in all that was published; called by the worker."""
        if not self._gave_up_step and not self._coordinator.catch_up(SETTLE_S):
            self._gave_up_step = True
            log.warning("the memory does not follow (does another process write it?): what it learns depends on speed")

    def _learn_the_rest(self) -> None:
        """What the last rounds hold becomes part of the memory: the next run goes on from there."""
        if not self._coordinator.settle_the_rest(SETTLE_S):
            log.warning("the last contributions to the memory were not settled within %.0f s, they are lost", SETTLE_S)

    def _must_give_up(self) -> bool:
        """A producer that failed has sent its other cameras' frames all the same; they are scored first."""
        return self._crew.has_failed("worker") or self._crew.has_failed("coordinator")

    def _is_done(self) -> bool:
        return not self._crew.is_running("producer") and self._num_waiting() <= 0

    def _num_waiting(self) -> int:
        """Records sent, the end of each session among them, that the worker has not made durable."""
        return self._producer.num_sent + self._producer.num_sessions - self._worker.snapshot().tally.received

    def _tell(self, timeout_s: float) -> None:
        scores = self._scores.read(timeout_s)
        if scores:
            self._listener.on_scores(scores)
        for event in self._events.read(0.0):
            self._listener.on_event(event)

    def _outcome(self) -> Outcome:
        return Outcome(self._producer.num_sent, self._worker.snapshot(), self._versions())

    def _versions(self) -> dict[str, int]:
        banks = [self._store.read(bank_id) for bank_id in self._store.list_banks()]
        return {bank.bank_id: bank.version for bank in banks if bank is not None}


def _in_step(rules: CoordinatorOptions, num_cameras: int) -> CoordinatorOptions:
    """For a recording, which may run ahead of the clock, and whose rounds wait for its frames, however long they take.

    Of several cameras that share a bank one may end long before the others, and is not waited for.
    """
    waits_for_frames = num_cameras == 1 or CAMERA in rules.bank_id
    patience_s = None if waits_for_frames else rules.rules.patience_s
    return replace(rules, rules=replace(rules.rules, patience_s=patience_s), clock_slack=None, receive_s=0.02)


class _Patience:
    """Notices a number that no longer grows."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._last = -1
        self._since_s = time.monotonic()

    def require_progress(self, number: int) -> None:
        """Raise EngramError if ``number`` is what it was, for longer than the limit."""
        now_s = time.monotonic()
        if number != self._last:
            self._last, self._since_s = number, now_s
        elif now_s - self._since_s > self._limit_s:
            raise EngramError(f"the worker must go on, it has stood at {number} records for {self._limit_s:.0f} s")
