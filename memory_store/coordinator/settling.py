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
from memory_store.normality import Normality
from memory_store.normality import merge_all as merge_counts
from memory_store.proposal import ItemSums, merge_all
from memory_store.taken import taken_of
from schemas.arrays import Float32


@dataclass(frozen=True, slots=True)
class Settled:
    """The outcome; the same bank as before if nothing was accepted.

    Attributes:
        accepted: proposals that had an effect, by id; those whose sums were left out only had their frames counted.
        rejected: the others.
        items_MC: the items, unit length.
        moved: see ``distance_moved``.
        anchor_distance: see ``distance_to_anchor``.
        normality: the counts.
    """

    accepted: Sequence[Held]
    rejected: Sequence[Rejected]
    items_MC: Float32
    moved: float
    anchor_distance: float
    normality: Normality | None


@dataclass(frozen=True, slots=True)
class _Trial:
    items_MC: Float32
    moved: float
    anchor_distance: float
    rejection: Rejection | None


def settle(bank: Bank, anchor_MC: Float32, round_: Sequence[Held], limits: ChangeLimits, half_life_s: float) -> Settled:
    """Merge a round, in the order of ids, which does not depend on how proposals arrived, and neither does the outcome.

    Counts of normality add up whatever version they were made with; sums only change the items they were computed
    against, within limits.

    Args:
        bank: what is there.
        anchor_MC: its trained self.
        round_: sums of the right shape, finite; counts of the right grid, plausible.
        limits: what is left of them, see ``ChangeLimits.after``.
        half_life_s: of counts.
    """
    ordered = sorted(round_, key=lambda held: held.identity)
    # Of those without counts whoever is stale was rejected before, see ``guards.stale_base``.
    exact = [held for held in ordered if held.normality is None or held.header.base_digest == bank.items_digest]
    rejected = [Rejected(held, hit) for held in exact if (hit := at_odds(held.sums, bank.items_MC))]
    forged = {item.held.identity for item in rejected}
    trial, taken, refused = _merge_sums(
        bank, anchor_MC, [held for held in exact if held.identity not in forged], limits
    )
    counted = [held for held in ordered if held.normality is not None and held.identity not in forged]
    effective = {held.identity for held in (*taken, *counted)}
    return Settled(
        [held for held in ordered if held.identity in effective],
        [*rejected, *(item for item in refused if item.held.identity not in effective)],
        trial.items_MC,
        trial.moved,
        trial.anchor_distance,
        _merge_counts(bank, counted, half_life_s),
    )


def _merge_counts(bank: Bank, counted: Sequence[Held], half_life_s: float) -> Normality | None:
    parts = [part for part in (bank.normality, *(held.normality for held in counted)) if part is not None]
    return merge_counts(parts, half_life_s) if counted else bank.normality


def _merge_sums(
    bank: Bank, anchor_MC: Float32, fit: Sequence[Held], limits: ChangeLimits
) -> tuple[_Trial, Sequence[Held], Sequence[Rejected]]:
    """All sums together; if they break a limit, one by one. What came of it, whose they are, and who was refused."""
    result = _Trial(bank.items_MC, 0.0, distance_to_anchor(bank.items_MC, anchor_MC), None)
    if not fit or not bank.items_MC.size:
        return result, (), ()
    together = _try(bank, anchor_MC, merge_all([held.sums for held in fit]), limits)
    if together.rejection is None:
        return together, fit, ()
    taken: list[Held] = []
    refused: list[Rejected] = []
    merged: ItemSums | None = None
    for held in fit:
        candidate = held.sums if merged is None else merged.merge(held.sums)
        trial = _try(bank, anchor_MC, candidate, limits)
        if trial.rejection is not None:
            refused.append(Rejected(held, trial.rejection))
            continue
        taken.append(held)
        merged, result = candidate, trial
    return result, taken, refused


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


def change_of(base: Bank, settled: Settled, author: str, until_s: float) -> Change:
    """What the log will say about a settled round. Its id follows from the base and the proposals alone.

    Args:
        base: the bank before.
        settled: what came of it.
        author: the coordinator.
        until_s: capture time that the round ends with.
    """
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
        taken=taken_of([held.header for held in settled.accepted], until_s),
    )
