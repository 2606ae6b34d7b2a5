"""The arm about verdicts: what is taught falls silent, what is larger does not, and the figures say so."""

from dataclasses import replace

import numpy as np

from tests.unit.training.worth.makeshift import scene
from training.worth.saying import LARGE_PX, verdict
from training.worth.scenes import Scene, Take


def of_kind(take: Take, pixels: int) -> Take:
    assert take.labels_F is not None
    return replace(take, area_F=take.labels_F.astype(np.int64) * pixels)


def larger(take: Take) -> Take:
    """As fast, over most of the image."""
    speeds = take.seen.speeds_FRS.copy()
    assert take.labels_F is not None
    abnormal = np.flatnonzero(take.labels_F)
    speeds[abnormal, 2:14, 3:20] = 4 * speeds[abnormal, 2:14, 3:20]
    return of_kind(replace(take, seen=replace(take.seen, speeds_FRS=speeds)), LARGE_PX + 1)


def test_one_kind_is_taught_and_the_other_goes_on_to_alarm() -> None:
    plain = scene("walk", 1.0, 0)
    tests = (*(of_kind(take, 500) for take in plain.test[:3]), larger(plain.test[3]))
    rows = list(verdict([Scene("walk", plain.normal, tests)]))
    first = {row.measure: (row.value, row.note) for row in rows if row.what == "place, 1 events of clips 1 to 1"}
    small, note = first["% of small anomalies over"]
    assert (small < 50, note) == (True, "100.0 before it was said")
    assert first["% of large anomalies over"] == (100.0, "100.0 before it was said")
    normal, note = first["% of normal frames over"]
    assert normal < float(note.split()[0])
    assert first["events, their own clips"] == (0.0, "1 before")
    assert {row.what.partition(",")[0] for row in rows} == {"place", "camera"}
    assert not [row for row in rows if row.what.endswith("clips 4 to 4")], "nobody calls the large one normal"
