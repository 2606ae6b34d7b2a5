"""From several evidences to one number, and from that to how rare it is: all of it remembered, none of it fixed.

    x     = z(motion) + w (z(place)+ + z(background)+),       z(y) = (y - mean) / spread of y on normal video
    level = moving average of x over ``SMOOTHING_S``
    p     = share of normal frames with a level at least as high
    rate  = how often in a day of normal video the level would rise so high

Each is counted in the camera's memory (``memory_store.normality``) by whoever scores its normal video. Neighbouring
frames are not independent, so alarms are counted over blocks of ``BLOCK_S``: the highest level of each. Beyond what was
seen, both distributions go on as exponentials; how far that may be trusted is said with the rate (``Rate``).

Dimensions: F frames, L level bins.
"""

import math
from dataclasses import dataclass

import numpy as np

from inference.evidence import Evidence, level_bins, moments
from memory_store.normality import LEVEL_FROM, LEVEL_TO, NUM_LEVEL_BINS, Normality
from schemas.arrays import Float64

SIDE_WEIGHT = 0.1
"""w: what is out of place, or new, counts a tenth of what moves too fast for here."""
SMOOTHING_S = 0.5
BLOCK_S = 10.0
"""Longer than an anomaly's own memory, short enough that minutes of video give a distribution."""
BLOCKS_PER_DAY = 86_400.0 / BLOCK_S
FRAME_TAIL = 0.05
BLOCK_TAIL = 0.5
"""Shares of normal frames and blocks that the exponential tails describe; below, what was counted does."""
TRUST_S = 600.0
"""Of a camera's normal video, from which on a memory scores it as it always will; before, levels are too high."""
MIN_SPREAD = 1e-3
LEAST_BLOCKS = 10
"""Blocks in a tail from which its scale can be told; of fewer, frames tell, with one chance a smoothing time."""
CHANCES_PER_DAY = 86_400.0 / SMOOTHING_S
MIN_TAIL = 0.05
"""Least mean excess of a tail, in spreads: few frames may show none."""
ONE_SIDED_95 = 1.645
BIN = (LEVEL_TO - LEVEL_FROM) / NUM_LEVEL_BINS


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a day normal video reaches a level.

    Attributes:
        per_day: best estimate.
        at_most: with 95 % confidence, by the number of blocks the tail was fitted on.
    """

    per_day: float
    at_most: float


@dataclass(frozen=True, slots=True)
class Tail:
    """A distribution's upper end: P(level >= l) = share * exp(-(l - start) / scale) for l >= start.

    ``count`` is how many observations lie beyond the start, each with its weight.
    """

    start: float
    share: float
    scale: float
    count: float


def trust(seconds_seen: float) -> float:
    """Weight of evidences and levels by a memory of so much video: what it says when young must not set its thresholds.

    A share of ``TRUST_S``, at most 1, so that later frames outweigh the first ones by themselves.
    """
    return min(1.0, seconds_seen / TRUST_S)


def evidence_moments(evidence: Evidence) -> Float64:
    """What frames add to ``Normality.evidence``, (3, 3)."""
    return moments(np.stack([evidence.motion_F, evidence.place_F, evidence.background_F], axis=-1))


def joint(evidence: Evidence, memory: Normality, side_weight: float = SIDE_WEIGHT) -> Float64:
    """The number x of each frame, (F,); 0 is usual, high = irregular."""
    counts, sums, squares = np.moveaxis(memory.field("evidence"), -1, 0)
    means = sums / np.maximum(counts, 1e-9)
    spreads = np.sqrt(np.maximum(squares / np.maximum(counts, 1e-9) - np.square(means), 0.0)) + MIN_SPREAD
    values_EF = np.stack([evidence.motion_F, evidence.place_F, evidence.background_F])
    motion_F, place_F, background_F = (values_EF - means[:, None]) / spreads[:, None]
    return np.asarray(motion_F + side_weight * (place_F.clip(min=0.0) + background_F.clip(min=0.0)))


def histogram(levels_F: Float64) -> Float64:
    """What frames add to ``Normality.levels``, or blocks to ``peaks``, (L,)."""
    return np.bincount(level_bins(levels_F), minlength=NUM_LEVEL_BINS).astype(np.float64)


def block_peaks(levels_F: Float64, fps: float) -> Float64:
    """The highest level of each whole block of consecutive frames; of all of them where they make no block."""
    size = max(1, round(BLOCK_S * fps))
    whole = len(levels_F) // size
    if not whole:
        return np.array([levels_F.max()])
    return np.asarray(levels_F[: whole * size].reshape(whole, size).max(axis=1))


def tail_of(counts_L: Float64, share: float) -> Tail:
    """The highest ``share`` of what was counted; the highest bin at least, however much lies in it."""
    total = counts_L.sum()
    at_least_L = counts_L[::-1].cumsum()[::-1]
    highest = int(np.flatnonzero(counts_L)[-1]) if counts_L.any() else 0
    first = min(highest, int(np.argmax(at_least_L <= max(share * total, 1.0))))
    start, count = LEVEL_FROM + first * BIN, float(at_least_L[first])
    middles_L = LEVEL_FROM + (np.arange(NUM_LEVEL_BINS) + 0.5) * BIN
    excess = float(((middles_L - start) * counts_L)[first:].sum()) / max(count, 1e-9)
    return Tail(start, count / total if total else 1.0, max(excess, MIN_TAIL), count)


def log10_p(levels_F: Float64, counts_L: Float64, share: float = FRAME_TAIL) -> Float64:
    """log10 of the share of what was counted that reaches each level, (F,), <= 0; never underflows."""
    tail = tail_of(counts_L, share)
    beyond_F = math.log10(tail.share) - (levels_F - tail.start) / tail.scale / math.log(10.0)
    at_least_L = np.append(counts_L[::-1].cumsum()[::-1], 0.0) / max(counts_L.sum(), 1e-9)
    edges = LEVEL_FROM + np.arange(NUM_LEVEL_BINS + 1) * BIN
    below_F = np.log10(np.maximum(np.interp(levels_F, edges, at_least_L), 1e-300))
    return np.asarray(np.where(levels_F >= tail.start, beyond_F, below_F))


def rate_of(level: float, memory: Normality) -> Rate:
    """How often a day of normal video the level rises to ``level``."""
    counts_L, share, chances = _alarms(memory)
    tail = tail_of(counts_L, share)
    per_day = chances * 10.0 ** float(log10_p(np.array([level]), counts_L, share)[0])
    num_blocks = tail_of(memory.field("peaks"), BLOCK_TAIL).count
    widest = tail.scale * (1.0 + ONE_SIDED_95 / math.sqrt(max(num_blocks, 1e-3)))
    at_most = chances * tail.share * math.exp(-max(level - tail.start, 0.0) / widest)
    return Rate(per_day, max(at_most, per_day))


def level_for(per_day: float, memory: Normality) -> float:
    """The level that normal video reaches ``per_day`` times a day, by the best estimate; inverse of ``rate_of``."""
    counts_L, share, chances = _alarms(memory)
    tail = tail_of(counts_L, share)
    wanted = min(per_day / chances, tail.share)
    return tail.start + tail.scale * math.log(tail.share / wanted)


def _alarms(memory: Normality) -> tuple[Float64, float, float]:
    """What alarms are reckoned from: counts, the share in their tail, and how many chances of one a day has."""
    peaks_L, levels_L = memory.field("peaks"), memory.field("levels")
    if tail_of(peaks_L, BLOCK_TAIL).count >= LEAST_BLOCKS or not levels_L.any():
        return peaks_L, BLOCK_TAIL, BLOCKS_PER_DAY
    return levels_L, FRAME_TAIL, CHANCES_PER_DAY
