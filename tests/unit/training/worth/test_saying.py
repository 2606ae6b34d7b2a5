"""The arm about verdicts: what is taught falls silent, what is larger does not, and the figures say so."""

from dataclasses import replace

import numpy as np

from tests.unit.training.worth.makeshift import scene
from training.worth.saying import LARGE_PX, verdict
from training.worth.scenes import Scene, Take


def showing(take: Take, height: int, width: int, pixels: int) -> Take:
    """Something of that size, always as fast, in the abnormal frames."""
    assert take.labels_F is not None
    speeds, errors = take.seen.speeds_FRS.copy(), take.seen.errors_FRS.copy()
    where = np.flatnonzero(take.labels_F), slice(4, 4 + height), slice(4, 4 + width)
    speeds[where], errors[where] = 4.0, 1e-3
    seen = replace(take.seen, speeds_FRS=speeds, errors_FRS=errors)
    return replace(take, seen=seen, area_F=take.labels_F.astype(np.int64) * pixels)


def test_one_kind_is_taught_and_the_other_goes_on_to_alarm() -> None:
    plain = scene("walk", 1.0, 0)
    tests = (*(showing(take, 6, 6, 500) for take in plain.test[:3]), showing(plain.test[3], 10, 18, LARGE_PX + 1))
    rows = list(verdict([Scene("walk", plain.normal, tests)]))
    first = {row.measure: (row.value, row.note) for row in rows if row.what == "place, 1 events of clips 1 to 1"}
    assert first["% of small anomalies over"][0] < 100.0
    assert first["% of large anomalies over"] == (100.0, "100.0 before it was said")
    normal, note = first["% of normal frames over"]
    assert normal < float(note.split()[0])
    assert first["events, their own clips"] == (0.0, "1 before")
    assert {row.what.partition(",")[0] for row in rows} == {"place", "camera"}
    assert not [row for row in rows if row.what.endswith("clips 4 to 4")], "nobody calls the large one normal"
