"""What operators called normal does not count: a frame is judged as if what they know were as usual.

The map of a frame is taken apart into things (``memory_store.exemplar``); each that an exemplar covers is lowered to
the worst patch of a usual frame, in the map that people see as well as in the number that is made of it, and the places
that it touches say nothing. So a frame that shows nothing else is a usual one, and one that shows something else as
well is judged by that alone. What was called real is never covered.

Dimensions: R x S patches of the map, U x V patches at every cell, P x Q places.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from inference.evidence import PATCH_CELLS, Evidence
from inference.rarity import spreads_above
from memory_store.exemplar import PATCH_STEP, Taught, Thing
from memory_store.normality import PLACE_CELLS, Grid, Normality
from schemas.arrays import Bool, Float32, Float64, UInt8

MIN_IRREGULARITY = 1e-10
NEWS = 2.0
"""Spreads above the worst patch of a usual frame up to which a thing is held against nothing: no such thing alarms, and
normal frames, which show as much now and then, must go on to be scored and remembered as they are."""


@dataclass(frozen=True, slots=True)
class Usual:
    """The worst patch of a usual frame, by the natural logarithm of its irregularity: the zero of the common scale."""

    mean: float
    spread: float

    @classmethod
    def of(cls, memory: Normality) -> "Usual":
        """As a memory has counted it: where its motion evidence is 0 and 1 spreads."""
        zero, one = (spreads_above(Evidence(*(np.array([n]) for n in (x, 0.0, 0.0))), memory)[0, 0] for x in (0.0, 1.0))
        spread = float(1.0 / (one - zero))
        return cls(float(-zero * spread), spread)

    @property
    def worst(self) -> float:
        """Its irregularity, a trifle less, so that in single precision as well it does not lie above itself."""
        return math.exp(self.mean) * (1.0 - 1e-6)

    def spreads_of(self, map_RS: Float32 | Float64) -> Float64:
        """How far each patch of a map lies above the worst patch of a usual frame, in spreads."""
        levels_RS = np.log(np.maximum(map_RS.astype(np.float64), MIN_IRREGULARITY))
        return np.asarray((levels_RS - self.mean) / self.spread)

    @property
    def half(self) -> float:
        """Spreads between the worst patch and the least that is about as irregular: seven tenths of it."""
        return 0.5 * math.log(2.0) / self.spread


def things_of(spreads_RS: Float64, half: float) -> list[Thing]:
    """The things on a map.

    Args:
        spreads_RS: above the worst patch of a usual frame.
        half: see ``Usual``.
    """
    count, labels_RS = cv2.connectedComponents((spreads_RS > 0).astype(np.uint8), connectivity=8)
    return [_thing(labels_RS == label, spreads_RS, half) for label in range(1, count)]


def extents_of(things: Sequence[Thing], shape: tuple[int, int]) -> UInt8:
    """Size of the thing that lies at each patch, (R, S); 0 where none does."""
    extents_RS = np.zeros(shape, np.uint8)
    for thing in things:
        extents_RS[thing.where_RS] = min(thing.size, 255)
    return extents_RS


def _thing(where_RS: Bool, spreads_RS: Float64, half: float) -> Thing:
    rows, columns = np.nonzero(where_RS & (spreads_RS >= spreads_RS[where_RS].max() - half))
    size = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
    is_cut = where_RS[0].any() or where_RS[-1].any() or where_RS[:, 0].any() or where_RS[:, -1].any()
    return Thing.of(where_RS, spreads_RS, int(size), bool(is_cut))


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """What of a frame is taken for normal.

    Attributes:
        covered_UV: patches at every cell.
        covered_PQ: places that they touch.
        teaches: whether the frame may be remembered as normal: what an operator has said must be all that is known of
            it, so that it can be unsaid, and what was called real must never become usual.
    """

    covered_UV: Bool
    covered_PQ: Bool
    teaches: bool


def passed(spreads_RS: Float64, half: float, taught: Taught, grid: Grid) -> Passed:
    """Hold the things of a map against what was said.

    Args:
        spreads_RS: of the map's patches, see ``Usual``.
        half: see ``Usual``.
        taught: what was said of this camera.
        grid: of its cells.
    """
    things = [thing for thing in things_of(spreads_RS, half) if thing.spreads_N.max() > NEWS]
    covered_RS = np.zeros(spreads_RS.shape, bool)
    for thing in things:
        if taught.covers(thing):
            covered_RS |= thing.where_RS
    covered_UV = _at_every_cell(covered_RS, grid)  # things lie a patch apart, so this takes nothing of another
    teaches = not covered_RS.any() and not any(taught.is_real(thing) for thing in things)
    return Passed(covered_UV, _touched(covered_UV, grid), teaches)


def _at_every_cell(patches_RS: Bool, grid: Grid) -> Bool:
    """Patches at every cell that lie on, or between, such patches of the map."""
    for axis, cells in ((0, grid.rows), (1, grid.columns)):
        at = np.arange(cells - PATCH_CELLS + 1)
        before, after = at // PATCH_STEP, np.minimum(-(-at // PATCH_STEP), patches_RS.shape[axis] - 1)
        patches_RS = patches_RS.take(before, axis) | patches_RS.take(after, axis)
    return patches_RS


def _touched(covered_UV: Bool, grid: Grid) -> Bool:
    """Places that such patches reach into."""
    cells = np.zeros((grid.rows, grid.columns), bool)
    U, V = covered_UV.shape
    for down in range(PATCH_CELLS):
        for right in range(PATCH_CELLS):
            cells[down : down + U, right : right + V] |= covered_UV
    P, Q = grid.places
    whole = cells[: P * PLACE_CELLS, : Q * PLACE_CELLS].reshape(P, PLACE_CELLS, Q, PLACE_CELLS)
    return np.asarray(whole.any(axis=(1, 3)))
