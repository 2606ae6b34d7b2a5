"""What may teach a bank, as pure decisions.

Each guard looks at one thing and gives None (it may pass) or a ``Rejection`` with the reason.

Dimensions: M items, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from memory_store.bank import Bank, epoch_order
from memory_store.coordinator.options import CAMERA
from memory_store.exemplar import Exemplar
from memory_store.normality import Grid, Normality
from memory_store.proposal import NEVER, ItemSums
from memory_store.taken import Taken
from memory_store.views import InitialBank
from schemas.arrays import Float32, Float64
from schemas.messages import ProposalHeader

Reason = Literal[
    "stale_base",
    "camera_event",
    "change_budget",
    "anchor_distance",
    "bad_shape",
    "foreign_bundle",
    "unknown_bank",
    "not_finite",
    "implausible",
    "empty",
    "frozen",
    "damaged_bank",
    "duplicate",
    "overflow",
]
"""``overflow`` is the only one that says nothing about the proposal: too many were held."""
SIMILARITY_SLACK = 1e-3
"""Unit vectors computed in float32 (or less, on a GPU) are not exactly so."""
LENGTH_SLACK = 1e-2
UNIT_SLACK = 1e-3
"""Items are made unit length in float32; a bank that was tampered with is not."""
MAX_FRAMES = 4096
"""Frames of one proposal: a worker gathers about a second of them, and a camera gives 240 a second at most."""
MAX_FRAMES_PER_S = 1000
"""The fastest that a frame's header can say."""
BURST = 16
"""Frames that may come within one moment of a clock that counts arrivals."""
MAX_PSNR_DB, MAX_GREY, MAX_LOG_ERROR, MAX_EVIDENCE = 200.0, 255.0, 40.0, 1e6
"""Far beyond what is seen; they keep one forged frame from outweighing all others."""
MAX_VERSION = 2**40
"""Versions that a restore may begin at; JSON and Lua count to 2**53."""
MAX_EPOCHS_AHEAD = 1000
"""So many restores, each one epoch, an archive may be ahead of a store that was set back."""


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


def stale_base(header: ProposalHeader, bank: Bank) -> Rejection | None:
    """Sums are exact only against the items they were computed from; counts of normality add up whatever these are."""
    if header.base_digest == bank.items_digest or header.normality is not None:
        return None
    return Rejection("stale_base", f"computed on v{header.base_version}, the bank is at v{bank.version}")


def foreign_bundle(bundle_digest: str, own_digest: str) -> Rejection | None:
    """Queries, and items, of another encoder mean nothing here."""
    if bundle_digest == own_digest:
        return None
    return Rejection("foreign_bundle", f"made with bundle {bundle_digest:.12}, here is {own_digest:.12}")


def unknown_bank(header: ProposalHeader, template: str) -> Rejection | None:
    """A proposal makes no bank but the one that the settings give its camera."""
    named = template.replace(CAMERA, header.camera_id)
    if header.bank_id == named:
        return None
    text = f"bank '{header.bank_id}' must exist or be '{named}', as memory.bank_id has it"
    return Rejection("unknown_bank", f"{text}; if it is meant, run 'engram bank create {header.bank_id}'")


def damaged(bank_id: str, why: str) -> Rejection:
    """There is nothing to add to."""
    return Rejection("damaged_bank", f"bank '{bank_id}' is set aside: {why}")


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


def false_claim(header: ProposalHeader) -> Rejection | None:
    """As many frames as lie between the first and the last, by number and by time, and no more than can be."""
    frames, span_s = header.num_frames, (header.captured_to - header.captured_from).total_seconds()
    if not 1 <= frames <= header.last_frame - header.first_frame + 1:
        text = f"{frames} frames cannot lie from {header.first_frame} to {header.last_frame}"
        return Rejection("implausible", text)
    if span_s < 0 or frames > BURST + span_s * MAX_FRAMES_PER_S:
        return Rejection("implausible", f"{frames} frames cannot be captured in {span_s:g} s")
    if frames > MAX_FRAMES:
        return Rejection("implausible", f"a proposal must hold at most {MAX_FRAMES} frames, it claims {frames}")
    return None


def empty(sums: ItemSums, normality: Normality | None) -> Rejection | None:
    """What teaches nothing only stands in the way."""
    if (sums.counts_M > 0).any() or (normality is not None and normality.num_frames > 0):
        return None
    return Rejection("empty", "no query was assigned to any item, and no frame was counted")


def foreign_grid(normality: Normality | None, grid: Grid | None) -> Rejection | None:
    """Counts are of the cells that the bundle's images have; without a memory there are none."""
    found = None if normality is None else normality.grid
    return None if found == grid else Rejection("bad_shape", f"counts must be of {grid}, they are of {found}")


def ahead_of_time(header: ProposalHeader, now: datetime, slack: timedelta | None) -> Rejection | None:
    """What is of tomorrow would make all that is of today weigh nothing."""
    if slack is None or header.captured_to <= now + slack:
        return None
    return Rejection("implausible", f"its frames are of {header.captured_to:%Y-%m-%dT%H:%M:%SZ}, which is yet to come")


def foreign_exemplars(exemplars: Sequence[Exemplar], grid: Grid | None) -> Rejection | None:
    """What operators said is of the places that the bundle's images have; without a memory nothing can be said."""
    if exemplars and grid is None:
        return Rejection("bad_shape", "a bundle without a memory of normality has no exemplars")
    flaws = (exemplar.flaw(grid) for exemplar in exemplars if grid is not None)
    flaw = next((found for found in flaws if found is not None), None)
    return None if flaw is None else Rejection("bad_shape", flaw)


def implausible_counts(header: ProposalHeader, normality: Normality) -> Rejection | None:
    """More than so many frames can be counted to, or numbers that no image gives.

    Args:
        header: says how many frames, and of when.
        normality: checked by itself (``Normality.check``).
    """
    if not header.captured_from.timestamp() <= normality.at_s <= header.captured_to.timestamp():
        return Rejection("implausible", "its counts are of another time than its frames")
    most, cells = header.num_frames * (1 + UNIT_SLACK), normality.grid.columns
    counts = {
        "frames": (normality.field("frames"), most),
        "levels": (normality.field("levels").sum(), most),
        "peaks": (normality.field("peaks").sum(), most),
        "speeds": (normality.field("speeds").sum(axis=1), most * cells),
        "errors": (normality.field("errors")[..., 0], most),
        "evidence": (normality.field("evidence")[..., 0], most),
    }
    for name, (found, limit) in counts.items():
        if (np.asarray(found) > limit).any():
            return Rejection("implausible", f"its '{name}' are of more than the {header.num_frames} frames it claims")
    num_frames = normality.num_frames
    squares = {
        "psnr": (normality.field("psnr")[1], num_frames, MAX_PSNR_DB),
        "background": (normality.field("background")[..., 1], num_frames, MAX_GREY),
        "errors": (normality.field("errors")[..., 2], normality.field("errors")[..., 0], MAX_LOG_ERROR),
        "evidence": (normality.field("evidence")[..., 2], normality.field("evidence")[..., 0], MAX_EVIDENCE),
    }
    for name, (found, count, largest) in squares.items():
        if (np.asarray(found) > np.asarray(count) * largest**2 * (1 + UNIT_SLACK)).any():
            return Rejection("implausible", f"its '{name}' are larger than any image gives")
    return None


def implausible(sums: ItemSums, most_queries: int | None = None) -> Rejection | None:
    """Numbers that no set of unit queries gives.

    A similarity lies in [-1, 1]; with weights of at most 1 the sum of n unit queries is at most n long; an item that
    was never held against a query has none assigned.

    Args:
        sums: finite.
        most_queries: places of all frames that are claimed; each holds one query. None = not known.
    """
    if (sums.counts_M < 0).any() or (sums.counts_M != np.rint(sums.counts_M)).any():
        return Rejection("implausible", "a count is negative or not whole")
    num_queries = sums.counts_M.astype(np.float64).sum()
    if most_queries is not None and num_queries > most_queries:
        return Rejection("implausible", f"its frames have at most {most_queries} queries, it claims {num_queries:.0f}")
    seen_M = sums.running_max_M != NEVER
    if (np.abs(sums.running_max_M[seen_M]) > 1 + SIMILARITY_SLACK).any() or (sums.counts_M[~seen_M] > 0).any():
        return Rejection("implausible", "a running maximum is no similarity of unit vectors")
    lengths_M = np.linalg.norm(sums.sums_MC.astype(np.float64), axis=1)
    if (lengths_M > sums.counts_M * (1 + LENGTH_SLACK)).any():
        return Rejection("implausible", "a sum is longer than its number of unit queries")
    return None


def at_odds(sums: ItemSums, items_MC: Float32) -> Rejection | None:
    """Sums that do not fit their own maxima, against the items they were computed from.

    With n queries of similarity s in [-1, a], a the maximum, and weights exp(s - a), the sum's product with the item is
    the sum of s exp(s - a), which lies between -n exp(-1 - a) and n a (for a < 0: n a exp(-1 - a)).
    """
    counts_M, maxima_M = sums.counts_M.astype(np.float64), np.clip(sums.running_max_M.astype(np.float64), -1.0, 1.0)
    product_M = np.einsum("mc,mc->m", sums.sums_MC.astype(np.float64), items_MC.astype(np.float64))
    least_M: Float64 = -counts_M * np.exp(-1.0 - maxima_M)
    most_M: Float64 = counts_M * np.where(maxima_M >= 0, maxima_M, maxima_M * np.exp(-1.0 - maxima_M))
    slack_M = LENGTH_SLACK * counts_M
    if ((product_M < least_M - slack_M) | (product_M > most_M + slack_M)).any():
        return Rejection("implausible", "a sum is more like its item than any of its queries, or less")
    return None


def already_taken(header: ProposalHeader, at_s: float, taken: Taken) -> Rejection | None:
    """What is part of the bank is counted once, though it is read again; ``at_s``: as of when rounds count it."""
    return Rejection("duplicate", "an earlier version holds it") if taken.holds(header, at_s) else None


def not_unit(items_MC: Float32) -> Rejection | None:
    """Items are finite and of length 1, or they are none."""
    lengths_M = np.linalg.norm(items_MC.astype(np.float64), axis=1)
    if bool((np.abs(lengths_M - 1) <= UNIT_SLACK).all()):
        return None
    return Rejection("implausible", "an item is not of unit length")


def unfit(bank: Bank, initial: InitialBank, limit: float | None) -> Rejection | None:
    """What no update could have led to: another shape or grid, lengths other than 1, or too far from the anchor."""
    items_MC = bank.items_MC
    if items_MC.shape != initial.items_MC.shape:
        return Rejection("bad_shape", f"must be {initial.items_MC.shape}, got {items_MC.shape}")
    distance = distance_to_anchor(items_MC, initial.items_MC)
    return (
        foreign_grid(bank.normality, initial.grid)
        or foreign_exemplars(bank.exemplars, initial.grid)
        or not_unit(items_MC)
        or anchor_distance(distance, limit)
    )


def false_age(epoch: str, version: int) -> Rejection | None:
    """An epoch and a version that a coordinator or an operator made."""
    if epoch_order(epoch)[0] < 1 or not 0 <= version <= MAX_VERSION:
        return Rejection("implausible", f"epoch {epoch} and version {version} are none that Engram makes")
    return None


def too_far_ahead(archived: Bank, stored: Bank) -> Rejection | None:
    """How much newer than the store an archive can be."""
    ahead = epoch_order(archived.epoch)[0] - max(epoch_order(stored.epoch)[0], 0)
    if ahead <= MAX_EPOCHS_AHEAD:
        return None
    return Rejection("implausible", f"its epoch is {ahead} ahead of the store's, at most {MAX_EPOCHS_AHEAD} can be")


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


def change_budget(moved: float, left: float | None, span: str = "this hour") -> Rejection | None:
    """``moved`` now must stay below what is ``left``; see ``distance_moved``. NaN does not."""
    if left is None or moved < left:
        return None
    return Rejection("change_budget", f"would move {moved:.4f}, less than {max(left, 0):.4f} is allowed {span}")


def anchor_distance(distance: float, limit: float | None) -> Rejection | None:
    """``distance`` of the farthest item to its trained self must stay below ``limit``, see ``distance_to_anchor``."""
    if limit is None or distance < limit:
        return None
    text = f"an item would lie {distance:.4f} from its trained self"
    return Rejection("anchor_distance", f"{text}, less than {limit} is allowed")


def distance_moved(before_MC: Float32, after_MC: Float32) -> float:
    """Mean Euclidean distance of the items to where they were; 0 to 2 for unit items, 0 where there are none."""
    return float(np.linalg.norm(after_MC - before_MC, axis=1).mean()) if before_MC.size else 0.0


def distance_to_anchor(items_MC: Float32, anchor_MC: Float32) -> float:
    """Largest Euclidean distance of an item to its trained self; 0 to 2 for unit items, 0 where there are none."""
    return float(np.linalg.norm(items_MC - anchor_MC, axis=1).max(initial=0.0))
