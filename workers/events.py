"""Reports of the tracker as CloudEvents. Ids derive from the data alone, so a re-run sends the same ids."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

from schemas.messages import (
    MAX_GAPS,
    MAX_ZONES,
    READING,
    AnomalyEvent,
    EventData,
    EventPhase,
    FrameSpan,
    Provenance,
    Region,
    Severity,
    Threshold,
    TroubleCause,
)
from schemas.settings.shapes import Polygon, zones_of
from workers.severity import severity_of
from workers.tracker import EventRules, Happening, Report

SOFTWARE = f"engram {version('engram')}"


@dataclass(frozen=True, slots=True)
class Scene:
    """What is known of where and by whom a report was made; ``severity`` None = by how rare the peak is."""

    camera_id: str
    model: str
    bundle_digest: str
    worker_id: str
    zones: Mapping[str, Polygon] = field(default_factory=dict)
    severity: Severity | None = None


def event_message(report: Report, scene: Scene, rules: EventRules, trouble: TroubleCause | None = None) -> AnomalyEvent:
    """The message to publish for one report of the tracker; ``trouble`` says why, where it is the camera's own."""
    event_id = f"{scene.camera_id}:{report.happening.session_id}:{report.happening.first_frame}"
    event_id += ":trouble" if trouble else ""
    sequence = report.happening.sequence - 1
    return AnomalyEvent.model_validate(
        {
            "id": f"{event_id}:{sequence}",
            "source": f"/engram/{scene.camera_id}",
            "type": f"dev.engram.{'trouble' if trouble else 'anomaly'}.{report.phase}.v1",
            "subject": f"events/{event_id}",
            "time": report.at,
            "partitionkey": scene.camera_id,
            "sequence": f"{sequence:020d}",
            "traceparent": report.happening.traceparent,
            "tracestate": report.happening.tracestate,
            "data": _data(event_id, report, scene, rules).model_copy(update={"trouble": trouble}),
        }
    )


def _data(event_id: str, report: Report, scene: Scene, rules: EventRules) -> EventData:
    happening = report.happening
    phase: EventPhase = report.phase
    return EventData(
        event_id=event_id,
        phase=phase,
        camera_id=scene.camera_id,
        session_id=happening.session_id,
        started_at=happening.started_at,
        last_at=happening.last_at,
        ended_at=happening.last_at if phase == "end" else None,
        end_reason=report.end_reason,
        frames=_frames(happening),
        current_score=happening.current_score,
        peak=happening.peak,
        heat_map=happening.heat_map,
        regions=tuple(_placed(region, scene) for region in happening.regions),
        curve=happening.curve,
        threshold=Threshold(
            enter=rules.enter,
            exit=rules.exit,
            method=rules.method,
            target_false_alarms_per_day=rules.target_false_alarms_per_day,
        ),
        provenance=_provenance(happening, scene),
        severity=scene.severity or _severity(happening, rules),
        clock=happening.clock,
        stretches=happening.stretches,
        gaps=tuple(gap for gap in happening.gaps[:MAX_GAPS] if gap.first <= happening.last_frame),
        thumbnail=happening.thumbnail if report.shows_peak else None,
        trace=None if happening.trace is None else happening.trace.heat_map,
        extents=() if happening.trace is None else happening.trace.extents,
    )


def _placed(region: Region, scene: Scene) -> Region:
    """With the names of the zones that it lies in, as they are now."""
    return region.model_copy(update={"zones": zones_of(region.box, scene.zones)[:MAX_ZONES]})


def _severity(happening: Happening, rules: EventRules) -> Severity | None:
    return None if happening.peak.rarity is None else severity_of(happening.peak.rarity, rules)


def _frames(happening: Happening) -> FrameSpan:
    first, last, scored = happening.first_frame, happening.last_frame, happening.num_scored
    return FrameSpan(first=first, last=last, scored=scored, missing=max(0, last - first + 1 - scored))


def _provenance(happening: Happening, scene: Scene) -> Provenance:
    told = {
        "model": scene.model,
        "bundle_digest": scene.bundle_digest,
        "bank_id": happening.bank.bank_id,
        "bank_version": happening.bank.version,
        "bank_digest": happening.bank.digest,
        "memory_state": happening.bank.memory_state,
        "worker_id": scene.worker_id,
        "software": SOFTWARE,
    }
    # As a reader: the event may have been begun by a newer worker, which has words that this one does not know.
    return Provenance.model_validate(told, context=READING)
