"""When an anomaly begins and ends: hysteresis, minimum length, merging. Pure: state and observation in, state out.

    calm --score >= enter--> candidate --lasts min_duration--> open --below exit for merge_gap--> calm (end: cleared)
                                  |                              |
                                  +--below exit--> calm          +--lasts max_duration--> calm (end: timeout)

Time is capture time, so a replay gives the same events; where it breaks, an event ends (``interrupted``). An event that
dips below ``exit`` and rises above ``enter`` again within ``merge_gap_s`` is one event.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from schemas.messages import (
    Count,
    Digest,
    EndReason,
    EventPhase,
    HeatMap,
    Id,
    MemoryState,
    Peak,
    Region,
    ScorePoint,
    Unit,
    UtcTime,
)
from workers.continuity import longest_step

MAX_CURVE_POINTS = 64


@dataclass(frozen=True, slots=True)
class EventRules:
    """Bounds on the anomaly score, [0, 1], and on capture time."""

    enter: float
    exit: float
    min_duration_s: float
    merge_gap_s: float
    update_interval_s: float
    max_duration_s: float
    method: Literal["calibrated", "fixed"] = "calibrated"
    target_false_alarms_per_day: float | None = None


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
class Observation:
    """One scored frame as the tracker sees it. ``heat_map`` and ``regions`` matter only where the score peaks."""

    session_id: str
    peak: Peak
    heat_map: HeatMap
    regions: tuple[Region, ...]
    bank: BankRef

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


@dataclass(frozen=True, slots=True)
class Report:
    """Something to tell: ``happening`` is the event's state at this phase, ``at`` the capture time that caused it."""

    phase: EventPhase
    happening: Happening
    at: datetime
    end_reason: EndReason | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """Outcome of one observation: the state to carry on with (None = calm) and at most one report."""

    state: Happening | None
    report: Report | None = None


def step(state: Happening | None, seen: Observation, rules: EventRules) -> Step:
    """Advance one camera's tracker by one scored frame."""
    in_streak = state is not None and state.num_calm == 0
    if seen.score >= (rules.exit if in_streak else rules.enter):
        return _anomalous(_begin(seen) if state is None else _extend(state, seen), rules)
    if state is None or not state.is_open:
        return Step(None)
    calmer = replace(_observe(state, seen), num_calm=state.num_calm + 1)
    if seen.captured_at - state.last_at > timedelta(seconds=rules.merge_gap_s):
        return close(calmer, "cleared", seen.captured_at)
    return Step(calmer)


def close(state: Happening | None, reason: EndReason, at: datetime) -> Step:
    """End whatever is going on; a candidate that never opened vanishes without a word."""
    if state is None or not state.is_open:
        return Step(None)
    return Step(None, Report("end", replace(state, sequence=state.sequence + 1), at, reason))


def interrupted(state: Happening | None, at: datetime, fps: float, rules: EventRules) -> Step | None:
    """The end of what is going on, if time breaks before a frame captured at ``at``; None if the frame belongs to it.

    Silence is not evidence: an event does not reach over more of it than two stretches may be apart to be one event.
    """
    if state is None:
        return None
    longest = max(timedelta(seconds=rules.merge_gap_s), longest_step(fps))
    if timedelta(0) <= at - state.last_at <= longest:
        return None
    return close(state, "camera_lost" if state.num_calm == 0 else "cleared", state.last_at)


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
    told = replace(state, sequence=state.sequence + 1, told_at=state.last_at)
    return Step(told, Report(phase, told, state.last_at))


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
            heat_map=seen.heat_map,
            regions=seen.regions,
            bank=seen.bank,
            num_scored=1,
        ),
        seen,
    )


def _extend(state: Happening, seen: Observation) -> Happening:
    num_scored = state.num_scored + state.num_calm + 1
    longer = replace(state, last_frame=seen.frame_index, last_at=seen.captured_at, num_scored=num_scored, num_calm=0)
    if seen.score > state.peak.anomaly_score:
        longer = replace(longer, peak=seen.peak, heat_map=seen.heat_map, regions=seen.regions)
    return _observe(longer, seen)


def _observe(state: Happening, seen: Observation) -> Happening:
    """Note the newest score and bank; thin the curve out to every second point whenever it is full."""
    curve, stride = state.curve, state.curve_stride
    if (seen.frame_index - state.first_frame) % stride == 0:
        curve = (*curve, ScorePoint(frame_index=seen.frame_index, anomaly_score=seen.score))
    if len(curve) > MAX_CURVE_POINTS:
        curve, stride = curve[::2], stride * 2
    return replace(state, curve=curve, curve_stride=stride, current_score=seen.score, bank=seen.bank)
