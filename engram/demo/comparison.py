"""Events held against the truth of a synthetic scene.

What counts, in frames of the scene (one session a camera, none left out):

* an event belongs to the anomaly that its *peak* lies in: there it was surest, so that is what it reports;
* an anomaly is found if an event belongs to it; an event that belongs to none is false;
* frames that an event holds further than ``TOLERANCE_S`` from every anomaly are false, whatever its peak says. An event
  may begin that early, since what enters the picture is noticed before the truth counts it, and end that late, since
  the window and the smoothing hold it for a while.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from producers.synthetic import InjectedAnomaly
from schemas.messages import AnomalyEvent, EventData

TOLERANCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One injected anomaly and the first event whose peak lies in it, if any does."""

    camera_id: str
    anomaly: InjectedAnomaly
    event: EventData | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found, what was missed, and what was reported although nothing happened.

    Attributes:
        findings: one an anomaly.
        false_events: whose peak lies in no anomaly.
        false_frames: that events held although no anomaly was near; of all events, the false ones too.
        fps: frames a second of the scenes.
    """

    findings: tuple[Finding, ...]
    false_events: tuple[EventData, ...]
    false_frames: int
    fps: float

    @property
    def num_found(self) -> int:
        """Injected anomalies with an event."""
        return sum(finding.event is not None for finding in self.findings)

    @property
    def false_s(self) -> float:
        """Seconds of video, over all cameras."""
        return self.false_frames / self.fps


def newest_states(messages: Iterable[AnomalyEvent]) -> tuple[EventData, ...]:
    """The last known state of each event, in order of first appearance."""
    newest: dict[str, AnomalyEvent] = {}
    for message in messages:
        held = newest.get(message.data.event_id)
        if held is None or message.sequence > held.sequence:
            newest[message.data.event_id] = message
    return tuple(message.data for message in newest.values())


def compare(truth: Mapping[str, Sequence[InjectedAnomaly]], events: Sequence[EventData], fps: float) -> Comparison:
    """Match by peak, and count what lies outside.

    Args:
        truth: anomalies by camera.
        events: newest state of each event.
        fps: frames a second of the scenes.
    """
    findings = tuple(
        Finding(camera_id, one, next((event for event in events if _peaks_in(event, camera_id, one)), None))
        for camera_id, anomalies in truth.items()
        for one in anomalies
    )
    false_events = tuple(
        event
        for event in events
        if not any(_peaks_in(event, event.camera_id, one) for one in truth.get(event.camera_id, ()))
    )
    tolerance = round(TOLERANCE_S * fps)
    outside = {event.event_id: _outside(event, truth.get(event.camera_id, ()), tolerance) for event in events}
    return Comparison(findings, false_events, sum(outside.values()), fps)


def _peaks_in(event: EventData, camera_id: str, anomaly: InjectedAnomaly) -> bool:
    return event.camera_id == camera_id and anomaly.first_frame <= event.peak.frame_index <= anomaly.last_frame


def _outside(event: EventData, anomalies: Sequence[InjectedAnomaly], tolerance: int) -> int:
    """How many frames of an event are further than ``tolerance`` from every anomaly."""
    held = range(event.frames.first, event.frames.last + 1)
    near = {frame for one in anomalies for frame in range(one.first_frame - tolerance, one.last_frame + tolerance + 1)}
    return sum(frame not in near for frame in held)


def false_alarms(comparison: Comparison) -> str:
    """What was reported although nothing happened, in words."""
    text = f"{len(comparison.false_events)} false events; events hold {comparison.false_s:.0f} s"
    return f"{text} further than {TOLERANCE_S:g} s from any anomaly"
