"""How far a bank may go: what distance from the trained items costs, and how far honest rounds move.

The limits of ``coordinator.max_anchor_distance``, ``max_round_distance`` and ``change_budget_per_hour`` come from
these two tables, see ``docs/decisions.md``. For another bundle: ``run(Path("models/lobby"))``, on the synthetic scene.

Dimensions: M items, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bundles.bundle import load_bundle
from engram.build.shipped import WALKWAY, shipped_bundle
from inference.decode import fit
from inference.engine import ClipResult, Engine, engine_of
from inference.scoring import Smoothing
from inference.standard import standard_of
from memory_store.coordinator.guards import distance_moved, distance_to_anchor
from memory_store.proposal import merge_all, normalised
from producers.synthetic.scene import SyntheticScene
from schemas.arrays import Float32, UInt8
from workers.proposals import passes_gate

DISTANCES = (0.0, 0.02, 0.035, 0.05, 0.075, 0.1, 0.2)
SEEDS = (101, 102)
CLIPS = 100
DIRECTIONS = 3
HONEST_SEEDS = (201, 202, 203)
ROUNDS = 5
ROUND_FRAMES = 300
"""One camera's frames of a round of 60 s at 5 a second."""
BATCH = 8
FALSE_ALARMS_PER_DAY = 1.0
"""As the setting has it."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What normal footage gives with all items at one distance: the worst direction of those tried.

    Attributes:
        distance: of every item from its trained self.
        score: mean anomaly score.
        teaches: share of frames that pass the gate while no event would be open, in [0, 1]; a bank from which none
            does never heals.
    """

    distance: float
    score: float
    teaches: float


@dataclass(frozen=True, slots=True)
class Movement:
    """One honest round; both as the coordinator measures them."""

    moved: float
    anchor_distance: float


def run(bundle: Path | None = None) -> None:
    """Print both tables."""
    engine = engine_of(load_bundle(bundle or shipped_bundle(WALKWAY)))
    table = Table("distance", "mean score", "may teach", title="Normal frames, all items moved at random")
    for effect in effects(engine, DISTANCES, SEEDS, CLIPS, DIRECTIONS):
        table.add_row(f"{effect.distance:.3f}", f"{effect.score:.2f}", f"{effect.teaches:.0%}")
    Console().print(table)
    table = Table("scene", "round", "moved", "from anchor", title=f"Honest rounds, one camera, {ROUND_FRAMES} frames")
    for seed in HONEST_SEEDS:
        for number, each in enumerate(honest_rounds(engine, seed, ROUNDS, ROUND_FRAMES), 1):
            table.add_row(str(seed), str(number), f"{each.moved:.4f}", f"{each.anchor_distance:.4f}")
    Console().print(table)


def effects(
    engine: Engine, distances: Sequence[float], seeds: Sequence[int], num_clips: int, directions: int
) -> list[Effect]:
    """Score normal scenes with banks at ``distances``; the worst of several random directions each."""
    scenes = [clips_of(engine, seed, num_clips) for seed in seeds]
    found = []
    for distance in distances:
        tried = [_effect(engine, scenes, at_distance(engine.bundle.items_MC, distance, n)) for n in range(directions)]
        found.append(Effect(distance, max(score for score, _ in tried), min(teaches for _, teaches in tried)))
    return found


def at_distance(items_MC: Float32, distance: float, seed: int) -> Float32:
    """Every item turned in a random direction, to this Euclidean distance from where it was; unit length."""
    drawn_MC = np.random.default_rng(seed).normal(size=items_MC.shape)
    across_MC = drawn_MC - (drawn_MC * items_MC).sum(axis=1, keepdims=True) * items_MC
    across_MC /= np.linalg.norm(across_MC, axis=1, keepdims=True)
    angle = 2 * np.arcsin(distance / 2)
    return normalised((np.cos(angle) * items_MC + np.sin(angle) * across_MC).astype(np.float32))


def honest_rounds(engine: Engine, seed: int, rounds: int, frames: int) -> list[Movement]:
    """Normal footage of one camera through gate and merge, round after round, without limits."""
    gate, items_MC = engine.bundle.calibration.gate_threshold, engine.bundle.items_MC
    clips, moves = clips_of(engine, seed, rounds * frames), []
    for start in range(0, len(clips), frames):
        results = infer(engine, clips[start : start + frames], items_MC)
        kept = [result.sums for result in results if passes_gate(result.regular_score, gate)]
        if not kept:
            break
        new_MC = merge_all(kept).updated(items_MC)
        moves.append(Movement(distance_moved(items_MC, new_MC), distance_to_anchor(new_MC, engine.bundle.items_MC)))
        items_MC = new_MC
    return moves


def clips_of(engine: Engine, seed: int, num_clips: int) -> list[UInt8]:
    """Consecutive clips of a scene without anomalies, at model size."""
    clip, frame = engine.predictor.clip_format, engine.predictor.frame_format
    scene = SyntheticScene(seed, fps=engine.bundle.manifest.fps, anomalies=False)
    frames = [fit(image, frame) for image in scene.frames(num_clips + clip.span - 1)]
    return [np.stack(frames[at : at + clip.span : clip.stride]) for at in range(num_clips)]


def infer(engine: Engine, clips: Sequence[UInt8], items_MC: Float32) -> list[ClipResult]:
    """Measure clips against one bank."""
    results: list[ClipResult] = []
    for start in range(0, len(clips), BATCH):
        batch = clips[start : start + BATCH]
        results += engine.predictor.infer(batch, np.repeat(items_MC[None], len(batch), axis=0))
    return results


def _effect(engine: Engine, scenes: Sequence[Sequence[UInt8]], items_MC: Float32) -> tuple[float, float]:
    """Mean score and share that may teach."""
    calibration, scores, taught = engine.bundle.calibration, [], []
    standard = standard_of(calibration)
    enter, _ = standard.thresholds(FALSE_ALARMS_PER_DAY, engine.bundle.manifest.fps)
    for clips in scenes:
        smoothing: Smoothing | None = None
        for result in infer(engine, clips, items_MC):
            live = standard.score(standard.look(result).measures, smoothing)
            smoothing = live.smoothing
            scores.append(live.anomaly_score)
            passes = passes_gate(result.regular_score, calibration.gate_threshold)
            taught.append(passes and live.anomaly_score < enter)
    return float(np.mean(scores)), float(np.mean(taught))
