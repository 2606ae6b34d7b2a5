"""Abnormal frames among what is learned: how many get past the gate, and what those do.

Dimensions: F frames.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from inference.evidence import remember
from memory_store.coordinator.options import RoundRules
from memory_store.normality import Normality, merge_all
from schemas.arrays import Bool
from training.worth.arms import Row, auc, both_classes, interval
from training.worth.learning import AT_S, FOR_EVER, learn, levels_of
from training.worth.recognising import watched
from training.worth.scenes import Scene, Take

POISON_SHARE = 0.05
GUARD_FRAMES = RoundRules().guard_frames


def may_teach(take: Take, memory: Normality) -> Bool:
    """Frames that a fleet would remember, (F,): under the threshold, away from events, of a camera that is known."""
    found = watched(take, memory)
    teaches_F = np.array([not over and state.teaches for over, state in zip(found.over_F, found.states, strict=True)])
    for event in found.with_states:
        teaches_F[max(0, event.first - GUARD_FRAMES) : event.last + 1 + GUARD_FRAMES] = False
    return teaches_F


def poison(scenes: Sequence[Scene]) -> Iterator[Row]:
    """One learned frame in twenty is abnormal, of other clips than those judged: past the gate, and through it."""
    for scene in scenes:
        memory = learn(scene.normal)
        wrong = [_abnormal(take) for take in scene.test]
        passing = [may_teach(take, memory) for take in scene.test]
        yield from _passing(scene, wrong, passing)
        drawn = np.random.default_rng(0).permutation(len(scene.test))
        dosed, others = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
        half = [scene.test[index] for index in dosed]
        judged = Scene(scene.name, scene.normal, tuple(scene.test[index] for index in others))
        if not (half and both_classes(judged)):
            continue
        every = [wrong[index] for index in dosed]
        gated = [wrong[index] & passing[index] for index in dosed]
        before = [levels_of(take, memory) for take in judged.test]
        dose = POISON_SHARE * memory.num_frames / max(sum(map(np.sum, every)), 1)
        for what, chosen, note in (
            (f"{POISON_SHARE:.0%} of frames", every, "no guard: what the counts alone withstand"),
            (f"{POISON_SHARE:.0%} of frames, guarded", gated, "of them what the gate lets through"),
        ):
            taught = [
                remember(take.seen[np.flatnonzero(wrong_F)], AT_S) for take, wrong_F in zip(half, chosen, strict=True)
            ]
            after = [levels_of(take, _poisoned(memory, taught, dose)) for take in judged.test]
            loss = auc(judged, after) - auc(judged, before)
            yield Row("poison", scene.name, what, "AUC difference", loss, *interval(judged, after, before), note)


def _passing(scene: Scene, wrong: Sequence[Bool], passing: Sequence[Bool]) -> Iterator[Row]:
    for what, kind in (("abnormal frames", wrong), ("normal frames", [~wrong_F for wrong_F in wrong])):
        total = sum(int(of_take.sum()) for of_take in kind)
        if total:
            through = sum(int((of_take & gate).sum()) for of_take, gate in zip(kind, passing, strict=True))
            yield Row("poison", scene.name, what, "% that may teach", 100.0 * through / total, note=f"of {total}")


def _abnormal(take: Take) -> Bool:
    assert take.labels_F is not None, "test clips have labels"
    return np.asarray(take.labels_F > 0)


def _poisoned(memory: Normality, taught: Sequence[Normality], dose: float) -> Normality:
    """Some more counts of frames; thresholds stay those of the clean ones: they follow what is calm, see ``Block``."""
    counts = merge_all([memory, *(one.scaled(dose) for one in taught)], FOR_EVER)
    for field in ("evidence", "levels", "peaks"):
        counts.field(field)[...] = memory.field(field)
    return counts
