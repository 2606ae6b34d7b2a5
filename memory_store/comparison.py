"""What changed between two versions of a bank: how far each item moved, and who did it.

Dimensions: M items, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memory_store.bank import AuditEntry, Bank, entry_of
from memory_store.exemplar import Exemplar
from schemas.arrays import Float32


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Distances are Euclidean, 0 to 2 for items of unit length.

    Attributes:
        before: one version.
        after: the other.
        moved_M: distance of each item from the one to the other.
        anchor_before_M: of each item of ``before`` to the bundle's; None without a bundle.
        anchor_after_M: the same of ``after``.
        said_before, said_after: verdicts of operators that only the one or the other holds.
        counted: frames that ``after`` counts more than ``before``, each with its weight; None where banks do not count.
        entries: those that led from the older to the newer version, oldest first, its own included.
        is_whole: whether the log still reaches back to the older version.
    """

    before: Bank
    after: Bank
    moved_M: Float32
    anchor_before_M: Float32 | None
    anchor_after_M: Float32 | None
    counted: float | None
    said_before: tuple[Exemplar, ...]
    said_after: tuple[Exemplar, ...]
    entries: tuple[AuditEntry, ...]
    is_whole: bool


def compare(before: Bank, after: Bank, log: Sequence[AuditEntry], anchor_MC: Float32 | None = None) -> Comparison:
    """Compare two versions of one bank.

    Args:
        before: one.
        after: the other, of the same shape.
        log: of the bank, oldest first.
        anchor_MC: the items of its bundle.
    """
    older, newer = sorted((before, after), key=lambda bank: bank.age_order)
    first, last = (_place(bank, log) for bank in (older, newer))
    between = () if last is None else tuple(log[0 if first is None else first + 1 : last + 1])
    return Comparison(
        before,
        after,
        _distances(before.items_MC, after.items_MC),
        None if anchor_MC is None else _distances(before.items_MC, anchor_MC),
        None if anchor_MC is None else _distances(after.items_MC, anchor_MC),
        _counted(before, after),
        tuple(one for one in before.exemplars if one not in after.exemplars),
        tuple(one for one in after.exemplars if one not in before.exemplars),
        between,
        first is not None and last is not None,
    )


def _place(bank: Bank, log: Sequence[AuditEntry]) -> int | None:
    """Index of the entry that wrote ``bank``."""
    written = entry_of(bank, log)
    return next((index for index, entry in enumerate(log) if entry is written), None)


def _counted(before: Bank, after: Bank) -> float | None:
    if before.normality is None or after.normality is None:
        return None
    return after.normality.num_frames - before.normality.num_frames


def _distances(left_MC: Float32, right_MC: Float32) -> Float32:
    distances_M: Float32 = np.linalg.norm(left_MC - right_MC, axis=1).astype(np.float32)
    return distances_M
