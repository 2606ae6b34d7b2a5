"""MNAD's external memory (Park et al., CVPR 2020, section 3.2), vectorised: no loop over items or samples.

Items are state that is passed in, never a parameter. Each sample brings its own bank, so one batch may mix cameras that
read different banks or versions. Everything (read, update, losses, distance) comes from one similarity computation.

Dimensions: B samples, N places (height x width of the query map), M items, C channels.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Maximum = Literal["all", "assigned"]
"""Update weights are relative to the largest similarity of all queries, or of those assigned to the item."""
UpdateOver = Literal["batch", "frame"]
"""... of the whole batch, or of each frame by itself."""

SEPARATENESS_MARGIN = 1.0
SEPARATENESS_EPS = 1e-6
MIN_LENGTH = 1e-12


@dataclass(frozen=True, slots=True)
class ItemStatistics:
    """Per sample, what an update needs of its queries; the torch side of ``memory_store.proposal.ItemSums``.

    Attributes:
        running_max_BM: largest similarity to each item, of any query or of those nearest to it; hugely negative where
            there was none.
        sums_BMC: over the queries nearest to each item, sum of exp(similarity - running_max) * query.
        counts_BM: how many queries were nearest to each item.
    """

    running_max_BM: Tensor
    sums_BMC: Tensor
    counts_BM: Tensor


@dataclass(frozen=True, slots=True)
class Reading:
    """Queries held against banks, or against prototypes made from themselves (``networks.mpn``).

    Attributes:
        queries_BCN: unit length per place (zero where the encoder gave zero).
        items_BMC: one bank per sample; a bank carries no gradient, prototypes do.
        similarity_BMN: s = p . q, in [-1, 1] for unit items; carries a gradient where the items do.
        nearest_BN: index of the most similar item.
    """

    queries_BCN: Tensor
    items_BMC: Tensor
    similarity_BMN: Tensor
    nearest_BN: Tensor

    def values(self, temperature: float = 1.0) -> Tensor:
        """Items mixed per place, (B, C, N), by the softmax over items of s / temperature (eq. 2-3).

        Of a bank, weights and items are constants, as in the published code: the encoder learns through queries only.
        """
        return self._mixed(torch.softmax(self.similarity_BMN / temperature, dim=1))

    def nearest_items(self) -> Tensor:
        """The nearest item of each place, (B, C, N)."""
        return self._picked(self.nearest_BN)

    def distance_map(self) -> Tensor:
        """Per place, (B, N): mean over channels of (query - nearest item)^2; >= 0, high = irregular."""
        return (self.queries_BCN - self.nearest_items()).square().mean(dim=1)

    def distance(self) -> Tensor:
        """Feature distance, (B,): mean over places and channels of (query - nearest item)^2."""
        return (self.queries_BCN - self.nearest_items()).square().mean(dim=(1, 2))

    def compactness(self) -> Tensor:
        """Compactness loss (eq. 8, mean instead of sum): batch mean of ``distance``; pulls queries to their item."""
        return self.distance().mean()

    def separateness(self) -> Tensor:
        """Separateness loss (eq. 9): triplet margin 1 between the nearest and the second nearest item; needs M >= 2."""
        first_BN = self.nearest_BN.unsqueeze(1)
        second_BN = self.similarity_BMN.scatter(1, first_BN, -torch.inf).argmax(dim=1)
        near_BN = self._distance_to(self.nearest_items())
        far_BN = self._distance_to(self._picked(second_BN))
        return F.relu(near_BN - far_BN + SEPARATENESS_MARGIN).mean()

    @torch.no_grad()
    def statistics(self, maximum: Maximum = "all") -> ItemStatistics:
        """What each sample contributes to an update (eq. 4-6).

        Args:
            maximum: the weight of a query is relative to the largest similarity of "all" queries, as in the published
                code, or of those "assigned" to the item, as in the paper.
        """
        chosen_BMN = self._one_hot(self.nearest_BN)
        compared_BMN = self.similarity_BMN
        if maximum == "assigned":
            compared_BMN = compared_BMN.masked_fill(chosen_BMN == 0, torch.finfo(compared_BMN.dtype).min)
        running_max_BM = compared_BMN.amax(dim=2)
        # of what was compared: relative to the finite "never" of an item nobody chose, a similarity would be infinite
        weights_BMN = torch.exp(compared_BMN - running_max_BM.unsqueeze(2)) * chosen_BMN
        return ItemStatistics(running_max_BM, weights_BMN @ self.queries_BCN.detach().mT, chosen_BMN.sum(dim=2))

    def _one_hot(self, index_BN: Tensor) -> Tensor:
        return torch.zeros_like(self.similarity_BMN).scatter_(1, index_BN.unsqueeze(1), 1.0)

    def _picked(self, index_BN: Tensor) -> Tensor:
        return self._mixed(self._one_hot(index_BN))

    def _mixed(self, weights_BMN: Tensor) -> Tensor:
        with full_precision(self.items_BMC):
            return self.items_BMC.mT @ weights_BMN

    def _distance_to(self, items_BCN: Tensor) -> Tensor:
        distance_BN: Tensor = torch.linalg.vector_norm(self.queries_BCN - items_BCN + SEPARATENESS_EPS, dim=1)
        return distance_BN


def hold_against(queries_BCHW: Tensor, items: Tensor) -> Reading:
    """Normalise queries per place and compare them with all items.

    Args:
        queries_BCHW: the encoder's map, any length.
        items: banks (B, M, C), or one bank (M, C) for all samples.
    """
    with full_precision(items):
        queries_BCN = F.normalize(queries_BCHW.to(items.dtype), dim=1, eps=MIN_LENGTH).flatten(2)
        items_BMC = items.detach().expand(queries_BCN.shape[0], *items.shape[-2:])
        similarity_BMN = items_BMC @ queries_BCN.detach()
    return Reading(queries_BCN, items_BMC, similarity_BMN, similarity_BMN.argmax(dim=1))


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """Switches autocast off where it is on: similarities of unit vectors differ by less than bfloat16 can tell."""
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def updated(items_MC: Tensor, statistics: ItemStatistics, over: UpdateOver = "batch", momentum: float = 0.0) -> Tensor:
    """New items from a whole batch held against one bank: normalise(items + sums).

    Args:
        items_MC: the bank that was read.
        statistics: of all samples.
        over: "batch" merges the samples' pairs into the batch's, with one maximum over all of them, as the published
            code does; "frame" adds them up, each relative to its own maximum.
        momentum: share of the old items to keep, in [0, 1); 0 as published.
    """
    running_max_BM = statistics.running_max_BM
    scale_BM = torch.ones_like(running_max_BM)
    if over == "batch":
        scale_BM = torch.exp(running_max_BM - running_max_BM.amax(dim=0))
    new_MC = F.normalize(items_MC + torch.einsum("bm,bmc->mc", scale_BM, statistics.sums_BMC), dim=1, eps=MIN_LENGTH)
    return F.normalize(torch.lerp(new_MC, items_MC, momentum), dim=1, eps=MIN_LENGTH) if momentum else new_MC


def initial_items(num_items: int, item_dim: int, generator: torch.Generator | None = None) -> Tensor:
    """Items before training: rows uniform in [0, 1], then unit length, (M, C) float32."""
    return F.normalize(torch.rand(num_items, item_dim, generator=generator), dim=1)
