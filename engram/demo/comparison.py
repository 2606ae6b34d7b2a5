"""Events held against the truth of a synthetic scene."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from producers.synthetic import InjectedAnomaly
from schemas.messages import AnomalyEvent, EventData


@dataclass(frozen=True, slots=True)
class Finding:
    """One injected anomaly and the first event that overlaps it, if any does."""

    camera_id: str
    anomaly: InjectedAnomaly
    event: EventData | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found, what was missed, and what was reported although nothing happened."""

    findings: tuple[Finding, ...]
    false_events: tuple[EventData, ...]

    @property
    def num_found(self) -> int:
        """Injected anomalies with an event."""
        return sum(finding.event is not None for finding in self.findings)


def newest_states(messages: Iterable[AnomalyEvent]) -> tuple[EventData, ...]:
    """The last known state of each event, in order of first appearance."""
    newest: dict[str, AnomalyEvent] = {}
    for message in messages:
        held = newest.get(message.data.event_id)
        if held is None or message.sequence > held.sequence:
            newest[message.data.event_id] = message
    return tuple(message.data for message in newest.values())


def compare(
    truth: Mapping[str, Sequence[InjectedAnomaly]], events: Sequence[EventData], slack_frames: int
) -> Comparison:
    """Match by overlap of frames, which must be those of the scene (one session a camera, no frame left out).

    Args:
        truth: anomalies by camera.
        events: newest state of each event.
        slack_frames: an event may lie this far outside an anomaly and still be due to it: what enters the picture is
            noticed before the truth counts it, and the window holds it for a while after.
    """
    findings = tuple(
        Finding(camera_id, anomaly, next((e for e in events if _is_due_to(e, camera_id, anomaly, slack_frames)), None))
        for camera_id, anomalies in truth.items()
        for anomaly in anomalies
    )
    false_events = tuple(
        event
        for event in events
        if not any(_is_due_to(event, event.camera_id, one, slack_frames) for one in truth.get(event.camera_id, ()))
    )
    return Comparison(findings, false_events)


def _is_due_to(event: EventData, camera_id: str, anomaly: InjectedAnomaly, slack: int) -> bool:
    starts_in_time = event.frames.first <= anomaly.last_frame + slack
    return event.camera_id == camera_id and starts_in_time and event.frames.last >= anomaly.first_frame - slack
