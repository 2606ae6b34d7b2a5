"""The shipped bundle detects: five scenes it has never seen, through the whole of Engram."""

from benchmarks.detection import detect

SEEDS = (101, 202, 303, 404, 505)
SECONDS = 60.0


def test_nine_in_ten_anomalies_are_found_and_false_events_are_rare() -> None:
    found = detect(SEEDS, SECONDS)
    assert len(found.findings) >= 12
    missed = [(one.camera_id, one.anomaly.kind, one.anomaly.first_frame) for one in found.findings if one.event is None]
    assert len(missed) <= 0.1 * len(found.findings), missed
    assert len(found.false_events) <= len(SEEDS) * SECONDS / 60
