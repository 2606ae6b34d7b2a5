"""The second half of a frame's way: from what the network said to a score, an event, a contribution to the memory.

Frames pass through here in log order per camera, whatever batch they were computed in, so neither batch size nor the
number of workers changes a result.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bundles.bundle import Bundle
from inference.engine import ClipResult
from inference.error_map import Irregularity
from inference.explaining import explainer_of
from inference.rarity import trust
from inference.recognition import LEARNING
from inference.scoring import FrameMeasures, LiveScore
from inference.standard import Look, Stage, Standard, Standards
from memory_store.bank import Bank
from messaging.dead_letters import dead_letter
from messaging.ports import Delivery, OutRecord
from messaging.tracing import context_of, state_of
from schemas.codec import EVENT_HEADERS, encode_message
from schemas.errors import BadMessageError
from schemas.messages import AnomalyEvent, EndReason, FrameHeader, FrameScore, HeatMap, Peak, RecognitionState
from workers import trouble
from workers.camera import Camera, Lesson
from workers.events import Scene, event_message
from workers.options import WorkerOptions
from workers.output import Output, Tally
from workers.partition import Admitted, Clip, Dead, SessionEnd, Skipped, Warming
from workers.proposals import begin, block_after, extend, passes_gate, proposal_record
from workers.rules import CameraRules
from workers.sighting import sighted, traced
from workers.tracker import (
    BankRef,
    EventRules,
    Observation,
    Sight,
    Step,
    close,
    interrupted,
    is_anomalous,
    is_peak,
    step,
)

log = logging.getLogger(__name__)

TEACHABLE = ("live", "initial", "learning")
"""States of the memory in which frames may teach it."""
LEARNING_PATIENCE = 4.0
"""After so many times the wanted seconds of video a camera is judged, whether it was learned or not."""
NOTHING_SEEN = Sight(HeatMap(rows=0, columns=0, values=(), scale="common"))


@dataclass(frozen=True, slots=True)
class Finding:
    """One clip's result, and what it was computed from.

    Attributes:
        wanted_s: seconds of normal video that the bank's cameras are to be learned from.
        epoch: of the bank; None = not known.
        traceparent, tracestate: of the frame's record.
    """

    header: FrameHeader
    result: ClipResult
    bank: BankRef
    standard: Standard
    wanted_s: float
    epoch: str | None
    traceparent: str | None
    tracestate: str | None


@dataclass(frozen=True, slots=True)
class Assessor:
    """Turns admitted records and network results into the records of ``Output``. Holds no state of its own.

    Attributes:
        bundle: names what the scores were computed with.
        standards: what frames are judged by.
        rules: event rules for a camera, its frame rate and what it is judged by.
        clock: wall clock, for ``scored_at`` only.
    """

    options: WorkerOptions
    bundle: Bundle
    standards: Standards
    rules: CameraRules
    clock: Callable[[], datetime]

    def assess(
        self,
        admitted: Admitted,
        result: ClipResult | None,
        bank: BankRef | None,
        output: Output,
        memory: Bank | None = None,
    ) -> None:
        """Take one admitted record to its end.

        Args:
            admitted: the record; a ``Clip`` needs ``result`` and ``bank``, a ``Warming`` frame needs ``bank``.
            result: what the network measured on the clip.
            bank: the bank version that was read.
            output: where records, states and counts go.
            memory: that version: what it has counted, what operators have told it; None = nothing is known of it.
        """
        tally = Tally(received=1)
        match admitted:
            case Skipped(reason="replayed"):
                return
            case Skipped(reason=reason):
                tally.skipped[reason] += 1
            case Dead(error=error):
                self._bury(admitted.delivery, error, tally, output)
            case SessionEnd(camera=camera, header=header):
                self._enter(camera, header, output)
                self._end_session(camera, tally, output)
            case Warming(camera=camera, header=header):
                assert bank is not None, "a warming frame needs a bank"
                self._enter(camera, header, output)
                self._warm(camera, header, bank, tally, output)
            case Clip(camera=camera, header=header):
                assert bank is not None, "a clip needs a bank"
                assert result is not None, "a clip needs a result"
                self._enter(camera, header, output)
                found = self._found(admitted, result, bank, memory)
                self._judge(admitted, self._as_known(camera, found), tally, output)
        output.claims.add(admitted.delivery.claim)
        output.note_arrival(admitted.delivery.record.timestamp_ms)
        output.tally.add(tally)
        if admitted.camera is not None:
            admitted.camera.counts.add(tally)
            admitted.camera.is_overlooked = admitted.camera.is_overlooked and isinstance(admitted, Skipped | Dead)
            output.dirty.add((admitted.delivery.claim, admitted.camera.camera_id))

    def end_event(self, camera: Camera, reason: EndReason, output: Output) -> None:
        """End whatever event is open on a camera, about what it shows or about itself."""
        if camera.happening is not None:
            self._tell(camera, close(camera.happening, reason, camera.happening.last_at), output)
        if camera.trouble is not None:
            self._tell_trouble(camera, close(camera.trouble, reason, camera.trouble.last_at), output)

    def flush_draft(self, camera: Camera, output: Output) -> None:
        """Publish what a camera has gathered for the memory, if anything."""
        if camera.draft is not None:
            topic = self.options.topics.memory_updates
            output.records.append(proposal_record(camera.draft, camera.camera_id, self.bundle.digest, topic))
            output.tally.proposals["published"] += 1
            camera.draft = None

    def _found(self, clip: Clip, result: ClipResult, bank: BankRef, memory: Bank | None) -> Finding:
        counted, said = (None, ()) if memory is None else (memory.normality, memory.exemplars)
        learn_s, epoch = self.options.learn_s, None
        if memory is not None:
            learn_s, epoch = memory.wanted_s(learn_s), memory.epoch
        standard = self.standards.of(bank.digest, counted, said, clip.camera.camera_id)
        traceparent = context_of(clip.delivery)
        tracestate = None if traceparent is None else state_of(clip.delivery)
        return Finding(clip.header, result, bank, standard, learn_s, epoch, traceparent, tracestate)

    def _enter(self, camera: Camera, header: FrameHeader, output: Output) -> None:
        """A record that is new: what was going on ends if this belongs to another session or to another time."""
        if any(one.session_id != header.session_id for one in camera.happenings):
            self.end_event(camera, "session_ended", output)
        if header.kind != "frame":
            return
        camera.view = header.view
        at, fps, blamed = header.captured_at, header.fps, lost_by(camera)
        ended = interrupted(camera.happening, at, fps, self._rules(camera, fps), blamed)
        if ended is not None:
            self._tell(camera, ended, output)
        ended = interrupted(camera.trouble, at, fps, trouble.RULES, blamed)
        if ended is not None:
            self._tell_trouble(camera, ended, output)

    def _end_session(self, camera: Camera, tally: Tally, output: Output) -> None:
        tally.session_ends += 1
        camera.smoothing = None
        self.end_event(camera, "session_ended", output)
        camera.recognition = None
        self.flush_draft(camera, output)

    def _warm(self, camera: Camera, header: FrameHeader, bank: BankRef, tally: Tally, output: Output) -> None:
        """A frame without enough others before it: neither smoothing nor a draft must reach over the gap."""
        tally.warming += 1
        camera.smoothing = None
        self.flush_draft(camera, output)
        score = self._score_record(header, bank)
        self._publish_score(score.model_copy(update={"recognition": _state_of(camera)}), output)

    def _judge(self, clip: Clip, found: Finding, tally: Tally, output: Output) -> None:
        camera = clip.camera
        if not clip.continues:  # where one frame is a clip, no warming frame stands between
            camera.smoothing = None
            self.flush_draft(camera, output)
        if not found.result.finite:
            where = f"camera '{camera.camera_id}' frame {found.header.frame_index}"
            error = BadMessageError("not_finite", f"every measure must be finite, {where} gave NaN or infinity")
            self._bury(clip.delivery, error, tally, output)
            return
        tally.scored += 1
        output.captured.append(found.header.captured_at)
        output.num_learning += found.bank.memory_state == "learning"
        camera.standard = found.standard
        camera.wanted_s = None if self.standards.grid is None else found.wanted_s
        self._recognise(camera, found)
        irregularity = found.standard.look(found.result)
        live = found.standard.score(irregularity.measures, camera.smoothing)
        camera.smoothing = live.smoothing
        seen = _observation(found, irregularity.measures, live.anomaly_score)
        self._follow_trouble(camera, seen, output)
        if self._is_followed(camera, found, output):
            rules = self._rules(camera, found.header.fps)
            if is_anomalous(camera.happening, live.anomaly_score, rules):
                explainer = explainer_of(found.standard, self.bundle.calibration)
                seen = traced(seen, irregularity, explainer)
                if is_peak(camera.happening, live.anomaly_score, rules):
                    frame = found.header, clip.delivery.record.value or b""
                    seen = sighted(seen, irregularity, live, explainer, frame, self.options.events.thumbnail_px)
            self._tell(camera, step(camera.happening, seen, rules), output)
        score = self._score_record(found.header, found.bank, irregularity.measures, live.anomaly_score)
        look = self._look(camera, found, irregularity, live)
        untaught = self._untaught(camera, found, irregularity)
        if untaught is not None:
            tally.untaught[untaught] += 1
        if irregularity.teaches:
            self._propose(camera, found, look, untaught is None, output)
        told = {"proposed": untaught is None, "recognition": _state_of(camera)}
        self._publish_score(score.model_copy(update=told), output)

    def _recognise(self, camera: Camera, found: Finding) -> None:
        """Take note of whether this is the camera that its memory knows."""
        now, was_blind = found.standard.recognise(found.result, camera.recognition), camera.is_blind
        if now is None:
            return
        if found.bank.memory_state == "learning":
            now = LEARNING
        trouble.tell_change(camera.camera_id, camera.recognition, now)
        camera.recognition = now
        if was_blind and not now.is_blind:  # a level that rests on what could not be judged says nothing
            camera.smoothing = None

    def _follow_trouble(self, camera: Camera, seen: Observation, output: Output) -> None:
        if camera.recognition is not None:
            doubt = trouble.observation(seen, camera.recognition)
            self._tell_trouble(camera, step(camera.trouble, doubt, trouble.RULES), output)

    def _is_followed(self, camera: Camera, found: Finding, output: Output) -> bool:
        """Whether what happens in front of the camera can be told; what was going on ends where it no longer can."""
        state, now = camera.recognition, camera.happening
        if state is None or not state.is_blind:
            return now is not None or found.bank.memory_state != "learning"
        if now is not None and (state.is_trouble or not now.is_open):
            self._tell(camera, close(now, "camera_lost", now.last_at), output)
        return camera.happening is not None

    def _as_known(self, camera: Camera, found: Finding) -> Finding:
        """``learning`` while the bank has seen too little of the camera to judge it by, and may still see more.

        Where nothing is learned though it should be (no coordinator runs) the camera is judged all the same. A bank
        that is to learn anew has a new epoch, and is waited for anew.
        """
        at = found.header.captured_at
        learns = self.options.updates and found.bank.memory_state in ("live", "initial")
        if not learns or self.standards.grid is None:
            return found
        if found.standard.stage(found.wanted_s) is Stage.KNOWN:
            camera.lesson = None
            return found
        if camera.lesson is None or camera.lesson.epoch != found.epoch:
            camera.lesson = Lesson(found.epoch, at)
        if at - camera.lesson.began_at > timedelta(seconds=LEARNING_PATIENCE * found.wanted_s):
            self._warn_of_no_learning(camera, camera.lesson, found)
            return found
        return replace(found, bank=replace(found.bank, memory_state="learning"))

    def _warn_of_no_learning(self, camera: Camera, lesson: Lesson, found: Finding) -> None:
        if lesson.is_in_vain:
            return
        camera.lesson = replace(lesson, is_in_vain=True)
        log.warning(
            "camera %s: bank %s knows %.0f s of the %.0f s it should learn, and learns no more: does a coordinator run"
            " (engram coordinate)? The camera is judged by what there is",
            camera.camera_id,
            found.bank.bank_id,
            found.standard.seconds_seen,
            found.wanted_s,
        )

    def _look(self, camera: Camera, found: Finding, irregularity: Irregularity, live: LiveScore) -> Look | None:
        """What a frame would have counted; the block of time that it belongs to goes on in any case."""
        if self.standards.grid is None:
            return None
        level, by = live.smoothing.level, found.standard
        is_calm = camera.happening is None and camera.teaches and irregularity.teaches
        camera.block, peak = block_after(camera.block, found.header, level, is_calm)
        stage = by.stage(found.wanted_s)
        return Look(found.result, irregularity.measures, level, peak, trust(by.seconds_seen), stage)

    def _untaught(self, camera: Camera, found: Finding, irregularity: Irregularity) -> str | None:
        """Why the memory learns nothing from a frame; None = it does."""
        if camera.happening is not None:
            return "event"
        if (reason := camera.distrust) is not None:
            return reason
        if not irregularity.teaches:
            return "said"
        if not self._passes(found):
            return "gate"
        return None if self.options.updates and found.bank.memory_state in TEACHABLE else "frozen_memory"

    def _propose(self, camera: Camera, found: Finding, look: Look | None, teaches: bool, output: Output) -> None:
        """Into the camera's draft, if it ``teaches``."""
        if camera.draft is not None and not camera.draft.continued_by(found.header, found.bank):
            self.flush_draft(camera, output)
        if camera.draft is not None and (camera.happening is not None or not camera.teaches):
            camera.draft = None  # the second before an anomaly may already hold some of it
            output.tally.proposals["withdrawn"] += 1
        if not teaches:
            return
        if camera.draft is None:
            camera.draft = begin(found.header, found.bank, found.result.sums, look)
        else:
            camera.draft = extend(camera.draft, found.header, found.result.sums, look)
        camera.draft = camera.draft.within(found.traceparent, found.tracestate)
        if camera.draft.is_due(self.options.proposal_interval_s):
            self.flush_draft(camera, output)

    def _passes(self, found: Finding) -> bool:
        """Counts are gated by events alone: a gate on the score would cut off the tail that thresholds are made of."""
        if self.standards.grid is not None:
            return True
        return passes_gate(found.result.regular_score, self.bundle.calibration.gate_threshold)

    def _rules(self, camera: Camera, fps: float) -> EventRules:
        return self.rules(camera.camera_id, fps, camera.standard or self.standards.of("", None))

    def _tell(self, camera: Camera, outcome: Step, output: Output) -> None:
        camera.happening = outcome.state
        if outcome.report is None:
            return
        fps = camera.cursor.fps if camera.cursor is not None else 1.0
        message = event_message(outcome.report, self._scene(camera), self._rules(camera, fps))
        self._publish_event(message, output)
        output.tally.events[outcome.report.phase] += 1

    def _tell_trouble(self, camera: Camera, outcome: Step, output: Output) -> None:
        camera.trouble = outcome.state
        if outcome.report is None:
            return
        cause = camera.recognition.cause if camera.recognition is not None else None
        message = event_message(outcome.report, self._scene(camera), trouble.RULES, cause or "picture")
        self._publish_event(message, output)
        output.tally.events[f"trouble {outcome.report.phase}"] += 1

    def _scene(self, camera: Camera) -> Scene:
        own, bundle = self.rules.camera(camera.camera_id), self.bundle
        worker_id = self.options.worker_id
        return Scene(camera.camera_id, bundle.model, bundle.digest, worker_id, own.zones, own.severity)

    def _publish_event(self, message: AnomalyEvent, output: Output) -> None:
        topic = self.options.topics.anomaly_events
        output.records.append(OutRecord(topic, message.partitionkey, encode_message(message), EVENT_HEADERS))

    def _bury(self, delivery: Delivery, error: BadMessageError, tally: Tally, output: Output) -> None:
        topic = self.options.topics.dead_letters
        output.records.append(dead_letter(delivery.record, error, topic, self.options.worker_id))
        tally.dead_lettered[error.reason] += 1

    def _publish_score(self, score: FrameScore, output: Output) -> None:
        topic = self.options.topics.frame_scores
        output.records.append(OutRecord(topic, score.camera_id, encode_message(score)))

    def _score_record(
        self,
        header: FrameHeader,
        bank: BankRef,
        measures: FrameMeasures | None = None,
        anomaly_score: float | None = None,
    ) -> FrameScore:
        return FrameScore(
            camera_id=header.camera_id,
            session_id=header.session_id,
            frame_index=header.frame_index,
            captured_at=header.captured_at,
            status="warming" if measures is None else "scored",
            psnr_db=measures.psnr_db if measures else None,
            feature_distance=measures.feature_distance if measures else None,
            regular_score=measures.regular_score if measures else None,
            patch_error=measures.patch_error if measures else None,
            anomaly_score=anomaly_score,
            bank_id=bank.bank_id,
            bank_version=bank.version,
            bank_digest=bank.digest,
            memory_state=bank.memory_state,
            bundle_digest=self.bundle.digest,
            proposed=False,
            worker_id=self.options.worker_id,
            scored_at=self.clock(),
        )


def _state_of(camera: Camera) -> RecognitionState | None:
    return camera.recognition.state if camera.recognition is not None else None


def lost_by(camera: Camera) -> EndReason:
    """Who is to blame where an event breaks off: frames that nobody read in time were the workers' to read."""
    return "worker_lost" if camera.is_overlooked else "camera_lost"


def _observation(found: Finding, measures: FrameMeasures, anomaly_score: float) -> Observation:
    """What the tracker sees of a frame, but for what is told of a peak."""
    header = found.header
    peak = Peak(
        frame_index=header.frame_index,
        captured_at=header.captured_at,
        anomaly_score=anomaly_score,
        psnr_db=measures.psnr_db,
        feature_distance=measures.feature_distance,
        regular_score=measures.regular_score,
        offset_s=header.offset_s,
    )
    return Observation(
        header.session_id,
        peak,
        NOTHING_SEEN,
        found.bank,
        header.clock,
        traceparent=found.traceparent,
        tracestate=found.tracestate,
    )
