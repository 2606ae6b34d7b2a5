"""Verdicts and exemplars of events that could have been, for tests."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from inference.taught import extents_of, things_of
from memory_store.exemplar import Exemplar, exemplar_of, levels_of, trace_shape
from memory_store.normality import Grid
from schemas.arrays import Float64
from schemas.messages import HeatMap, Region
from schemas.verdicts import OperatorVerdict
from tests.unit.memory_store.counted import GRID
from tests.unit.memory_store.proposals import BUNDLE, NOW

WIDE = Grid(32, 48)
"""Of 192 x 128 pixels: 15 x 23 patches."""
HALF = 3.0
"""Spreads between a patch and one half as irregular."""
MINUTE = timedelta(minutes=1)


def a_map(*boxes: tuple[int, int, int, int, float], grid: Grid = WIDE, calm: float = -1.0) -> Float64:
    """Spreads: boxes (row, column, height, width) at some spreads on what is calm."""
    spreads_RS = np.full(trace_shape(grid), calm)
    for row, column, height, width, spreads in boxes:
        spreads_RS[row : row + height, column : column + width] = spreads
    return spreads_RS


def verdict_of(
    frames: Sequence[Float64], event: str = "cam1:s1:5", half: float = HALF, **changed: Any
) -> OperatorVerdict:
    """Of an event whose anomalous frames had these maps, the last being its peak."""
    rows, columns = frames[0].shape
    things = [things_of(one, half) for one in frames]
    extents = np.max([extents_of(one, (rows, columns)) for one in things], axis=0)
    worst = max(things[-1], key=lambda thing: float(thing.spreads_N.max()))
    values: dict[str, Any] = {
        "verdict_id": f"v-{event.rpartition(':')[2]}",
        "event_id": event,
        "camera_id": event.partition(":")[0],
        "bank_id": "lobby",
        "bundle_digest": BUNDLE,
        "judgement": "normal",
        "operator": "ann@desk2",
        "reason": "the mail van",
        "given_at": NOW,
        "trace": HeatMap(
            rows=rows,
            columns=columns,
            values=tuple(levels_of(np.max(frames, axis=0)).ravel().tolist()),
            scale="common",
        ),
        "extents": tuple(extents.ravel().tolist()),
        "regions": (Region(box=(0.0, 0.0, 1.0, worst.size / (rows * columns)), score=0.5),),
    }
    return OperatorVerdict.model_validate(values | changed)


def exemplar(frames: Sequence[Float64], event: str = "cam1:s1:5", **changed: Any) -> Exemplar:
    return exemplar_of(verdict_of(frames, event, **changed))


def small_verdict(event: str = "cam1:s1:5", **changed: Any) -> OperatorVerdict:
    """On the grid of ``counted.GRID``: one row of three patches."""
    return verdict_of([a_map((0, 0, 1, 2, 5.0), grid=GRID)], event, **changed)


def small_exemplar(event: str = "cam1:s1:5", given_at: datetime = NOW, **changed: Any) -> Exemplar:
    return exemplar_of(small_verdict(event, given_at=given_at, **changed))


def unsaid(verdict: OperatorVerdict, **changed: Any) -> OperatorVerdict:
    """The undoing of a verdict, a minute later."""
    told = {"verdict_id": f"u-{verdict.verdict_id}", "judgement": "undo", "given_at": verdict.given_at + MINUTE}
    return verdict.model_copy(update=told | {"trace": None, "extents": (), "regions": ()} | changed)
