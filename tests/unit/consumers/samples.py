"""Valid messages to start from."""

from datetime import datetime, timedelta, timezone
from typing import Any

from schemas.messages import AnomalyEvent, EventPhase, FrameScore

ORIGIN = datetime(2026, 3, 1, 8, 0, tzinfo=timezone.utc)
DIGEST = "0" * 64
FPS = 10.0


def at(frame_index: int) -> datetime:
    return ORIGIN + timedelta(seconds=frame_index / FPS)


def score(frame_index: int, anomaly_score: float | None = 0.25, camera_id: str = "cam1", **changes: Any) -> FrameScore:
    number = None if anomaly_score is None else 0.125
    values = {
        "camera_id": camera_id,
        "session_id": "s1",
        "frame_index": frame_index,
        "captured_at": at(frame_index),
        "status": "warming" if anomaly_score is None else "scored",
        "psnr_db": None if anomaly_score is None else 31.5,
        "feature_distance": number,
        "regular_score": number,
        "patch_error": number,
        "anomaly_score": anomaly_score,
        "bank_id": "shared",
        "bank_version": 3,
        "bank_digest": DIGEST,
        "memory_state": "live",
        "bundle_digest": DIGEST,
        "proposed": False,
        "worker_id": "w1",
        "scored_at": at(frame_index),
    }
    return FrameScore.model_validate(values | changes)


def event(first: int, last: int, phase: EventPhase = "start", number: int = 0, camera_id: str = "cam1") -> AnomalyEvent:
    event_id = f"{camera_id}:s1:{first}"
    data = {
        "event_id": event_id,
        "phase": phase,
        "camera_id": camera_id,
        "session_id": "s1",
        "started_at": at(first),
        "last_at": at(last),
        "ended_at": at(last) if phase == "end" else None,
        "end_reason": "cleared" if phase == "end" else None,
        "frames": {"first": first, "last": last, "scored": last - first + 1},
        "current_score": 0.9,
        "peak": {
            "frame_index": last,
            "captured_at": at(last),
            "anomaly_score": 0.97,
            "psnr_db": 22.0,
            "feature_distance": 0.4,
            "regular_score": 0.03,
        },
        "heat_map": {"rows": 2, "columns": 2, "values": (0, 0, 0, 255)},
        "regions": ({"box": (0.5, 0.5, 0.5, 0.5), "score": 0.9},),
        "curve": ({"frame_index": first, "anomaly_score": 0.9},),
        "threshold": {"enter": 0.8, "exit": 0.6, "method": "fixed", "target_false_alarms_per_day": None},
        "provenance": {
            "model": "mnad",
            "bundle_digest": DIGEST,
            "bank_id": "shared",
            "bank_version": 3,
            "bank_digest": DIGEST,
            "memory_state": "live",
            "worker_id": "w1",
            "software": "engram",
        },
    }
    return AnomalyEvent.model_validate(
        {
            "id": f"{event_id}:{number}",
            "source": f"/engram/{camera_id}",
            "type": f"dev.engram.anomaly.{phase}.v1",
            "subject": f"events/{event_id}",
            "time": at(last),
            "partitionkey": camera_id,
            "sequence": f"{number:020d}",
            "data": data,
        }
    )
