"""A memory from footage, and scores by it: as a worker would make and use it, all at once.

What a memory is fitted on looks too normal to it, so evidences and levels of normal video are measured with each part
of it left out in turn, which additive counts make cheap: the counts of all the others are a sum.

Dimensions: F frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from inference.evidence import ERROR_POWER, THING_S, Evidence, ask, expectation, remember, size_of_things, with_parent
from inference.rarity import (
    SIDE_WEIGHT,
    SMOOTHING_S,
    block_peaks,
    evidence_moments,
    histogram,
    joint,
    level_for,
    log10_p,
)
from inference.scoring import smoothing_weight
from memory_store.normality import Normality, merge_all
from schemas.arrays import Float64
from training.worth.scenes import Take

NUM_PARTS = 8
"""So many parts are left out in turn."""
MIN_PART_FRAMES = 10
AT_S = 0.0
"""Footage has no date; all of it counts the same."""
FOR_EVER = float("inf")


@dataclass(frozen=True, slots=True)
class Form:
    """The constants of the score; as shipped unless said otherwise. See ``inference.evidence`` and ``rarity``."""

    error_power: float = ERROR_POWER
    thing_s: float = THING_S
    side_weight: float = SIDE_WEIGHT
    smoothing_s: float = SMOOTHING_S

    def ask(self, take: Take, own: Normality, parent: Normality | None = None) -> Evidence:
        """Hold a video against a memory, and what stands behind it."""
        size = size_of_things(own, take.fps, parent, thing_s=self.thing_s)
        return ask(take.seen, expectation(with_parent(own, parent), take.fps, size=size), self.error_power)

    def levels(self, evidence: Evidence, memory: Normality, fps: float) -> Float64:
        """Level of each frame, (F,)."""
        return smoothed(joint(evidence, memory, fps, self.side_weight), fps, self.smoothing_s, start=0.0)


SHIPPED = Form()


@dataclass(frozen=True, slots=True)
class _Part:
    take: int
    piece: Take


def learn(takes: Sequence[Take], parent: Normality | None = None, form: Form = SHIPPED) -> Normality:
    """What a camera would remember after its normal footage, thresholds included.

    Args:
        takes: normal video.
        parent: what stands behind it, see ``inference.evidence.with_parent``.
        form: of the score.
    """
    parts = _parts(takes)
    counts = [remember(part.piece.seen, AT_S) for part in parts]
    evidence = []
    for index, part in enumerate(parts):
        others = [other for number, other in enumerate(counts) if number != index] or counts
        evidence.append(form.ask(part.piece, merge_all(others, FOR_EVER), parent))
    memory = merge_all(counts, FOR_EVER)
    memory.field("evidence")[...] = sum(evidence_moments(found) for found in evidence)
    for number, take in enumerate(takes):
        of_take = [found for found, part in zip(evidence, parts, strict=True) if part.take == number]
        levels_F = form.levels(_end_to_end(of_take), memory, take.fps)
        memory.field("levels")[...] += histogram(levels_F)
        memory.field("peaks")[...] += histogram(block_peaks(levels_F, take.fps))
    return memory


def levels_of(take: Take, own: Normality, form: Form = SHIPPED, parent: Normality | None = None) -> Float64:
    """Level of each frame of a video, (F,), high = irregular; see ``inference.rarity``."""
    return form.levels(form.ask(take, own, parent), with_parent(own, parent), take.fps)


def rarities_of(levels_F: Float64, memory: Normality, per_day: float) -> tuple[Float64, float]:
    """-log10 of each frame's p-value, (F,), and the one at which events open for so many false alarms a day."""
    opens_at = np.array([level_for(per_day, memory)])
    return -log10_p(levels_F, memory), -float(log10_p(opens_at, memory)[0])


def smoothed(values_F: Float64, fps: float, smoothing_s: float = SMOOTHING_S, start: float | None = None) -> Float64:
    """The moving average of ``inference.scoring.smoothed``, over a whole video that ``start`` goes before."""
    from scipy.signal import lfilter  # noqa: PLC0415 - takes two seconds to load

    weight = smoothing_weight(fps, smoothing_s)
    filtered_F, _ = lfilter(
        [weight], [1.0, weight - 1.0], values_F, zi=[(1.0 - weight) * (values_F[0] if start is None else start)]
    )
    return np.asarray(filtered_F, dtype=np.float64)


def _parts(takes: Sequence[Take]) -> list[_Part]:
    """The takes, cut into about ``NUM_PARTS`` in all; none shorter than ``MIN_PART_FRAMES``."""
    total = sum(len(take.seen) for take in takes)
    size = max(MIN_PART_FRAMES, -(-total // NUM_PARTS))
    parts = []
    for number, take in enumerate(takes):
        pieces = max(1, round(len(take.seen) / size))
        edges = np.linspace(0, len(take.seen), pieces + 1).astype(int)
        parts += [_Part(number, take[int(begin) : int(end)]) for begin, end in pairwise(edges)]
    return parts


def _end_to_end(parts: Sequence[Evidence]) -> Evidence:
    return Evidence(
        np.concatenate([part.motion_F for part in parts]),
        np.concatenate([part.place_F for part in parts]),
        np.concatenate([part.background_F for part in parts]),
    )
