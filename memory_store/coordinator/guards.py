"""What may teach a bank: the worker's gate and the coordinator's guards, as pure decisions.

Each guard looks at one thing and gives None (it may pass) or a ``Rejection`` with the reason.

Dimensions: M items, C channels.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from memory_store.bank import Bank
from memory_store.proposal import NEVER, ItemSums
from schemas.arrays import Float32
from schemas.messages import ProposalHeader

Reason = Literal[
    "stale_base",
    "camera_event",
    "change_budget",
    "anchor_distance",
    "bad_shape",
    "foreign_bundle",
    "not_finite",
    "implausible",
    "frozen",
    "duplicate",
    "overflow",
]
"""``overflow`` is the only one that says nothing about the proposal: too many were held."""
SIMILARITY_SLACK = 1e-3
"""Unit vectors computed in float32 (or less, on a GPU) are not exactly so."""
LENGTH_SLACK = 1e-2


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a proposal has no effect. ``reason`` is the metric label, ``detail`` for people."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class EventSpan:
    """The frames of one session that an event covers; ``last_frame`` None while it is open."""

    camera_id: str
    session_id: str
    first_frame: int
    last_frame: int | None


def passes(regular_score: float, threshold: float) -> bool:
    """The worker's gate: a frame may teach only if MNAD's regular score (high = irregular) is below the threshold."""
    return regular_score < threshold


def stale_base(header: ProposalHeader, bank: Bank) -> Rejection | None:
    """A proposal is exact only against the items it was computed from."""
    if header.base_digest == bank.digest:
        return None
    return Rejection("stale_base", f"computed on v{header.base_version}, the bank is at v{bank.version}")


def foreign_bundle(header: ProposalHeader, bundle_digest: str) -> Rejection | None:
    """Queries of another encoder mean nothing here."""
    if header.bundle_digest == bundle_digest:
        return None
    return Rejection("foreign_bundle", f"made with bundle {header.bundle_digest:.12}, here is {bundle_digest:.12}")


def bad_shape(sums: ItemSums, shape: tuple[int, ...]) -> Rejection | None:
    """As many items and channels as the bank, ``shape`` = (M, C)."""
    got = (sums.running_max_M.shape, sums.sums_MC.shape, sums.counts_M.shape)
    if got == (shape[:1], shape, shape[:1]):
        return None
    return Rejection("bad_shape", f"must be {shape}, got {sums.sums_MC.shape}")


def not_finite(sums: ItemSums) -> Rejection | None:
    """No NaN, no infinity."""
    if all(np.isfinite(part).all() for part in (sums.running_max_M, sums.sums_MC, sums.counts_M)):
        return None
    return Rejection("not_finite", "holds NaN or infinity")


def implausible(sums: ItemSums) -> Rejection | None:
    """Numbers that no set of unit queries gives.

    A similarity lies in [-1, 1]; with weights of at most 1 the sum of n unit queries is at most n long; an item that
    was never held against a query has none assigned.
    """
    if (sums.counts_M < 0).any() or (sums.counts_M != np.rint(sums.counts_M)).any():
        return Rejection("implausible", "a count is negative or not whole")
    seen_M = sums.running_max_M != NEVER
    if (np.abs(sums.running_max_M[seen_M]) > 1 + SIMILARITY_SLACK).any() or (sums.counts_M[~seen_M] > 0).any():
        return Rejection("implausible", "a running maximum is no similarity of unit vectors")
    lengths_M = np.linalg.norm(sums.sums_MC.astype(np.float64), axis=1)
    if (lengths_M > sums.counts_M * (1 + LENGTH_SLACK)).any():
        return Rejection("implausible", "a sum is longer than its number of unit queries")
    return None


def camera_event(header: ProposalHeader, span: EventSpan, guard_frames: int) -> Rejection | None:
    """Frames of an event of the same camera and session must not teach, nor those just before and after it."""
    if (header.camera_id, header.session_id) != (span.camera_id, span.session_id):
        return None
    begins_before_its_end = span.last_frame is None or header.first_frame <= span.last_frame + guard_frames
    if begins_before_its_end and header.last_frame >= span.first_frame - guard_frames:
        return Rejection("camera_event", f"an event covers frames {span.first_frame} to {span.last_frame or 'now'}")
    return None


def frozen(bank: Bank) -> Rejection | None:
    """Updates were switched off by an operator."""
    return Rejection("frozen", f"bank '{bank.bank_id}' is frozen") if bank.frozen else None


def change_budget(moved: float, spent: float, budget: float | None) -> Rejection | None:
    """``moved`` now on top of what was ``spent`` within the hour; see ``distance_moved``."""
    if budget is None or spent + moved <= budget:
        return None
    return Rejection("change_budget", f"would move {moved:.3f} after {spent:.3f} within the hour, allowed are {budget}")


def anchor_distance(distance: float, limit: float | None) -> Rejection | None:
    """``distance`` of the farthest item to its trained self, see ``distance_to_anchor``."""
    if limit is None or distance <= limit:
        return None
    return Rejection("anchor_distance", f"an item would end {distance:.3f} from its trained self, allowed are {limit}")


def distance_moved(before_MC: Float32, after_MC: Float32) -> float:
    """Mean Euclidean distance of the items to where they were; 0 to 2 for unit items."""
    return float(np.linalg.norm(after_MC - before_MC, axis=1).mean())


def distance_to_anchor(items_MC: Float32, anchor_MC: Float32) -> float:
    """Largest Euclidean distance of an item to its trained self; 0 to 2 for unit items."""
    return float(np.linalg.norm(items_MC - anchor_MC, axis=1).max())
