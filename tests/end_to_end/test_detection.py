"""The shipped bundle detects: three scenes it has never seen, through the whole of Engram.

When a version of the memory comes, and so which frames it judges, hangs on how busy the machine is: 9 of the 10
anomalies hold a peak, 1 or 2 events are false, events hold 18 to 22 s too many. The bounds lie between that and what
chance does: as many events with their peaks anywhere would hit 3 anomalies, and 8 of them once in 1300 runs.
"""

import pytest

from benchmarks.detection import detect

SEEDS = (101, 202, 303)
SECONDS = 60.0


@pytest.mark.timeout(900)  # nothing in it waits: it computes for as long as it takes
def test_three_in_four_anomalies_hold_a_peak_and_little_else_is_reported() -> None:
    found = detect(SEEDS, SECONDS)
    assert len(found.findings) >= 8
    missed = [(one.camera_id, one.anomaly.kind, one.anomaly.first_frame) for one in found.findings if one.event is None]
    assert len(missed) <= len(found.findings) / 4, missed
    assert len(found.false_events) <= len(SEEDS) * SECONDS / 60
    assert found.false_s <= 0.15 * len(SEEDS) * SECONDS
