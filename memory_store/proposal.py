"""What a worker contributes to an update, as a commutative monoid.

MNAD's update (Park et al., CVPR 2020, eq. 4-6) of item p_m needs, over the queries q_n that are nearest to it,

    p_m <- normalise(p_m + sum_n v'_nm q_n),    v'_nm = exp(s_nm) / max_n' exp(s_n'm),    s = q . p

with the maximum over *all* queries (the published code; the softmax denominators cancel). The pair

    (running maximum  a_m = max_n s_nm,   rescaled sum  u_m = sum_n exp(s_nm - a_m) q_n)

is enough, and two pairs merge exactly, as in a streaming log-sum-exp. So whatever way frames were spread over workers,
merging their pairs in any order gives what one process with all the frames would have written.

Dimensions: M items, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.arrays import Float32

NEVER = np.float32(np.finfo(np.float32).min)
"""Running maximum of an item no query was ever held against. Finite, so that it can travel and subtract."""


@dataclass(frozen=True, slots=True)
class ItemSums:
    """Mergeable statistics of queries held against one version of a bank.

    Attributes:
        running_max_M: largest similarity of any query to each item, in [-1, 1] for unit vectors; ``NEVER`` if none.
        sums_MC: over the queries assigned to each item, sum of exp(similarity - running_max) * query.
        counts_M: how many queries were assigned to each item (float32, so that it merges and travels like the rest).
    """

    running_max_M: Float32
    sums_MC: Float32
    counts_M: Float32

    @classmethod
    def empty(cls, num_items: int, item_dim: int) -> "ItemSums":
        """The neutral element."""
        return cls(
            np.full(num_items, NEVER, np.float32),
            np.zeros((num_items, item_dim), np.float32),
            np.zeros(num_items, np.float32),
        )

    def merge(self, other: "ItemSums") -> "ItemSums":
        """Statistics of both sets of queries; commutative, and associative up to rounding."""
        return merge_all([self, other])

    def updated(self, items_MC: Float32) -> Float32:
        """New items, unit length: normalise(items + sums). Items nobody chose are only normalised again."""
        return normalised(items_MC + self.sums_MC)


def merge_all(parts: Sequence[ItemSums]) -> ItemSums:
    """Merge one or more proposals, in double precision, so that thousands add up without drift."""
    maxima_PM = np.stack([part.running_max_M for part in parts]).astype(np.float64)
    running_max_M = maxima_PM.max(axis=0)
    scales_PM = np.exp(maxima_PM - running_max_M)
    sums_MC = np.zeros(parts[0].sums_MC.shape)
    counts_M = np.zeros(parts[0].counts_M.shape)
    for part, scale_M in zip(parts, scales_PM, strict=True):
        sums_MC += scale_M[:, None] * part.sums_MC
        counts_M += part.counts_M
    return ItemSums(running_max_M.astype(np.float32), sums_MC.astype(np.float32), counts_M.astype(np.float32))


def normalised(rows_MC: Float32) -> Float32:
    """Rows divided by their Euclidean length (at least 1e-12)."""
    lengths_M = np.linalg.norm(rows_MC, axis=1, keepdims=True)
    return np.asarray(rows_MC / np.maximum(lengths_M, 1e-12), dtype=np.float32)
