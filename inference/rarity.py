"""From several evidences to one number, and from that to how rare it is: all of it remembered, none of it fixed.

    x     = c(z(motion)) + w (z(place)+ + z(background)+),    z(y) = (y - mean) / spread of y on normal video
    level = moving average of x over ``SMOOTHING_S``
    p     = share of normal frames with a level at least as high
    rate  = how often in a day of normal video the level would rise so high

What is calmer than usual is hardly more normal than what is usual, so it makes up for little of what is unusual:
z+ = max(z, 0), c(z) = max(z, ``CALM`` z). Places must be known for what is out of place to say much, so w grows with
the normal video that was seen (``side_share``).

Each is counted in the camera's memory (``memory_store.normality``) by whoever scores its normal video. Neighbouring
frames are not independent, so alarms are counted over blocks of ``BLOCK_S``: the highest level of each. Beyond what was
seen, both distributions go on as exponentials (``Tail``); how far that may be trusted is said with the rate (``Rate``).
Of an exponential every upper part is one of the same scale. Where somebody sits for an hour and walks past the lens for
seconds, the higher a part begins the further it reaches; so the upper half, quarter, eighth ... of the blocks are each
continued, as long as they hold ``LEAST_BLOCKS``, and the one that expects most is believed.

Dimensions: F frames, L level bins.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inference.evidence import Evidence, level_bins, moments
from memory_store.normality import LEVEL_FROM, LEVEL_TO, NUM_LEVEL_BINS, Normality
from schemas.arrays import Float64

SIDE_WEIGHT = 0.4
"""w where places are known: what is out of place, or new, counts two fifths of what moves too fast for here."""
YOUNG_SHARE, PLACES_S = 0.2, 1200.0
"""Of it where they are not, and seconds of normal video by which they are."""
CALM = 0.1
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
LEAST_TOLD = 0.1
"""Share of a tail that tells its scale at least, though more lies beyond the levels that are told apart."""
CHANCES_PER_DAY = 86_400.0 / SMOOTHING_S
PRIOR_TAIL = 10.0
"""Observations that a tail's scale rests on before any was made: bounds how far a young memory mistrusts its own."""
NEIGHBOURS = 5.0
"""Frames that go up and down together, about ``SMOOTHING_S`` of them."""
LN_10 = math.log(10.0)
USUAL_SCALE, USUAL_COUNT = 0.2, 2.0
"""Mean excess of a tail, in spreads, as cameras show it that are known for minutes; counts as so many observations
where less is seen: a few frames may lie close together by chance. What is seen to reach further is believed at once."""
ONE_SIDED_95 = 1.645
BIN = (LEVEL_TO - LEVEL_FROM) / NUM_LEVEL_BINS
EDGES = LEVEL_FROM + np.arange(NUM_LEVEL_BINS + 1) * BIN


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
    """A distribution's upper end, an exponential whose scale is known from few observations, n.

    What is then to be expected of the next one is P(level >= l) = share * (1 + (l - start) / (n scale))^-n, the
    posterior predictive, which is the heavier the less was seen and becomes share * exp(-(l - start) / scale).

    Attributes:
        start: level from which on it holds.
        share: of all that was counted.
        scale: mean excess.
        count: how many observations lie beyond the start, each with its weight.
        known: n; ``PRIOR_TAIL`` more than those of ``count`` that are independent.
    """

    start: float
    share: float
    scale: float
    count: float
    known: float

    def log10_p(self, levels_F: Float64) -> Float64:
        """log10 of P(level >= l) for levels at or beyond the start."""
        excess_F = np.maximum(levels_F - self.start, 0.0)
        return np.asarray(math.log10(self.share) - self.known * np.log1p(excess_F / (self.known * self.scale)) / LN_10)

    def level_at(self, p: float) -> float:
        """The level that is reached with probability ``p``; inverse of ``log10_p``."""
        ratio = self.share / min(p, self.share)
        return self.start + self.known * self.scale * math.expm1(math.log(ratio) / self.known)


def trust(seconds_seen: float) -> float:
    """Weight of evidences and levels by a memory of so much video: what it says when young must not set its thresholds.

    A share of ``TRUST_S``, at most 1, so that later frames outweigh the first ones by themselves.
    """
    return min(1.0, seconds_seen / TRUST_S)


def side_share(seconds_seen: float) -> float:
    """Share of ``SIDE_WEIGHT`` that what rests on places has, by a memory of so much video."""
    return YOUNG_SHARE + (1.0 - YOUNG_SHARE) * min(1.0, seconds_seen / PLACES_S)


def evidence_moments(evidence: Evidence) -> Float64:
    """What frames add to ``Normality.evidence``, (3, 3)."""
    return moments(np.stack([evidence.motion_F, evidence.place_F, evidence.background_F], axis=-1))


def joint(evidence: Evidence, memory: Normality, fps: float, side_weight: float = SIDE_WEIGHT) -> Float64:
    """The number x of each frame, (F,); 0 is usual, high = irregular.

    Args:
        evidence: of frames.
        memory: what is normal.
        fps: frames a second of what it has seen.
        side_weight: w of a memory that knows its places.
    """
    motion_F, place_F, background_F = spreads_above(evidence, memory)
    weight = side_weight * side_share(memory.num_frames / fps)
    sides_F = place_F.clip(min=0.0) + background_F.clip(min=0.0)
    return np.asarray(np.maximum(motion_F, CALM * motion_F) + weight * sides_F)


def spreads_above(evidence: Evidence, memory: Normality) -> Float64:
    """How many spreads motion, place and background lie above normal: z above, (3, F)."""
    counts, sums, squares = np.moveaxis(memory.field("evidence"), -1, 0)
    means = sums / np.maximum(counts, 1e-9)
    spreads = np.sqrt(np.maximum(squares / np.maximum(counts, 1e-9) - np.square(means), 0.0)) + MIN_SPREAD
    values_EF = np.stack([evidence.motion_F, evidence.place_F, evidence.background_F])
    return np.asarray((values_EF - means[:, None]) / spreads[:, None])


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


def tail_of(counts_L: Float64, share: float, neighbours: float = 1.0) -> Tail:
    """The highest ``share`` of what was counted; the highest bin at least, however much lies in it.

    Args:
        counts_L: of levels.
        share: of them that the tail is to hold.
        neighbours: so many of them go up and down together.
    """
    total = counts_L.sum()
    at_least_L = counts_L[::-1].cumsum()[::-1]
    highest = int(np.flatnonzero(counts_L)[-1]) if counts_L.any() else 0
    first = min(highest, int(np.count_nonzero(at_least_L > share * total)))
    start, count = LEVEL_FROM + first * BIN, float(at_least_L[first])
    middles_L = LEVEL_FROM + (np.arange(NUM_LEVEL_BINS) + 0.5) * BIN
    excess = float(((middles_L - start) * counts_L)[first:].sum())
    # All that is known of what lies in the last bin is that it lies there or beyond, so it tells no scale (censored).
    told = max(count - float(counts_L[-1]), LEAST_TOLD * count)
    independent = told / neighbours
    at_least = (excess / neighbours + USUAL_COUNT * USUAL_SCALE) / (independent + USUAL_COUNT)
    scale = max(excess / max(told, 1e-9), at_least)
    return Tail(start, count / total if total else 1.0, scale, count, PRIOR_TAIL + independent)


def frame_tail(memory: Normality) -> Tail:
    """Of the levels of normal frames."""
    return tail_of(memory.field("levels"), FRAME_TAIL, NEIGHBOURS)


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """The levels of normal frames, ready to be asked how rare one is.

    Attributes:
        tail: beyond its start it says.
        at_least_L: share of frames that reach the lower edge of each bin, and the end of the last, (L + 1,).
    """

    tail: Tail
    at_least_L: Float64

    @classmethod
    def of(cls, memory: Normality) -> "Levels":
        """What a memory has counted."""
        counts_L = memory.field("levels")
        at_least_L = np.append(counts_L[::-1].cumsum()[::-1], 0.0) / max(counts_L.sum(), 1e-9)
        return cls(frame_tail(memory), at_least_L)

    def log10_p(self, levels_F: Float64) -> Float64:
        """log10 of the share of normal frames that reach each level, (F,), <= 0; never underflows."""
        below_F = np.log10(np.maximum(np.interp(levels_F, EDGES, self.at_least_L), 1e-300))
        return np.asarray(np.where(levels_F >= self.tail.start, self.tail.log10_p(levels_F), below_F))


def log10_p(levels_F: Float64, memory: Normality) -> Float64:
    """See ``Levels``, which whoever asks more than once should keep."""
    return Levels.of(memory).log10_p(levels_F)


def rate_of(level: float, memory: Normality) -> Rate:
    """How often a day of normal video the level rises to ``level``."""
    tails, chances = _alarms(memory)
    per_day = chances * max(10.0 ** float(tail.log10_p(np.array([level]))[0]) for tail, _ in tails)
    at_most = chances * max(_share_at_most(level, tail, num_blocks) for tail, num_blocks in tails)
    return Rate(per_day, max(at_most, per_day))


def level_for(per_day: float, memory: Normality) -> float:
    """The level that normal video reaches ``per_day`` times a day, by the best estimate; inverse of ``rate_of``."""
    tails, chances = _alarms(memory)
    p = per_day / chances
    # A tail knows nothing of what is more frequent than it is itself; the first, which is the largest, has to do.
    return max(tail.level_at(p) for number, (tail, _) in enumerate(tails) if number == 0 or tail.share >= p)


def block_tails(memory: Normality) -> tuple[Tail, ...]:
    """The upper half of the blocks' peaks, the half of that, and so on, where enough of them tell a scale."""
    peaks_L = memory.field("peaks")
    halvings = int(math.log2(max(BLOCK_TAIL * float(peaks_L.sum()) / LEAST_BLOCKS, 1.0)))
    first, *further = (tail_of(peaks_L, BLOCK_TAIL / 2**number) for number in range(halvings + 1))
    return (first, *(tail for tail in further if tail.known - PRIOR_TAIL >= LEAST_BLOCKS))


def _alarms(memory: Normality) -> tuple[Sequence[tuple[Tail, float]], float]:
    """What alarms are reckoned from, the largest tail first, and how many chances of one a day has.

    With each tail comes how many blocks vouch for it; for that of frames, too, since neighbouring frames are not
    independent.
    """
    blocks = block_tails(memory)
    if blocks[0].count >= LEAST_BLOCKS or not memory.field("levels").any():
        return [(tail, tail.count) for tail in blocks], BLOCKS_PER_DAY
    return [(frame_tail(memory), blocks[0].count)], CHANCES_PER_DAY


def _share_at_most(level: float, tail: Tail, num_blocks: float) -> float:
    """Share of all that reaches ``level``, with 95 % confidence in a scale that rests on so many blocks."""
    widest = tail.scale * (1.0 + ONE_SIDED_95 / math.sqrt(max(num_blocks, 1e-3)))
    return tail.share * math.exp(-max(level - tail.start, 0.0) / widest)
