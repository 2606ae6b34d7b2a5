"""MemAE's memory (Gong et al., ICCV 2019, sections 3.2-3.4): many trained items, each feature rebuilt from a few.

Dimensions: B samples, N places (frames x height x width of the query map), M items, C channels.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from networks.memory import MIN_LENGTH, full_precision

Addressing = Literal["dot", "cosine"]
"""Similarity of a query and an item: their product, as in the published code, or the cosine between them (eq. 4)."""

Shrinking = Literal["quotient", "step"]
"""How weights up to a threshold t are cut; both give the same weights but where |w - t| < 1e-7, not the same gradient.

"quotient" is the published formula, relu(w - t) w / (|w - t| + 1e-12). Its gradient is about 1 + 1e-12 w / (w - t)^2,
which just above t is thousands instead of 1: one weight in a batch may outweigh all the others (seen in single
precision: a gradient 50 times as long as without). "step" has gradient 1 above the threshold.
"""

SHRINK_EPS = 1e-12
LOG_EPS = 1e-12


@dataclass(frozen=True, slots=True)
class SparseReading:
    """Queries and what the items make of them.

    Attributes:
        queries_BCN: as the encoder gave them, any length.
        weights_BMN: of each item at each place, >= 0; they add up to 1, or to 0 where no item is near enough.
        rebuilt_BCN: items mixed by these weights; exactly 0 where none is near enough.
    """

    queries_BCN: Tensor
    weights_BMN: Tensor
    rebuilt_BCN: Tensor

    def distance_map(self) -> Tensor:
        """Per place, (B, N): mean over channels of (query - rebuilt)^2; >= 0, high = irregular."""
        return (self.queries_BCN - self.rebuilt_BCN).square().mean(dim=1)

    def entropy(self) -> Tensor:
        """Entropy loss (eq. 9, mean over places): >= 0, low = each place is rebuilt from few items."""
        return -(self.weights_BMN * torch.log(self.weights_BMN + LOG_EPS)).sum(dim=1).mean()

    def num_items_read(self) -> Tensor:
        """How many items each place is rebuilt from, (B, N); 0 = dead: it passes no gradient to encoder and items."""
        return (self.weights_BMN > 0).sum(dim=1)


@dataclass(frozen=True, slots=True)
class ReadRule:
    """How items are read; the defaults are the published code's.

    Attributes:
        shrink: weights up to this are cut to 0 and the others scaled to add up to 1; 0 = all items are used.
        addressing: see ``Addressing``.
        temperature: similarities are divided by it before the softmax.
        shrinking: see ``Shrinking``.
    """

    shrink: float = 0.0025
    addressing: Addressing = "dot"
    temperature: float = 1.0
    shrinking: Shrinking = "quotient"


def sparse_read(queries: Tensor, items_MC: Tensor, rule: ReadRule) -> SparseReading:
    """Rebuild queries from items (eq. 3-8); gradients flow into both.

    Args:
        queries: (B, C, ...), whatever follows the channels are places.
        items_MC: trained items.
        rule: how.
    """
    with full_precision(items_MC):
        queries_BCN = queries.to(items_MC.dtype).flatten(2)
        similarity_BMN = _similarity(queries_BCN, items_MC, rule.addressing) / rule.temperature
        weights_BMN = torch.softmax(similarity_BMN, dim=1)
        if rule.shrink > 0:
            weights_BMN = scaled_to_one(hard_shrunk(weights_BMN, rule.shrink, rule.shrinking))
        return SparseReading(queries_BCN, weights_BMN, items_MC.T @ weights_BMN)


def hard_shrunk(weights: Tensor, threshold: float, shrinking: Shrinking = "quotient") -> Tensor:
    """Weights above the threshold as they are, the others 0 (eq. 7)."""
    above = F.relu(weights - threshold)
    kept = weights * (above / (above + SHRINK_EPS)) if shrinking == "quotient" else weights
    # where, not the bare quotient: exported to half precision, in which the constant is 0, that would be 0 / 0
    return torch.where(above > 0, kept, 0.0)


def scaled_to_one(weights_BMN: Tensor) -> Tensor:
    """Scale non-negative weights to add up to 1 over the items (below eq. 8); where all are 0 they stay 0."""
    # not F.normalize(p=1): OpenVINO converts it wrongly
    return weights_BMN / weights_BMN.sum(dim=1, keepdim=True).clamp_min(MIN_LENGTH)


def _similarity(queries_BCN: Tensor, items_MC: Tensor, addressing: Addressing) -> Tensor:
    if addressing == "cosine":
        items_MC = F.normalize(items_MC, dim=1, eps=MIN_LENGTH)
        queries_BCN = F.normalize(queries_BCN, dim=1, eps=MIN_LENGTH)
    return items_MC @ queries_BCN
