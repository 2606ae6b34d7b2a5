"""Settling a round: which of its proposals may change the bank, and into what."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

from memory_store.bank import MAX_NAMED_CAMERAS, Bank, Change
from memory_store.coordinator.guards import (
    Rejection,
    anchor_distance,
    change_budget,
    distance_moved,
    distance_to_anchor,
)
from memory_store.coordinator.rounds import Held, Place, Rejected
from memory_store.proposal import ItemSums, merge_all
from schemas.arrays import Float32


@dataclass(frozen=True, slots=True)
class ChangeLimits:
    """How far a bank may go.

    Attributes:
        moved_per_hour: sum of ``distance_moved`` over the commits of an hour; None = any. MNAD's rule moves items
            far at each commit, because the queries outweigh the item, so this bounds wild rounds rather than drift.
        anchor_distance: largest ``distance_to_anchor``; None = any. 1.0 is an angle of 60 degrees.
    """

    moved_per_hour: float | None = 6.0
    anchor_distance: float | None = 1.0


@dataclass(frozen=True, slots=True)
class Base:
    """What a round starts from: the bank, its trained self, and how far it moved within the hour."""

    bank: Bank
    anchor_MC: Float32
    spent: float


@dataclass(frozen=True, slots=True)
class Settled(Generic[Place]):
    """The outcome. ``items_MC`` is None if nothing was accepted.

    Attributes:
        accepted: proposals merged, by id.
        rejected: the others.
        items_MC: the new items, unit length.
        moved: see ``distance_moved``.
        anchor_distance: see ``distance_to_anchor``.
    """

    accepted: Sequence[Held[Place]]
    rejected: Sequence[Rejected[Place]]
    items_MC: Float32 | None
    moved: float
    anchor_distance: float


@dataclass(frozen=True, slots=True)
class _Trial:
    items_MC: Float32
    moved: float
    anchor_distance: float
    rejection: Rejection | None


def settle(base: Base, round_: Sequence[Held[Place]], limits: ChangeLimits) -> Settled[Place]:
    """Merge a round. If all together break a limit, they are tried one by one, in the order of their ids.

    The order does not depend on how proposals arrived, and neither does the outcome.
    """
    ordered = sorted(round_, key=lambda held: held.header.proposal_id)
    if not ordered:
        return Settled((), (), None, 0.0, 0.0)
    together = _try(base, merge_all([held.sums for held in ordered]), limits)
    if together.rejection is None:
        return Settled(ordered, (), together.items_MC, together.moved, together.anchor_distance)
    return _one_by_one(base, ordered, limits)


def _one_by_one(base: Base, ordered: Sequence[Held[Place]], limits: ChangeLimits) -> Settled[Place]:
    accepted: list[Held[Place]] = []
    rejected: list[Rejected[Place]] = []
    merged: ItemSums | None = None
    result: _Trial | None = None
    for held in ordered:
        candidate = held.sums if merged is None else merged.merge(held.sums)
        trial = _try(base, candidate, limits)
        if trial.rejection is not None:
            rejected.append(Rejected(held, trial.rejection))
            continue
        accepted.append(held)
        merged, result = candidate, trial
    if result is None:
        return Settled((), rejected, None, 0.0, 0.0)
    return Settled(accepted, rejected, result.items_MC, result.moved, result.anchor_distance)


def _try(base: Base, sums: ItemSums, limits: ChangeLimits) -> _Trial:
    items_MC = sums.updated(base.bank.items_MC)
    moved = distance_moved(base.bank.items_MC, items_MC)
    far = distance_to_anchor(items_MC, base.anchor_MC)
    too_much = change_budget(moved, base.spent, limits.moved_per_hour)
    return _Trial(items_MC, moved, far, too_much or anchor_distance(far, limits.anchor_distance))


def change_of(base: Bank, settled: Settled[Place], author: str) -> Change:
    """What the log will say about a settled round. Its id follows from the base and the proposals alone."""
    frames: Counter[str] = Counter()
    for held in settled.accepted:
        frames[held.header.camera_id] += held.header.num_frames
    ids = [held.header.proposal_id for held in settled.accepted]
    commit_id = hashlib.sha256("\n".join([base.epoch, base.digest, *ids]).encode()).hexdigest()
    return Change(
        action="update",
        author=author,
        reason="round",
        commit_id=commit_id,
        num_proposals=len(ids),
        num_frames=frames.total(),
        num_cameras=len(frames),
        cameras=tuple(frames.most_common(MAX_NAMED_CAMERAS)),
        moved=settled.moved,
        anchor_distance=settled.anchor_distance,
    )
