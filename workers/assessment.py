"""The second half of a frame's way: from what the network said to a score, an event, a contribution to the memory.

Frames pass through here in log order per camera, whatever batch they were computed in, so neither batch size nor the
number of workers changes a result.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from bundles.bundle import Bundle
from messaging.ports import OutRecord
from schemas.codec import EVENT_HEADERS, encode_message
from schemas.errors import BadMessageError
from schemas.messages import FrameHeader, FrameScore, Peak
from workers.arrivals import dead_letter
from workers.camera import Camera
from workers.engine import ClipResult
from workers.events import Scene, event_message
from workers.heatmap import heat_map, regions
from workers.options import WorkerOptions
from workers.output import Output
from workers.partition import Admitted
from workers.proposals import begin, extend, proposal_record
from workers.scoring import live_score
from workers.tracker import BankRef, EventRules, Observation, Step, close, step


@dataclass(frozen=True, slots=True)
class Assessor:
    """Turns admitted records and network results into the records of ``Output``. Holds no state of its own.

    Attributes:
        bundle: gives the calibration, and names what the scores were computed with.
        rules: event rules for a camera's frame rate.
        clock: wall clock, for ``scored_at`` only.
    """

    options: WorkerOptions
    bundle: Bundle
    rules: Callable[[float], EventRules]
    clock: Callable[[], datetime]

    def assess(self, admitted: Admitted, result: ClipResult | None, bank: BankRef | None, output: Output) -> None:
        """Take one admitted record to its end.

        Args:
            admitted: the record; ``clip`` needs ``result`` and ``bank``, ``warming`` needs ``bank``.
            result: what the network measured on the clip.
            bank: the bank version that was read.
            output: where records, states and counts go.
        """
        delivery = admitted.arrival.delivery
        if delivery.is_replay:
            return
        output.claims.add(delivery.claim)
        output.tally.received += 1
        if admitted.camera is not None and admitted.outcome != "skipped":
            output.dirty.add((delivery.claim, admitted.camera.camera_id))
        self._assess(admitted, result, bank, output)

    def close_event(self, camera: Camera, step_out: Step, output: Output) -> None:
        """Publish the end of whatever was open on a camera, and forget what it was about to contribute."""
        self._tell(camera, step_out, output)
        self.flush_draft(camera, output)

    def flush_draft(self, camera: Camera, output: Output) -> None:
        """Publish what a camera has gathered for the memory, if anything."""
        if camera.draft is not None:
            topic = self.options.topics.memory_updates
            output.records.append(proposal_record(camera.draft, camera.camera_id, self.bundle.digest, topic))
            output.tally.proposals["published"] += 1
            camera.draft = None

    def _assess(self, admitted: Admitted, result: ClipResult | None, bank: BankRef | None, output: Output) -> None:
        header, camera = admitted.arrival.header, admitted.camera
        if admitted.outcome == "skipped":
            output.tally.skipped[admitted.skip or "unknown"] += 1
        elif admitted.outcome == "dead":
            assert admitted.error is not None
            self._bury(admitted, admitted.error, output)
        elif header is not None and camera is not None:
            if camera.happening is not None and camera.happening.session_id != header.session_id:
                self.close_event(camera, close(camera.happening, "session_ended", camera.happening.last_at), output)
            self._in_session(admitted, (camera, header), (result, bank), output)

    def _in_session(
        self,
        admitted: Admitted,
        where: tuple[Camera, FrameHeader],
        found: tuple[ClipResult | None, BankRef | None],
        output: Output,
    ) -> None:
        (camera, header), (result, bank) = where, found
        if admitted.outcome == "session_end":
            output.tally.session_ends += 1
            self.close_event(camera, close(camera.happening, "session_ended", header.captured_at), output)
            camera.smoothing = None
            return
        assert bank is not None
        if admitted.outcome == "warming":
            camera.smoothing = None
            output.tally.warming += 1
            self._publish_score(self._unscored(header, bank), output)
            return
        assert result is not None
        if not result.finite:
            text = f"every measure must be finite; camera '{header.camera_id}' frame {header.frame_index} gave NaN"
            self._bury(admitted, BadMessageError("not_finite", text), output)
            return
        output.tally.scored += 1
        self._score(camera, header, result, bank, output)

    def _score(
        self, camera: Camera, header: FrameHeader, result: ClipResult, bank: BankRef, output: Output
    ) -> None:
        live = live_score(result.measures, camera.smoothing, self.bundle.calibration)
        camera.smoothing = live.smoothing
        seen = _observation(header, result, live.anomaly_score, bank)
        rules = self.rules(header.fps)
        self._tell(camera, step(camera.happening, seen, rules), output)
        proposed = self._propose(camera, header, result, bank, output)
        measures = result.measures
        score = replace_numbers(
            self._unscored(header, bank),
            status="scored",
            psnr_db=measures.psnr_db,
            feature_distance=measures.feature_distance,
            regular_score=measures.regular_score,
            patch_error=measures.patch_error,
            anomaly_score=live.anomaly_score,
            proposed=proposed,
        )
        self._publish_score(score, output)

    def _propose(
        self, camera: Camera, header: FrameHeader, result: ClipResult, bank: BankRef, output: Output
    ) -> bool:
        """Gate (MNAD section 3.3: update only with frames whose regular score is low), then join the camera's draft."""
        if camera.draft is not None and not camera.draft.continued_by(header, bank):
            self.flush_draft(camera, output)
        if camera.happening is not None:
            if camera.draft is not None:
                camera.draft = None
                output.tally.proposals["withdrawn"] += 1
            return False
        passes = result.measures.regular_score < self.bundle.calibration.gate_threshold
        if not (self.options.updates and passes and bank.memory_state in ("live", "initial")):
            return False
        if camera.draft is None:
            camera.draft = begin(header, bank, result.sums)
        else:
            camera.draft = extend(camera.draft, header, result.sums)
        if camera.draft.is_due(self.options.proposal_interval_s):
            self.flush_draft(camera, output)
        return True

    def _tell(self, camera: Camera, outcome: Step, output: Output) -> None:
        camera.happening = outcome.state
        if outcome.report is None:
            return
        scene = Scene(camera.camera_id, self.bundle.model, self.bundle.digest, self.options.worker_id)
        fps = camera.cursor.fps if camera.cursor is not None else 1.0
        message = event_message(outcome.report, scene, self.rules(fps))
        topic = self.options.topics.anomaly_events
        output.records.append(OutRecord(topic, camera.camera_id, encode_message(message), EVENT_HEADERS))
        output.tally.events[outcome.report.phase] += 1

    def _bury(self, admitted: Admitted, error: BadMessageError, output: Output) -> None:
        record = admitted.arrival.delivery.record
        output.records.append(dead_letter(record, error, self.options.topics.dead_letters, self.options.worker_id))
        output.tally.dead_lettered[error.reason] += 1

    def _publish_score(self, score: FrameScore, output: Output) -> None:
        topic = self.options.topics.frame_scores
        output.records.append(OutRecord(topic, score.camera_id, encode_message(score)))

    def _unscored(self, header: FrameHeader, bank: BankRef) -> FrameScore:
        return FrameScore(
            camera_id=header.camera_id,
            session_id=header.session_id,
            frame_index=header.frame_index,
            captured_at=header.captured_at,
            status="warming",
            psnr_db=None,
            feature_distance=None,
            regular_score=None,
            patch_error=None,
            anomaly_score=None,
            bank_id=bank.bank_id,
            bank_version=bank.version,
            bank_digest=bank.digest,
            memory_state=bank.memory_state,
            bundle_digest=self.bundle.digest,
            proposed=False,
            worker_id=self.options.worker_id,
            scored_at=self.clock(),
        )


def replace_numbers(score: FrameScore, **numbers: object) -> FrameScore:
    """A copy with other values, validated (``model_copy`` would not)."""
    return FrameScore.model_validate({**dict(score), **numbers})


def _observation(header: FrameHeader, result: ClipResult, anomaly_score: float, bank: BankRef) -> Observation:
    peak = Peak(
        frame_index=header.frame_index,
        captured_at=header.captured_at,
        anomaly_score=anomaly_score,
        psnr_db=result.measures.psnr_db,
        feature_distance=result.measures.feature_distance,
        regular_score=result.measures.regular_score,
    )
    errors_RK = result.patch_errors_RK
    return Observation(header.session_id, peak, heat_map(errors_RK), regions(errors_RK), bank)


