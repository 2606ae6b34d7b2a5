"""What a frame is judged by: a calibration, made ready. Bundles so far have a line of speeds; newer ones a memory.

Both turn what was measured on a frame into the numbers of its score and the map an operator sees, those numbers into an
anomaly score, and a rate of false alarms into bounds on it. A worker and the evaluation judge by the same one.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache
from typing import Protocol

import numpy as np

from bundles.calibration import Calibration, NormalCounts
from inference.engine import ClipResult
from inference.error_map import PATCH_STEP, Irregularity, weigh_errors
from inference.evidence import (
    Evidence,
    Expectation,
    Seen,
    ask_by_patches,
    expectation,
    motion_map,
    motion_patches,
    remember,
    size_of_things,
    with_parent,
)
from inference.rarity import SMOOTHING_S, Levels, evidence_moments, histogram, joint, level_for, trust
from inference.recognition import Likeness, Recognition, recognised, whole_of
from inference.scoring import (
    EXIT_SHARE,
    FrameMeasures,
    LiveScore,
    Smoothing,
    live_score,
    score_of,
    smoothed,
    smoothing_weight,
    thresholds_for,
)
from inference.taught import Usual, passed
from memory_store.exemplar import Exemplar, Taught
from memory_store.normality import FORM, Grid, Normality
from schemas.errors import BadMessageError, BundleError

log = logging.getLogger(__name__)

USUAL = Smoothing(0.0)
"""What goes before a session's first frame: one value alone, not smoothed yet, would pass for rare too often."""


class Stage(IntEnum):
    """What a memory still has to learn of a camera before it can judge it."""

    COUNTS = 0
    """what there is: speeds, errors, grey levels"""
    EVIDENCE = 1
    """how far normal frames are from that"""
    LEVELS = 2
    """how often that adds up to how much"""
    KNOWN = 3


NUM_STAGES = 3


class Standard(Protocol):
    """See the module."""

    def look(self, result: ClipResult) -> Irregularity:
        """The numbers of a frame's score, and the map they come from."""
        ...

    def score(self, measures: FrameMeasures, smoothing: Smoothing | None) -> LiveScore:
        """Score one frame; ``smoothing`` is the state after the frame before, None after a gap."""
        ...

    def recognise(self, result: ClipResult, before: Recognition | None) -> Recognition | None:
        """Whether this is the camera that is known, after one more frame; None where nothing can tell."""
        ...

    def thresholds(self, per_day: float, fps: float) -> tuple[float, float]:
        """Anomaly scores that open and close an event, for so many false alarms a day of one camera."""
        ...

    @property
    def seconds_seen(self) -> float:
        """Of normal video that it rests on."""
        ...

    def stage(self, learn_s: float) -> Stage:
        """How far a camera is known that ``learn_s`` of normal video are wanted of."""
        ...

    def __hash__(self) -> int: ...


MAX_STANDARDS = 1024
"""Kept ready; each is of one version of one bank, about 40 KiB."""


class Standards:
    """What frames are judged by, for each version of a bank: its own counts, with the bundle's behind them.

    Args:
        calibration: of the bundle.

    Raises:
        BundleError: it holds counts that cannot be what frames gave.
    """

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self._parent = None if calibration.memory is None else normality_of(calibration.memory)
        if self._parent is not None and self._parent.form != FORM:
            log.warning(
                "the bundle was calibrated by form %d of the score, this is form %d: cameras learn what is usual to"
                " score anew, which takes a minute of normal video; 'engram calibrate' makes a bundle that knows it",
                self._parent.form,
                FORM,
            )
        self._made: dict[tuple[str, str], Standard] = {}

    @property
    def grid(self) -> Grid | None:
        """Of the counts that a bank of this bundle has; None = it has none, and is judged without."""
        return None if self._parent is None else self._parent.grid

    def of(
        self, digest: str, counted: Normality | None, exemplars: Sequence[Exemplar] = (), camera_id: str = ""
    ) -> Standard:
        """By the bank with this digest, whose counts and exemplars these are, for one of its cameras."""
        key = (digest, camera_id if exemplars else "")  # of what nobody has spoken about all cameras have one
        found = self._made.pop(key, None) or self._made_for(camera_id, digest, counted, exemplars)
        self._made[key] = found
        if len(self._made) > MAX_STANDARDS:
            del self._made[next(iter(self._made))]
        return found

    def _made_for(
        self, camera_id: str, digest: str, counted: Normality | None, exemplars: Sequence[Exemplar]
    ) -> Standard:
        if not exemplars:
            return self._make(counted)
        of_all = self.of(digest, counted)
        if not isinstance(of_all, ByMemory):
            return of_all
        return replace(of_all, taught=Taught.of(exemplars, camera_id, of_all.memory.grid))

    def _make(self, counted: Normality | None) -> Standard:
        if self._parent is None:
            return ByLine(self._calibration)
        own = Normality.empty(self._parent.grid) if counted is None else counted
        frames, fps = self._calibration.memory_frames, self._calibration.fps
        as_many = self._parent.num_frames if frames is None else frames
        size = size_of_things(own, fps, self._parent, as_many)
        return ByMemory.of(with_parent(own, self._parent, as_many, trust(as_many / fps)), fps, size)


@lru_cache(maxsize=16)
def standard_of(calibration: Calibration) -> Standard:
    """Make a calibration ready to judge by, all by itself; made once for each.

    Raises:
        BundleError: it holds counts that cannot be what frames gave, or of another form of the score.
    """
    if calibration.memory is None:
        return ByLine(calibration)
    memory = normality_of(calibration.memory)
    if memory.form != FORM:
        text = f"a calibration must be of form {FORM} of the score, this one is of form {memory.form}"
        raise BundleError(f"{text}; 'engram calibrate --bundle DIR --data VIDEO --out DIR' makes one, without training")
    return ByMemory.of(memory, calibration.fps)


@dataclass(frozen=True, slots=True)
class ByLine:
    """Errors weighed by speed against a line, see ``inference.error_map`` and ``inference.scoring``."""

    calibration: Calibration

    def look(self, result: ClipResult) -> Irregularity:
        """See ``Standard``."""
        return weigh_errors(result, self.calibration.speed_scale)

    def score(self, measures: FrameMeasures, smoothing: Smoothing | None) -> LiveScore:
        """See ``Standard``."""
        return live_score(measures, smoothing, self.calibration)

    def recognise(self, result: ClipResult, before: Recognition | None) -> Recognition | None:  # noqa: ARG002
        """See ``Standard``. A line knows no picture."""
        return None

    def thresholds(self, per_day: float, fps: float) -> tuple[float, float]:
        """See ``Standard``."""
        return thresholds_for(self.calibration, per_day, fps)

    @property
    def seconds_seen(self) -> float:
        """See ``Standard``."""
        return self.calibration.footage_s

    def stage(self, learn_s: float) -> Stage:  # noqa: ARG002
        """See ``Standard``. A line is fitted beforehand."""
        return Stage.KNOWN


@dataclass(frozen=True, slots=True)
class ByMemory:
    """Several evidences held against counts of normal video, see ``inference.evidence`` and ``inference.rarity``.

    Attributes:
        taught: what operators have said, see ``inference.taught``; None = nothing of this camera.
    """

    memory: Normality
    expected: Expectation
    known: Likeness
    levels: Levels
    usual: Usual
    fps: float
    taught: Taught | None = None

    @classmethod
    def of(cls, memory: Normality, fps: float, size: float | None = None) -> "ByMemory":
        """Ask a memory about frames that come ``fps`` times a second; ``size`` see ``inference.evidence``."""
        expected = expectation(memory, fps, size=size)
        return cls(memory, expected, Likeness.of(memory), Levels.of(memory), Usual.of(memory), fps)

    def look(self, result: ClipResult) -> Irregularity:
        """See ``Standard``. The map has the patches of ``inference.error_map``; the score is of all there are."""
        seen = seen_of([result])
        patches_FUV = motion_patches(motion_map(seen, self.expected), self.expected.patch_cells)
        as_usual_PQ, teaches = None, True
        if self.taught is not None:
            spreads_RS = self.usual.spreads_of(patches_FUV[0, ::PATCH_STEP, ::PATCH_STEP])
            known = passed(spreads_RS, self.usual.half, self.taught, seen.grid)
            patches_FUV = np.where(known.covered_UV, np.minimum(patches_FUV, self.usual.worst), patches_FUV)
            as_usual_PQ, teaches = known.covered_PQ, known.teaches
        evidence = ask_by_patches(seen, self.expected, patches_FUV, as_usual_PQ)
        map_RS = patches_FUV[0, ::PATCH_STEP, ::PATCH_STEP].astype(np.float32)
        measures = FrameMeasures(
            result.psnr_db,
            result.feature_distance,
            result.regular_score,
            float(np.exp(evidence.motion_F[0])),
            float(evidence.place_F[0]),
            float(evidence.background_F[0]),
        )
        return Irregularity(measures, map_RS, teaches)

    def score(self, measures: FrameMeasures, smoothing: Smoothing | None) -> LiveScore:
        """See ``Standard``."""
        x = float(joint(_evidence([measures]), self.memory, self.fps)[0])
        after = smoothed(smoothing or USUAL, x, smoothing_weight(self.fps, SMOOTHING_S))
        rarity = self._log10_p(after.level)
        return LiveScore(score_of(rarity), rarity, after)

    def recognise(self, result: ClipResult, before: Recognition | None) -> Recognition | None:
        """See ``Standard``."""
        return recognised(before, whole_of(result, self.known), self.known, self.fps)

    def thresholds(self, per_day: float, fps: float) -> tuple[float, float]:  # noqa: ARG002
        """See ``Standard``. Alarms are counted over blocks of seconds, so the rate of frames does not matter."""
        rarity = self._log10_p(level_for(per_day, self.memory))
        return score_of(rarity), score_of(EXIT_SHARE * rarity)

    @property
    def seconds_seen(self) -> float:
        """See ``Standard``."""
        return self.memory.num_frames / self.fps

    def stage(self, learn_s: float) -> Stage:
        """See ``Standard``. Each stage takes a third of the time, and rests on the one before."""
        wanted = learn_s / NUM_STAGES * self.fps
        if self.memory.num_frames < wanted:
            return Stage.COUNTS
        trusted = wanted * trust(wanted / self.fps)
        if self.memory.field("evidence")[0, 0] < trusted:
            return Stage.EVIDENCE
        return Stage.LEVELS if self.memory.field("levels").sum() < trusted else Stage.KNOWN

    def _log10_p(self, level: float) -> float:
        return float(self.levels.log10_p(np.array([level]))[0])


@dataclass(frozen=True, slots=True)
class Look:
    """What a frame adds to a memory: what was measured, and what came of it when it was scored.

    Attributes:
        result: what was measured.
        measures: evidences.
        level: of the frame.
        peak: highest level of the block that has ended with it, if one has.
        trusted: weight of evidences and levels, see ``inference.rarity.trust``.
        stage: of what it was scored by: evidences count from ``EVIDENCE`` on, levels from ``LEVELS`` on.
    """

    result: ClipResult
    measures: FrameMeasures
    level: float
    peak: float | None
    trusted: float
    stage: Stage


def remembered(looks: Sequence[Look], at_s: float) -> Normality:
    """Counts of some frames, all scored by one standard, as of ``at_s``."""
    memory, stage, trusted = remember(seen_of([look.result for look in looks]), at_s), looks[0].stage, looks[0].trusted
    if stage >= Stage.EVIDENCE:
        memory.field("evidence")[...] = trusted * evidence_moments(_evidence([look.measures for look in looks]))
    if stage >= Stage.LEVELS:
        memory.field("levels")[...] = trusted * histogram(np.array([look.level for look in looks]))
        peaks = np.array([look.peak for look in looks if look.peak is not None], np.float64)
        memory.field("peaks")[...] = trusted * histogram(peaks)
    return memory


def _evidence(measures: Sequence[FrameMeasures]) -> Evidence:
    return Evidence(
        np.log([one.patch_error for one in measures]),
        np.array([one.place_error for one in measures]),
        np.array([one.background for one in measures]),
    )


def seen_of(results: Sequence[ClipResult]) -> Seen:
    """What the network and the camera gave for some frames."""
    return Seen(
        np.stack([result.cell_errors_RS for result in results]),
        np.stack([result.cell_speeds_RS for result in results]),
        np.stack([result.place_grey_PQ for result in results]),
        np.array([result.psnr_db for result in results], np.float32),
    )


def normality_of(counts: NormalCounts) -> Normality:
    """A memory as a calibration holds it.

    Raises:
        BundleError: it cannot be what frames gave.
    """
    try:
        memory = Normality(Grid(counts.rows, counts.columns), counts.at_s, counts.array(), counts.form)
        memory.check()
    except BadMessageError as error:
        raise BundleError(f"counts of a calibration: {error}; train the bundle again") from error
    return memory


def counts_of(memory: Normality) -> NormalCounts:
    """The inverse of ``normality_of``."""
    return NormalCounts.of(memory.grid.rows, memory.grid.columns, memory.at_s, memory.values_N, memory.form)
