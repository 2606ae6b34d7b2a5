"""Reading what a camera remembers: how rare is what is seen here, by several evidences. Reading is scoring.

Three questions are asked of each frame, each against the counts of ``memory_store.normality``:

    motion       what was not foreseen, and how rare it is that something moves so fast in this row of the image:
                 m = ln max over patches of  mean(y),    y = (1 + u) e^w,    u = -ln P(speed >= v | row)
    place        is the error large for this place:          (ln e - mean) / spread, the most
    background   is something here that is not here else:    |d - median of d| / spread,  d = grey - mean, the most

with e the squared error of a cell, v its speed, and "the most" the mean of the ``NUM_MOST`` places that say most. The
median over the image takes out what changes everywhere: a cloud, a lamp, the camera's own gain.

Patches are as large as what moves here: a smaller one takes a part for the whole, in a larger one a cyclist is lost
among those who walk. How large things are is told by how fast they go, since both grow as the lens comes nearer: the
patch is as wide as the way that they make in ``THING_S`` (``size_of_things``).

P is counted, row by row; a row that has seen little answers as the whole camera, and a camera that has seen little
answers as its parent, which counts as ``PARENT_FRAMES`` frames of its own (``with_parent``). So a place where nobody
walks does not amplify noise, and a cold memory is its parent's.

Dimensions: F frames, R x S cells, U x V patches, B speed bins, P x Q places.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory_store.normality import (
    BY_SCORE,
    FLOOR_BIN_EDGES,
    LEVEL_FROM,
    LEVEL_TO,
    NUM_LEVEL_BINS,
    NUM_SPEED_BINS,
    PLACE_CELLS,
    SPEED_BINS_PER_OCTAVE,
    SPEED_FLOOR_PX,
    Grid,
    Normality,
)
from networks.measures import CELL_PX
from schemas.arrays import Float32, Float64, Int64

ERROR_POWER = 0.25
"""w: the score is about how fast for here, and only then about how badly foreseen."""
PATCH_CELLS, LARGEST_CELLS = 4, 12
"""Patches lie around 16 pixels at every cell, and are 16 to 48 wide:"""
THING_S = 3.2
"""as wide as the way of what moves in so many seconds."""
ROW_CELLS = 100.0
"""Moving cells at which a row's own counts weigh as much as the camera's."""
PARENT_FRAMES = 20.0
"""Frames of its own at which a camera's memory weighs as much as its parent's."""
PLACE_FRAMES = 200.0
"""Frames at which a place's own mean and spread weigh as much as its row's."""
BEYOND = 1.0
"""Surprise, in natural units, that each bin beyond the fastest ever seen adds."""
NUM_MOST = 4
MIN_ERROR = 1e-8
MIN_LOG_SPREAD = 0.25
"""Least spread of ln e: what is foreseen to the last bit must not make noise an anomaly."""
MIN_GREY_SPREAD = 5.0
BIN_MIDDLES = FLOOR_BIN_EDGES * 2.0 ** (0.5 / SPEED_BINS_PER_OCTAVE)
"""Speeds that the bins stand for, pixels a frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What is measured on some frames of one camera before any memory is asked.

    Attributes:
        errors_FRS: squared prediction errors of cells, on [0, 1] images.
        speeds_FRS: of cells, pixels a frame.
        grey_FPQ: mean grey level of places, [0, 255].
        psnr_db_F: of the prediction.
    """

    errors_FRS: Float32
    speeds_FRS: Float32
    grey_FPQ: Float32
    psnr_db_F: Float32

    @property
    def grid(self) -> Grid:
        """Of its cells."""
        return Grid(*self.errors_FRS.shape[1:])

    def __len__(self) -> int:
        return len(self.errors_FRS)

    def __getitem__(self, which: slice | Int64) -> "Seen":
        return Seen(self.errors_FRS[which], self.speeds_FRS[which], self.grey_FPQ[which], self.psnr_db_F[which])


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What each question says of each frame, (F,), high = irregular; on scales of their own."""

    motion_F: Float64
    place_F: Float64
    background_F: Float64


@dataclass(frozen=True, slots=True, eq=False)
class Expectation:
    """A memory, ready to be asked.

    Attributes:
        surprise_RB: u at the lower edge of each speed bin and beyond the last; rises along B.
        patch_cells: how wide patches are.
        error_mean_PQ, error_spread_PQ: of ln e.
        grey_mean_PQ, grey_spread_PQ: of the grey level.
    """

    surprise_RB: Float64
    patch_cells: float
    error_mean_PQ: Float64
    error_spread_PQ: Float64
    grey_mean_PQ: Float64
    grey_spread_PQ: Float64


def remember(seen: Seen, at_s: float) -> Normality:
    """What frames add to a memory, as of ``at_s``; levels are added by whoever scores them."""
    grid, num_frames = seen.grid, float(len(seen))
    errors_FPQ, grey_FPQ = log_place_errors(seen.errors_FRS), seen.grey_FPQ.astype(np.float64)
    psnr_db_F = seen.psnr_db_F.astype(np.float64)
    return Normality.of(
        grid,
        at_s,
        frames=num_frames,
        psnr=np.array([psnr_db_F.sum(), np.square(psnr_db_F).sum()]),
        speeds=_speed_counts(seen.speeds_FRS),
        errors=moments(errors_FPQ),
        background=moments(grey_FPQ)[..., 1:],
    )


def with_parent(
    own: Normality, parent: Normality | None, frames: float = PARENT_FRAMES, trusted: float = 1.0
) -> Normality:
    """A memory that its parent's counts stand behind, as so many frames: alone where it has seen nothing.

    What was counted for another form of the score is left out.

    Args:
        own: of the camera.
        parent: of others, or of its footage.
        frames: that the parent counts as.
        trusted: share of that for what the parent's frames scored, see ``inference.rarity.trust``.
    """
    own = own.in_form()
    if parent is None or parent.num_frames == 0:
        return own
    behind = parent.in_form().scaled(frames / parent.num_frames)
    for name in BY_SCORE:
        behind.field(name)[...] *= trusted
    return Normality(own.grid, own.at_s, own.values_N + behind.values_N)


def expectation(memory: Normality, fps: float, size: float | None = None) -> Expectation:
    """Make a memory ready to be asked; one that has seen nothing calls nothing rare.

    Args:
        memory: what is normal.
        fps: frames a second of what it has seen.
        size: how wide what moves here is, for whoever knows it better than by all that the memory has counted.
    """
    frames_PQ = np.full(memory.grid.places, memory.num_frames)
    background = memory.field("background")
    grey_mean, grey_spread = _shrunk(frames_PQ, background[..., 0], background[..., 1], MIN_GREY_SPREAD)
    size = size_of_things(memory, fps) if size is None else size
    return Expectation(_surprises(memory.field("speeds")), size, *usual_errors(memory), grey_mean, grey_spread)


def usual_errors(memory: Normality) -> tuple[Float64, Float64]:
    """Mean and spread of ln e at each place, (P, Q)."""
    errors = memory.field("errors")
    return _shrunk(errors[..., 0], errors[..., 1], errors[..., 2], MIN_LOG_SPREAD)


def size_of_things(
    own: Normality,
    fps: float,
    parent: Normality | None = None,
    frames: float = PARENT_FRAMES,
    thing_s: float = THING_S,
) -> float:
    """How wide what moves here is, in cells: the way that it makes in ``thing_s``, within bounds.

    A parent counts as so many frames, by the logarithm of its speed: its counts as they are would say more than the
    camera's for minutes, if things are larger there, and so faster. ``thing_s`` is a parameter for whoever compares.
    """
    speeds_px = [(own.num_frames, _speed_of_things(own))]
    if parent is not None:
        speeds_px.append((frames, _speed_of_things(parent)))
    known = [(weight, math.log(speed)) for weight, speed in speeds_px if weight > 0 and speed > 0]
    if not known:
        return PATCH_CELLS
    speed_px = math.exp(sum(weight * log for weight, log in known) / sum(weight for weight, _ in known))
    return min(max(thing_s * fps * speed_px / CELL_PX, PATCH_CELLS), LARGEST_CELLS)


def _speed_of_things(memory: Normality) -> float:
    """Half of the way that cells have made was made by slower ones, pixels a frame; 0 where nothing has moved.

    By way, since flow is smooth: what surrounds a mover, or is noise, is slow. The median, since a jolt of the camera,
    or what passes once, goes ten times as fast.
    """
    way_B = memory.field("speeds").sum(axis=0) * BIN_MIDDLES
    if not way_B.any():
        return 0.0
    bins = np.interp(0.5, np.append(0.0, way_B.cumsum() / way_B.sum()), np.arange(NUM_SPEED_BINS + 1))
    return float(SPEED_FLOOR_PX * 2.0 ** (bins / SPEED_BINS_PER_OCTAVE))


def ask(seen: Seen, expected: Expectation, error_power: float = ERROR_POWER) -> Evidence:
    """Hold frames against a memory; the constant is a parameter for whoever compares them."""
    return ask_by_patches(seen, expected, motion_patches(motion_map(seen, expected, error_power), expected.patch_cells))


def ask_by_patches(
    seen: Seen, expected: Expectation, patches_FUV: Float64, as_usual_PQ: NDArray[np.bool_] | None = None
) -> Evidence:
    """As ``ask``, for whoever has the ``motion_patches`` already, and knows places that say nothing."""
    place_FPQ = (log_place_errors(seen.errors_FRS) - expected.error_mean_PQ) / expected.error_spread_PQ
    brighter_FPQ = seen.grey_FPQ - expected.grey_mean_PQ
    away_FPQ = np.abs(brighter_FPQ - np.median(brighter_FPQ, axis=(1, 2), keepdims=True)) / expected.grey_spread_PQ
    if as_usual_PQ is not None:
        place_FPQ, away_FPQ = (np.where(as_usual_PQ, 0.0, values_FPQ) for values_FPQ in (place_FPQ, away_FPQ))
    return Evidence(
        np.log(patches_FUV.max(axis=(1, 2))),
        _most(place_FPQ),
        _most(away_FPQ),
    )


def motion_map(seen: Seen, expected: Expectation, error_power: float = ERROR_POWER) -> Float64:
    """(1 + u) e^w of each cell, (F, R, S)."""
    errors_FRS = np.maximum(seen.errors_FRS, MIN_ERROR)
    return np.asarray((1.0 + speed_surprise(seen.speeds_FRS, expected)) * errors_FRS**error_power)


def motion_patches(cells_FRS: Float64, size: float) -> Float64:
    """Means of a ``motion_map`` over squares ``size`` cells wide, one around each 16 pixels, (F, U, V).

    A cell that is cut counts in part. At the edge of the image squares are moved inside; where the image is smaller,
    they are all of it.
    """
    rows_FUS = _means_along(cells_FRS.swapaxes(1, 2), size).swapaxes(1, 2)
    return _means_along(rows_FUS, size)


def _means_along(cells_FRS: Float64, size: float) -> Float64:
    """Means over stretches of the last axis, around each ``PATCH_CELLS`` of it."""
    length = cells_FRS.shape[-1]
    patch, size = min(PATCH_CELLS, length), min(size, length)
    from_V = np.clip(np.arange(length - patch + 1) + (patch - size) / 2, 0.0, length - size)
    sums_FRS = np.pad(cells_FRS.cumsum(axis=-1), ((0, 0), (0, 0), (1, 0)))

    def up_to(ends_V: Float64) -> Float64:
        whole_V = np.minimum(ends_V.astype(np.int64), length - 1)
        return np.asarray(sums_FRS[..., whole_V] + (ends_V - whole_V) * cells_FRS[..., whole_V])

    return (up_to(from_V + size) - up_to(from_V)) / size


def speed_surprise(speeds_FRS: Float32, expected: Expectation) -> Float64:
    """Surprise u of each cell, (F, R, S), >= 0: straight between the edges of bins, 0 where nothing moves."""
    at_FRS = SPEED_BINS_PER_OCTAVE * np.log2(np.maximum(speeds_FRS, SPEED_FLOOR_PX) / SPEED_FLOOR_PX)
    below_FRS = np.minimum(at_FRS.astype(np.int64), NUM_SPEED_BINS - 1)
    rows_R1 = np.arange(speeds_FRS.shape[1])[:, None]
    low, high = expected.surprise_RB[rows_R1, below_FRS], expected.surprise_RB[rows_R1, below_FRS + 1]
    return np.asarray(low + (high - low) * np.minimum(at_FRS - below_FRS, 1.0))


def patch_means(cells_FRS: Float64, size: int = PATCH_CELLS) -> Float64:
    """Means of square patches of ``size`` cells at every cell; of the whole image where it is smaller."""
    rows, columns = (min(size, length) for length in cells_FRS.shape[1:])
    sums_FRS = np.pad(cells_FRS, ((0, 0), (1, 0), (1, 0))).cumsum(axis=1).cumsum(axis=2)
    inner = sums_FRS[:, rows:, columns:] - sums_FRS[:, :-rows, columns:] - sums_FRS[:, rows:, :-columns]
    return np.asarray((inner + sums_FRS[:, :-rows, :-columns]) / (rows * columns))


def place_means(cells_FRS: Float32) -> Float64:
    """Means of places of ``PLACE_CELLS`` squared, (F, P, Q); what is left over at the edges is left out."""
    num_frames, rows, columns = cells_FRS.shape
    P, Q = rows // PLACE_CELLS, columns // PLACE_CELLS
    whole = cells_FRS[:, : P * PLACE_CELLS, : Q * PLACE_CELLS]
    return np.asarray(whole.reshape(num_frames, P, PLACE_CELLS, Q, PLACE_CELLS).mean(axis=(2, 4), dtype=np.float64))


def log_place_errors(errors_FRS: Float32) -> Float64:
    """Natural logarithm of the mean squared error of places, (F, P, Q)."""
    return np.asarray(np.log(np.maximum(place_means(errors_FRS), MIN_ERROR)))


def _most(values_FPQ: Float64) -> Float64:
    """Mean of the ``NUM_MOST`` largest values of each frame, (F,); of all where there are fewer."""
    values_FN = values_FPQ.reshape(len(values_FPQ), -1)
    most = min(NUM_MOST, values_FN.shape[1])
    return np.asarray(np.partition(values_FN, -most, axis=1)[:, -most:].mean(axis=1))


def moments(values_F: Float64) -> Float64:
    """Count, sum and sum of squares over frames, (..., 3), of values (F, ...)."""
    counts = np.full(values_F.shape[1:], float(len(values_F)))
    return np.stack([counts, values_F.sum(axis=0), np.square(values_F).sum(axis=0)], axis=-1)


def level_bins(levels_F: Float64) -> Int64:
    """Bins of ``Normality.levels`` that levels belong to."""
    share_F = (levels_F - LEVEL_FROM) / (LEVEL_TO - LEVEL_FROM)
    return np.clip((share_F * NUM_LEVEL_BINS).astype(np.int64), 0, NUM_LEVEL_BINS - 1)


def _speed_counts(speeds_FRS: Float32) -> Float64:
    """Cells by row and speed bin, (R, B), of those that move."""
    rows = speeds_FRS.shape[1]
    moving_FRS = speeds_FRS >= SPEED_FLOOR_PX
    octaves = np.log2(speeds_FRS[moving_FRS] / SPEED_FLOOR_PX)
    bins = np.minimum((SPEED_BINS_PER_OCTAVE * octaves).astype(np.int64), NUM_SPEED_BINS - 1)
    flat = np.nonzero(moving_FRS)[1] * NUM_SPEED_BINS + bins
    return np.bincount(flat, minlength=rows * NUM_SPEED_BINS).reshape(rows, NUM_SPEED_BINS).astype(np.float64)


def _surprises(counts_RB: Float64) -> Float64:
    """-ln P(speed >= edge | row), (R, B + 1), with back-off from the row to the camera."""
    camera_B = counts_RB.sum(axis=0)
    shares_B = camera_B / max(camera_B.sum(), 1.0)
    own_RB = (counts_RB + ROW_CELLS * shares_B) / (counts_RB.sum(axis=1, keepdims=True) + ROW_CELLS)
    at_least_RB = own_RB[:, ::-1].cumsum(axis=1)[:, ::-1]
    surprise_RB = -np.log(np.maximum(at_least_RB, 1e-300))
    surprise_RB[at_least_RB <= 0] = np.inf
    seen_RB = np.where(np.isfinite(surprise_RB), surprise_RB, 0.0)
    fastest_R1 = np.maximum.accumulate(seen_RB, axis=1)
    beyond_RB = BEYOND * np.cumsum(~np.isfinite(surprise_RB), axis=1)
    with_end = np.where(np.isfinite(surprise_RB), surprise_RB, fastest_R1 + beyond_RB) if camera_B.any() else seen_RB
    return np.concatenate([with_end, with_end[:, -1:] + (BEYOND if camera_B.any() else 0.0)], axis=1)


def _shrunk(counts_PQ: Float64, sums_PQ: Float64, squares_PQ: Float64, least: float) -> tuple[Float64, Float64]:
    """Mean and spread of each place; one that has seen little answers as its row."""
    row = [values.sum(axis=1, keepdims=True) for values in (counts_PQ, sums_PQ, squares_PQ)]
    weight = PLACE_FRAMES / np.maximum(row[0], 1e-9)
    counts, sums, squares = (
        own + weight * whole for own, whole in zip((counts_PQ, sums_PQ, squares_PQ), row, strict=True)
    )
    counts = np.maximum(counts, 1e-9)
    mean_PQ = sums / counts
    variance_PQ = np.maximum(squares / counts - np.square(mean_PQ), 0.0)
    return mean_PQ, np.sqrt(variance_PQ + least**2)
