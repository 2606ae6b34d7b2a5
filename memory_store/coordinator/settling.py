"""Settling a round: which of its proposals may change the bank, and into what."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from memory_store.bank import MAX_NAMED_CAMERAS, Bank, Change
from memory_store.coordinator.guards import (
    Rejection,
    anchor_distance,
    at_odds,
    change_budget,
    distance_moved,
    distance_to_anchor,
    not_unit,
)
from memory_store.coordinator.options import ChangeLimits
from memory_store.coordinator.rounds import Held, Rejected
from memory_store.proposal import ItemSums, merge_all
from schemas.arrays import Float32


@dataclass(frozen=True, slots=True)
class Settled:
    """The outcome. ``items_MC`` is None if nothing was accepted.

    Attributes:
        accepted: proposals merged, by id.
        rejected: the others.
        items_MC: the new items, unit length.
        moved: see ``distance_moved``.
        anchor_distance: see ``distance_to_anchor``.
    """

    accepted: Sequence[Held]
    rejected: Sequence[Rejected]
    items_MC: Float32 | None
    moved: float
    anchor_distance: float


@dataclass(frozen=True, slots=True)
class _Trial:
    items_MC: Float32
    moved: float
    anchor_distance: float
    rejection: Rejection | None


def settle(bank: Bank, anchor_MC: Float32, round_: Sequence[Held], limits: ChangeLimits) -> Settled:
    """Merge a round. If all together break a limit, they are tried one by one, in the order of their ids.

    The order does not depend on how proposals arrived, and neither does the outcome.

    Args:
        bank: what the proposals were computed from.
        anchor_MC: its trained self.
        round_: sums of the right shape, finite.
        limits: what is left of them, see ``ChangeLimits.after``.
    """
    ordered = sorted(round_, key=lambda held: held.identity)
    rejected = [Rejected(held, hit) for held in ordered if (hit := at_odds(held.sums, bank.items_MC))]
    refused = {item.held.identity for item in rejected}
    fit = [held for held in ordered if held.identity not in refused]
    if not fit:
        return Settled((), rejected, None, 0.0, 0.0)
    together = _try(bank, anchor_MC, merge_all([held.sums for held in fit]), limits)
    if together.rejection is None:
        return Settled(fit, rejected, together.items_MC, together.moved, together.anchor_distance)
    accepted: list[Held] = []
    merged: ItemSums | None = None
    result: _Trial | None = None
    for held in fit:
        candidate = held.sums if merged is None else merged.merge(held.sums)
        trial = _try(bank, anchor_MC, candidate, limits)
        if trial.rejection is not None:
            rejected.append(Rejected(held, trial.rejection))
            continue
        accepted.append(held)
        merged, result = candidate, trial
    if result is None:
        return Settled((), rejected, None, 0.0, 0.0)
    return Settled(accepted, rejected, result.items_MC, result.moved, result.anchor_distance)


def _try(bank: Bank, anchor_MC: Float32, sums: ItemSums, limits: ChangeLimits) -> _Trial:
    items_MC = sums.updated(bank.items_MC)
    moved, far = distance_moved(bank.items_MC, items_MC), distance_to_anchor(items_MC, anchor_MC)
    rejection = (
        not_unit(items_MC)
        or change_budget(moved, limits.moved_per_hour)
        or change_budget(moved, limits.moved_per_round, "in one round")
        or anchor_distance(far, limits.anchor_distance)
    )
    return _Trial(items_MC, moved, far, rejection)


def change_of(base: Bank, settled: Settled, author: str) -> Change:
    """What the log will say about a settled round. Its id follows from the base and the proposals alone."""
    frames: Counter[str] = Counter()
    for held in settled.accepted:
        frames[held.header.camera_id] += held.header.num_frames
    ids = [held.identity for held in settled.accepted]
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
