"""The worker's shell: the loop around windows, network, scores and the outbox.

One turn: take what has arrived and start decoding it; meanwhile run the network on what was decoded during the turn
before; when the commit interval is over, publish everything since the last commit in one transaction. If that fails, or
a partition is lost, all that is not durable is forgotten and read again from the log, so nothing is skipped or doubled.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from inference.engine import ClipResult, Engine
from inference.fit import image_misfits, misfits, noted
from inference.standard import Standards
from memory_store.views import BankCache, BankView
from messaging.ports import Bus, Claim, Delivery, Intake, Lost, OutRecord, TooLargeError
from messaging.tracing import Tracer, context_of, stage
from schemas.backoff import Backoff
from schemas.errors import EngramError, OwnershipLostError, TransientError
from schemas.messages import EndReason
from workers.arrivals import Arrival, Decoder, settle
from workers.assessment import Assessor, lost_by
from workers.camera import Camera, CameraView, encode_state, left_open, view_of
from workers.options import WorkerOptions
from workers.output import Output, Tally
from workers.pace import LateWarning, Pace
from workers.partition import Admitted, Clip, Partition, Skipped, Warming, oldest_wanted
from workers.rules import CameraRules
from workers.steps import Steps
from workers.takeover import inherited
from workers.tracker import BankRef

log = logging.getLogger(__name__)

IDLE_WAIT_S = 0.2
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.2, 10.0
SUMMARY_INTERVAL_S = 60.0
TWIN_INTERVAL_S = 60.0


@dataclass(frozen=True, slots=True)
class WorkerSnapshot:
    """Where a worker stands.

    Attributes:
        tally: durable counts; they do not move any more.
        partitions: held.
        cameras: held.
        lag: records not yet received.
        behind_s: how late its scores are, see ``Pace.behind_s``.
        trouble: what it starts over from, until the log gives it partitions again; None if all is well.
    """

    tally: Tally
    partitions: int
    cameras: int
    lag: int
    behind_s: float = 0.0
    trouble: str | None = None


class Worker:
    """Consumes frames, publishes scores, events, proposals; see the module's docstring for how.

    Args:
        follow: waits until the memory has taken in what was published; called at each of ``Steps``, so that what is
            read of the memory depends on the frames alone, as do the numbers (a batch of one has no company). None =
            the memory is read as it comes.
        tracer: tells what a frame's time goes into, where its record has a trace; None = nothing is told.

    Attributes:
        rules: what events go by; may be changed while the worker runs.
        pace: how fast it is.
    """

    def __init__(
        self,
        bus: Bus,
        engine: Engine,
        banks: BankCache,
        options: WorkerOptions,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        follow: Callable[[], None] | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._follow = follow
        self._tracer = tracer
        self._steps = Steps()
        self._options = options
        self._engine = engine
        self._banks = banks
        self._clock = clock
        self._monotonic = monotonic
        topics = options.topics
        self._subscription = bus.subscription([topics.frames], options.group, topics.camera_states)
        try:
            self._outbox = bus.outbox(self._subscription, options.worker_id)
        except EngramError:
            self._subscription.close()  # else it stays a member that holds partitions and never reads them
            raise
        self._decoder = Decoder(
            engine.predictor.frame_format, options.limits, options.decode_threads, options.max_attempts, tracer
        )
        self.rules = CameraRules(options.events, options.cameras)
        standards = Standards(engine.bundle.calibration)
        self._assessor = Assessor(options, engine.bundle, standards, self.rules, clock)
        self._partitions: dict[Claim, Partition] = {}
        self._ahead: list[Arrival] = []
        self._output = Output()
        self._committed_at_s = monotonic()
        self._backoff = Backoff(FIRST_BACKOFF_S, MAX_BACKOFF_S)
        self._tally = Tally()
        self._told, self._told_at_s = Tally(), monotonic()
        self._trouble: str | None = None
        self._late = LateWarning(options.warn_late_s)
        self._complete_until_s = float("-inf")
        self.pace = Pace(began_at_s=monotonic(), turned_at_s=monotonic())

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set, then drain: finish what is in hand, commit it, leave the group.

        Raises:
            FatalError: going on makes no sense; everything durable is consistent, a restart continues from it.
        """
        try:
            while not stop.is_set():
                self._guarded(self._turn, stop)
            self._guarded(self._drain, stop)
        except EngramError:
            raise
        except BaseException:  # of a fault of ours, so perhaps of a record: its next owner must know
            self._subscription.abandon()
            raise
        finally:
            self._outbox.close()
            self._subscription.close()
            self._decoder.close()

    def snapshot(self) -> WorkerSnapshot:
        """Counters and sizes, callable from any thread."""
        lag = self._subscription.lag()
        behind_s = self.pace.behind_s(lag, self._clock(), self._monotonic())
        return WorkerSnapshot(
            self._tally, len(self._partitions), self._num_cameras(), lag, behind_s, trouble=self._trouble
        )

    def partitions(self) -> list[int]:
        """Numbers of the partitions held, callable from any thread."""
        return sorted(claim.partition for claim in list(self._partitions))

    def cameras(self) -> list[CameraView]:
        """The cameras held, callable from any thread."""
        held = [(claim, list(partition.cameras.values())) for claim, partition in list(self._partitions.items())]
        return [view_of(camera, claim.partition) for claim, cameras in held for camera in cameras]

    def _guarded(self, action: Callable[[], None], stop: threading.Event) -> None:
        try:
            action()
        except TransientError as error:
            pause_s = self._backoff.next_s()
            log.warning("starting over from the last commit in %.1f s: %s", pause_s, error)
            self._trouble = str(error)
            self._forget()
            self._subscription.rewind()
            stop.wait(pause_s)

    def _turn(self) -> None:
        arrivals = self._receive()
        self._process(self._ahead)
        self._notice_silent_cameras()
        self._bound_cameras()
        self._banks.refresh()
        self._ahead, self._complete_until_s = arrivals, self.pace.caught_up_at_s
        if self._monotonic() - self._committed_at_s >= self._options.commit_interval_s:
            self._commit()
            self._tell_lateness()
        self._tell_counts()
        self.pace.turned_at_s = self._monotonic()

    def _drain(self) -> None:
        self._process(self._ahead)
        self._ahead = []
        for claim, camera in self._cameras():
            self._assessor.flush_draft(camera, self._output)
            if self._options.on_stop == "end_events":
                self._end_event(claim, camera, "shutdown")
        self._commit()

    def _receive(self) -> list[Arrival]:
        """Up to a batch of arrivals; waits longer only when there is nothing at all to do."""
        options = self._options
        wait_s = 0.0 if self._ahead else min(IDLE_WAIT_S, options.commit_interval_s)
        began_at_s = self._monotonic()
        arrivals = self._accept(self._subscription.receive(options.max_batch, wait_s))
        if self._subscription.lag() == 0:
            self.pace.caught_up_at_s = began_at_s
        deadline_s = self._monotonic() + options.max_wait_s
        while arrivals and not self._ahead and len(arrivals) < options.max_batch:
            left_s = deadline_s - self._monotonic()
            if left_s <= 0:
                break
            arrivals += self._accept(self._subscription.receive(options.max_batch - len(arrivals), left_s))
        return arrivals

    def _accept(self, intake: Intake) -> list[Arrival]:
        if intake.revoked or intake.assigned:
            self._rebalance(intake)
        for lost in intake.lost:
            self._count_lost(lost)
        deliveries: Sequence[Delivery] = [d for d in intake.deliveries if d.claim in self._partitions]
        for delivery in deliveries:
            self._partitions[delivery.claim].expect(delivery)
        return self._decoder.begin(deliveries)

    def _count_lost(self, lost: Lost) -> None:
        """Lost records are passed over in the same commit that counts them, so that no one counts them again."""
        num_unhandled = self._partitions[lost.claim].pass_over(lost) if lost.claim in self._partitions else 0
        if num_unhandled == 0:
            return  # only windows would have needed them, and they fill anew
        log.warning(
            "partition %d: the log deleted %d records from offset %d on before they were read; raise the topic's"
            " retention, or add workers",
            lost.claim.partition,
            num_unhandled,
            lost.first_offset + lost.num_records - num_unhandled,
            extra={"partition": lost.claim.partition},
        )
        for camera in self._partitions[lost.claim].cameras.values():
            camera.is_overlooked = True
        self._output.tally.lost += num_unhandled
        self._output.claims.add(lost.claim)

    def _rebalance(self, intake: Intake) -> None:
        for claim in intake.revoked:
            self._partitions.pop(claim, None)
        if self._output.claims & set(intake.revoked):
            # One transaction holds the output of all partitions: without the lost one's it would be another output.
            raise OwnershipLostError("a partition went to another worker with output of ours not yet committed")
        for assigned in intake.assigned:
            self._trouble = None
            now = self._clock()
            states, unreadable = inherited(assigned, now)
            partition = Partition.from_assignment(
                assigned, states, self._engine.predictor.clip_format, self._monotonic(), now
            )
            self._partitions[assigned.claim] = partition
            for camera_id, payload in [(one, assigned.states[one]) for one in unreadable] + [*assigned.doubted.items()]:
                self._end_orphan(assigned.claim, camera_id, payload)
            number = assigned.claim.partition
            log.info(
                "partition %d is ours from offset %d", number, assigned.committed_offset, extra={"partition": number}
            )

    def _end_orphan(self, claim: Claim, camera_id: str, payload: bytes) -> None:
        """A state that cannot be used may tell of an event that is open: it gets its end all the same."""
        happening = left_open(camera_id, payload)
        if happening is not None:
            camera = self._partitions[claim].camera(camera_id)
            camera.happening = happening
            self._forget_camera(claim, camera, "worker_lost")

    def _process(self, arrivals: list[Arrival]) -> None:
        """Windows, then the network on all clips at once, then scores and events, each in log order."""
        settle(arrivals)
        not_before = oldest_wanted(self._clock(), self._options.max_staleness_s)
        now_s = self._monotonic()
        admitted: list[Admitted] = []
        for arrival in arrivals:
            claim = arrival.delivery.claim
            if claim not in self._partitions:
                continue
            if self._follow is not None and arrival.header is not None and self._steps.begins(arrival.header):
                self._assess(admitted, now_s)
                admitted = []
                self._commit()
                self._follow()
                self._banks.expire(self._bank_id(arrival.header.camera_id))
            admitted.append(self._partitions[claim].admit(arrival, not_before, now_s))
        self._assess(admitted, now_s)

    def _assess(self, admitted: list[Admitted], now_s: float) -> None:
        banks = [self._bank(record) for record in admitted]
        with self._stage("infer", (one for one in admitted if isinstance(one, Clip))):
            results = iter(self._infer(admitted, banks))
        with self._stage("assess", admitted):
            for record, bank in zip(admitted, banks, strict=True):
                self._watch_sender(record, now_s)
                result = next(results) if isinstance(record, Clip) else None
                memory = bank.bank if bank else None
                self._assessor.assess(record, result, _ref(bank), self._output, memory)

    def _stage(self, name: str, records: Iterable[Admitted]) -> AbstractContextManager[None]:
        """What all of ``records`` go through together."""
        return stage(self._tracer, name, (context_of(one.delivery) for one in records))

    def _bank_id(self, camera_id: str) -> str:
        return self._options.bank_id.format(camera_id=camera_id)

    def _bank(self, record: Admitted) -> BankView | None:
        """The bank version to score this record with."""
        if not isinstance(record, Clip | Warming):
            return None
        return self._banks.view(self._bank_id(record.camera.camera_id))

    def _infer(self, admitted: list[Admitted], banks: list[BankView | None]) -> list[ClipResult]:
        pairs = zip(admitted, banks, strict=True)
        clips = [(one.clip_THWC, view.bank.items_MC) for one, view in pairs if view and isinstance(one, Clip)]
        if not clips:
            return []
        began_at_s = self._monotonic()
        size = len(clips) if self._follow is None else 1
        results: list[ClipResult] = []
        for first in range(0, len(clips), size):
            batch = clips[first : first + size]
            items_BMC = np.stack([items_MC for _, items_MC in batch])
            results += self._engine.predictor.infer([clip for clip, _ in batch], items_BMC)
        self.pace.computed(len(clips), self._monotonic() - began_at_s)
        return results

    def _watch_sender(self, record: Admitted, now_s: float) -> None:
        """Say what an operator should know of a camera: two that send under its name, frames that do not fit."""
        match record:
            case Skipped(reason="twin_session", camera=camera, header=header) if camera and header and camera.cursor:
                if now_s - camera.twin_told_at_s >= TWIN_INTERVAL_S:
                    camera.twin_told_at_s = now_s
                    log.warning(
                        "camera %s: sessions %s and %s send at the same time, only the later one, %s, is scored; give"
                        " each sender a name of its own (--camera)",
                        camera.camera_id,
                        header.session_id,
                        camera.cursor.session_id,
                        camera.cursor.session_id,
                        extra={"camera": camera.camera_id, "session": header.session_id},
                    )
            case Clip(camera=camera, header=header) | Warming(camera=camera, header=header):
                camera.rate, manifest = noted(camera.rate, header), self._engine.bundle.manifest
                found = misfits(camera.rate, header, manifest)
                if found is not None:
                    camera.rate = replace(camera.rate, is_told=True)
                    clip_THWC = record.clip_THWC if isinstance(record, Clip) else None
                    jpeg = record.delivery.record.value or b""
                    for text in (*found, *image_misfits(jpeg, clip_THWC, manifest)):
                        named = {"camera": camera.camera_id, "session": header.session_id}
                        log.warning("camera %s, session %s: %s", camera.camera_id, header.session_id, text, extra=named)

    def _commit(self) -> None:
        """Make durable what was computed since the last commit, exactly once.

        1. What is begun from here on belongs to the next commit.
        2. Positions are those of the cameras as they are now, so all that was processed is in ``output``.
        3. Records, states and positions become visible together, or an error says that they have not: then
           ``_guarded`` forgets everything and the log is read again from the last commit.
        4. Only what is durable is counted.
        """
        output, self._output = self._output, Output()  # 1
        self._committed_at_s = self._monotonic()
        if output.is_empty():
            return
        progress = [self._partitions[claim].progress() for claim in output.claims]  # 2
        # A camera that came back after it was forgotten has a state again, which must be the last word on it.
        records = [*output.records, *output.tombstones, *self._state_records(output)]
        while True:  # 3
            try:
                self._outbox.commit(records, progress)
                break
            except TooLargeError as error:
                log.warning("left out, since the topic would not take it the next time either: %s", error)
                records = _without(records, error.record)
        self._tally = self._tally.plus(output.tally)  # 4
        self.pace.committed(output, self._clock(), self._monotonic())
        self._backoff.reset()
        self._trouble = None

    def _tell_lateness(self) -> None:
        lag, now_s = self._subscription.lag(), self._monotonic()
        self._late.look(self.pace.behind_s(lag, self._clock(), now_s), lag, now_s)

    def _tell_counts(self) -> None:
        """One line a minute: what became of the records since the last one."""
        now_s = self._monotonic()
        if now_s - self._told_at_s < SUMMARY_INTERVAL_S:
            return
        seen = self.snapshot()
        log.info(
            "in %.0f s: %s; %d records behind, scores %.1f s late, %d cameras in %d partitions",
            now_s - self._told_at_s,
            seen.tally.since(self._told),
            seen.lag,
            seen.behind_s,
            seen.cameras,
            seen.partitions,
        )
        self._told, self._told_at_s = seen.tally, now_s

    def _state_records(self, output: Output) -> list[OutRecord]:
        known = [(claim, self._partitions[claim].cameras.get(camera_id)) for claim, camera_id in output.dirty]
        states = [(claim, camera.camera_id, camera.state()) for claim, camera in known if camera is not None]
        topic = self._options.topics.camera_states
        return [
            OutRecord(topic, camera_id, encode_state(state), partition=claim.partition)
            for claim, camera_id, state in states
            if state is not None
        ]

    def _notice_silent_cameras(self) -> None:
        """What nobody but the owner can tell: a camera's event ends, and in the end the camera is forgotten.

        Silence is what the log does not have, so it counts only up to when the log was last read to its end, with all
        that it had processed: a worker that is slow must not take its own delay for a camera's.
        """
        for claim, camera in self._cameras():
            silent_s = self._complete_until_s - camera.seen_at_s
            if silent_s > self._options.camera_forget_s:
                self._forget_camera(claim, camera, lost_by(camera))
            elif silent_s > self._options.camera_timeout_s and not camera.is_silent:
                camera.is_silent = True
                camera.clear_window()
                camera.smoothing = None
                self._assessor.flush_draft(camera, self._output)
                self._end_event(claim, camera, lost_by(camera))
                self._output.dirty.add((claim, camera.camera_id))  # a next owner must not go on as if nothing had been
                self._output.claims.add(claim)

    def _bound_cameras(self) -> None:
        """Names cost memory, and anybody can make them up; those that still send are the last to go."""
        num_cameras = self._num_cameras()
        num_surplus = num_cameras - self._options.max_cameras
        if num_surplus <= 0:  # as in nearly every turn
            return
        log.warning(
            "%d cameras are more than the %d that one worker keeps: the %d silent for longest are forgotten; add"
            " workers, or look who sends under so many names",
            num_cameras,
            self._options.max_cameras,
            num_surplus,
        )
        for claim, camera in sorted(self._cameras(), key=lambda place: place[1].seen_at_s)[:num_surplus]:
            self._forget_camera(claim, camera, lost_by(camera))

    def _forget_camera(self, claim: Claim, camera: Camera, reason: EndReason) -> None:
        self._assessor.flush_draft(camera, self._output)
        self._end_event(claim, camera, reason)
        del self._partitions[claim].cameras[camera.camera_id]
        topic = self._options.topics.camera_states
        self._output.tombstones.append(OutRecord(topic, camera.camera_id, None, partition=claim.partition))
        self._output.claims.add(claim)

    def _end_event(self, claim: Claim, camera: Camera, reason: EndReason) -> None:
        if camera.happenings:
            self._assessor.end_event(camera, reason, self._output)
            self._output.dirty.add((claim, camera.camera_id))
            self._output.claims.add(claim)

    def _cameras(self) -> list[tuple[Claim, Camera]]:
        return [(claim, camera) for claim, part in self._partitions.items() for camera in part.cameras.values()]

    def _num_cameras(self) -> int:
        return sum(len(partition.cameras) for partition in list(self._partitions.values()))

    def _forget(self) -> None:
        """Drop all that is not durable; the log has it."""
        self._partitions.clear()
        self._ahead = []
        self._output = Output()


def _without(records: list[OutRecord], refused: OutRecord) -> list[OutRecord]:
    """All but the one refused; if it was shortened on its way and even so too large, all of its topic and key."""
    if refused in records:
        return [record for record in records if record is not refused]
    return [record for record in records if (record.topic, record.key) != (refused.topic, refused.key)]


def _ref(view: BankView | None) -> BankRef | None:
    if view is None:
        return None
    bank = view.bank
    return BankRef(bank.bank_id, bank.version, bank.digest, view.memory_state, bank.items_digest)
