"""When an anomaly begins and ends: hysteresis, minimum length, merging. Pure: state and observation in, state out.

    calm --score >= enter--> candidate --lasts min_duration--> open --below exit for a while--> calm (end: cleared)
                                  |                              |
                                  +--below exit--> calm          +--lasts max_duration--> calm (end: timeout)

Time is capture time, so a replay gives the same events; where it breaks, an event ends (``interrupted``). An event that
dips below ``exit`` and rises above ``enter`` again within ``merge_gap_s``, or ``cooldown_s`` if that is longer, is one
event; how often it did is counted (``stretches``).
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from inference.sampling import longest_step
from schemas.messages import (
    MAX_GAPS,
    Count,
    Digest,
    EndReason,
    EventPhase,
    Extents,
    FrameGap,
    HeatMap,
    Id,
    MemoryState,
    Peak,
    Region,
    ScorePoint,
    Thumbnail,
    TraceParent,
    TraceState,
    Unit,
    UtcTime,
    Word,
)

MAX_CURVE_POINTS = 64


@dataclass(frozen=True, slots=True)
class EventRules:
    """Bounds on the anomaly score, [0, 1], and on capture time, see ``schemas.settings.detection.EventsSection``."""

    enter: float
    exit: float
    min_duration_s: float
    merge_gap_s: float
    update_interval_s: float
    max_duration_s: float
    method: Literal["calibrated", "fixed"] = "calibrated"
    target_false_alarms_per_day: float | None = None
    cooldown_s: float = 0.0
    warning_per_day: float = 0.03
    critical_per_day: float = 0.0003

    @property
    def patience(self) -> timedelta:
        """Calm for longer than this ends an event."""
        return timedelta(seconds=max(self.merge_gap_s, self.cooldown_s))


@dataclass(frozen=True, slots=True)
class BankRef:
    """The bank version a frame was scored with.

    Attributes:
        items_digest: of its items alone; None in states of an older Engram, or where nothing is proposed.
    """

    bank_id: Id
    version: Count
    digest: Digest
    memory_state: MemoryState
    items_digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """What is to be seen on a frame: where it is unusual, and its picture, if pictures are wanted."""

    heat_map: HeatMap
    regions: tuple[Region, ...] = ()
    thumbnail: Thumbnail | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """What something looked like over some frames: the most unusual that each place was, and the largest size there.

    Attributes:
        heat_map: on the common scale.
        extents: see ``schemas.messages.Extents``.
    """

    heat_map: HeatMap
    extents: Extents = ()

    def with_(self, other: "Trace") -> "Trace":
        """Over the frames of both; of another shape, which a camera has after a change of its bundle, the newer."""
        one, two = self.heat_map, other.heat_map
        if (one.rows, one.columns, len(self.extents)) != (two.rows, two.columns, len(other.extents)):
            return other
        values = tuple(map(max, one.values, two.values))
        return Trace(one.model_copy(update={"values": values}), tuple(map(max, self.extents, other.extents)))


@dataclass(frozen=True, slots=True)
class Observation:
    """One scored frame as the tracker sees it.

    ``sight`` matters only where the score peaks (``is_peak``), ``trace`` where the frame is anomalous
    (``is_anomalous``). ``traceparent`` and ``tracestate`` are of the frame's record.
    """

    session_id: str
    peak: Peak
    sight: Sight
    bank: BankRef
    clock: str
    trace: "Trace | None" = None
    traceparent: str | None = None
    tracestate: str | None = None

    @property
    def frame_index(self) -> int:
        """Index of the frame in its session."""
        return self.peak.frame_index

    @property
    def captured_at(self) -> datetime:
        """Capture time, UTC."""
        return self.peak.captured_at

    @property
    def score(self) -> float:
        """Anomaly score in [0, 1]."""
        return self.peak.anomaly_score


@dataclass(frozen=True, slots=True)
class Happening:
    """A candidate or open event.

    Attributes:
        last_frame, last_at: the last anomalous frame so far.
        num_scored: frames scored from ``first_frame`` to ``last_frame``.
        num_calm: frames scored since ``last_frame``; above 0 the score is below ``exit`` and the merge gap runs.
        sequence: messages sent for this event so far.
        told_at: capture time of the newest message.
        told_peak: frame of the peak that the newest message told of.
        newest_frame, newest_at: the last frame scored; None in states of an older Engram.
        gaps: the first frames without a score among those so far; some may lie behind ``last_frame``.
        stretches: anomalous stretches with calm frames between them.
        trace: over the anomalous frames; None in an event that an older Engram began.
        traceparent, tracestate: of the first anomalous frame that has the first.
    """

    session_id: Id
    first_frame: Count
    started_at: UtcTime
    last_frame: Count
    last_at: UtcTime
    current_score: Unit
    peak: Peak
    heat_map: HeatMap
    regions: tuple[Region, ...]
    bank: BankRef
    curve: tuple[ScorePoint, ...] = ()
    curve_stride: Annotated[int, Field(ge=1)] = 1
    num_scored: Count = 0
    num_calm: Count = 0
    is_open: bool = False
    sequence: Count = 0
    told_at: UtcTime | None = None
    told_peak: Count | None = None
    clock: Word | None = None
    thumbnail: Thumbnail | None = None
    newest_frame: Count | None = None
    newest_at: UtcTime | None = None
    gaps: tuple[FrameGap, ...] = ()
    stretches: Annotated[int, Field(ge=1)] = 1
    trace: Trace | None = None
    traceparent: TraceParent = None
    tracestate: TraceState = None


@dataclass(frozen=True, slots=True)
class Report:
    """Something to tell.

    Attributes:
        happening: the event's state at this phase.
        at: the capture time that caused it.
        shows_peak: whether its picture belongs to it: an update of the same peak leaves it out.
    """

    phase: EventPhase
    happening: Happening
    at: datetime
    end_reason: EndReason | None = None
    shows_peak: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """Outcome of one observation: the state to carry on with (None = calm) and at most one report."""

    state: Happening | None
    report: Report | None = None


def is_anomalous(state: Happening | None, score: float, rules: EventRules) -> bool:
    """Whether a frame with this score begins something or belongs to what is going on."""
    return score >= _bound(state, rules)


def is_peak(state: Happening | None, score: float, rules: EventRules) -> bool:
    """Whether a frame with this score begins something or becomes the peak of what is going on."""
    return is_anomalous(state, score, rules) and (state is None or score > state.peak.anomaly_score)


def step(state: Happening | None, seen: Observation, rules: EventRules) -> Step:
    """Advance one camera's tracker by one scored frame."""
    if is_anomalous(state, seen.score, rules):
        return _anomalous(_begin(seen) if state is None else _extend(state, seen), rules)
    if state is None or not state.is_open:
        return Step(None)
    calmer = replace(_observe(state, seen), num_calm=state.num_calm + 1)
    if seen.captured_at - state.last_at > rules.patience:
        return close(calmer, "cleared", seen.captured_at)
    return Step(calmer)


def _bound(state: Happening | None, rules: EventRules) -> float:
    """The score from which on a frame is anomalous: the lower one within a stretch."""
    return rules.exit if state is not None and state.num_calm == 0 else rules.enter


def close(state: Happening | None, reason: EndReason, at: datetime) -> Step:
    """End whatever is going on; a candidate that never opened vanishes without a word."""
    if state is None or not state.is_open:
        return Step(None)
    return Step(None, Report("end", replace(state, sequence=state.sequence + 1), at, reason))


def interrupted(
    state: Happening | None, at: datetime, fps: float, rules: EventRules, lost: EndReason = "camera_lost"
) -> Step | None:
    """The end of what is going on, if time breaks before a frame captured at ``at``; None if the frame belongs to it.

    Silence is not evidence: an event reaches over no more of it than two stretches may be apart without a cool-down.

    Args:
        state: what is going on.
        at: capture time of the next frame.
        fps: frames a second of its camera.
        rules: bounds.
        lost: the reason, if the anomaly was going on until the silence.
    """
    if state is None:
        return None
    silence = max(timedelta(seconds=rules.merge_gap_s), longest_step(fps))
    calm = max(rules.patience, longest_step(fps))
    if timedelta(0) <= at - state.last_at <= calm and at - (state.newest_at or state.last_at) <= silence:
        return None
    return close(state, lost if state.num_calm == 0 else "cleared", state.last_at)


def _anomalous(state: Happening, rules: EventRules) -> Step:
    lasted = state.last_at - state.started_at
    if not state.is_open:
        if lasted < timedelta(seconds=rules.min_duration_s):
            return Step(state)
        return _tell("start", replace(state, is_open=True))
    if lasted >= timedelta(seconds=rules.max_duration_s):
        return close(state, "timeout", state.last_at)
    if state.told_at is None or state.last_at - state.told_at >= timedelta(seconds=rules.update_interval_s):
        return _tell("update", state)
    return Step(state)


def _tell(phase: EventPhase, state: Happening) -> Step:
    peak = state.peak.frame_index
    told = replace(state, sequence=state.sequence + 1, told_at=state.last_at, told_peak=peak)
    return Step(told, Report(phase, told, state.last_at, shows_peak=peak != state.told_peak))


def _begin(seen: Observation) -> Happening:
    return _observe(
        Happening(
            session_id=seen.session_id,
            first_frame=seen.frame_index,
            started_at=seen.captured_at,
            last_frame=seen.frame_index,
            last_at=seen.captured_at,
            current_score=seen.score,
            peak=seen.peak,
            heat_map=seen.sight.heat_map,
            regions=seen.sight.regions,
            thumbnail=seen.sight.thumbnail,
            bank=seen.bank,
            clock=seen.clock,
            num_scored=1,
            trace=seen.trace,
            traceparent=seen.traceparent,
            tracestate=seen.tracestate,
        ),
        seen,
    )


def _extend(state: Happening, seen: Observation) -> Happening:
    longer = replace(
        state,
        last_frame=seen.frame_index,
        last_at=seen.captured_at,
        num_scored=state.num_scored + state.num_calm + 1,
        num_calm=0,
        stretches=state.stretches + (state.num_calm > 0),
        trace=state.trace.with_(seen.trace) if state.trace and seen.trace else state.trace,
        traceparent=state.traceparent or seen.traceparent,
        tracestate=state.tracestate if state.traceparent else seen.tracestate,
    )
    if seen.score > state.peak.anomaly_score:
        sight = seen.sight
        longer = replace(
            longer, peak=seen.peak, heat_map=sight.heat_map, regions=sight.regions, thumbnail=sight.thumbnail
        )
    return _observe(longer, seen)


def _observe(state: Happening, seen: Observation) -> Happening:
    """Note the newest score, bank and gap; thin the curve out to every second point whenever it is full."""
    curve, stride = state.curve, state.curve_stride
    if (seen.frame_index - state.first_frame) % stride == 0:
        curve = (*curve, ScorePoint(frame_index=seen.frame_index, anomaly_score=seen.score))
    if len(curve) > MAX_CURVE_POINTS:
        curve, stride = curve[::2], stride * 2
    return replace(
        state,
        curve=curve,
        curve_stride=stride,
        current_score=seen.score,
        bank=seen.bank,
        newest_frame=seen.frame_index,
        newest_at=seen.captured_at,
        gaps=_gaps(state, seen.frame_index),
    )


def _gaps(state: Happening, frame_index: int) -> tuple[FrameGap, ...]:
    """With the frames that are missing before the one just scored."""
    expected = frame_index if state.newest_frame is None else state.newest_frame + 1
    if frame_index <= expected or len(state.gaps) == MAX_GAPS:
        return state.gaps
    return (*state.gaps, FrameGap(first=expected, last=frame_index - 1))
