"""MNAD's training loss (Park et al., CVPR 2020, eq. 7): pixel error + compactness + separateness."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from networks.mnad import Prediction


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weights of the auxiliary losses; 0.1 each for prediction."""

    compactness: float = 0.1
    separateness: float = 0.1


@dataclass(frozen=True, slots=True)
class Losses:
    """Scalars of one training step; ``total`` is what is minimised."""

    pixel: Tensor
    compactness: Tensor
    separateness: Tensor
    total: Tensor


def training_losses(prediction: Prediction, target_BKHW: Tensor, weights: LossWeights) -> Losses:
    """All losses against the bank as it was read, before this step's update.

    Args:
        prediction: of the network in training mode.
        target_BKHW: the frame to predict, in [-1, 1].
        weights: of the auxiliary losses.
    """
    pixel = F.mse_loss(prediction.image_BKHW, target_BKHW)
    compactness, separateness = prediction.reading.compactness(), prediction.reading.separateness()
    total = pixel + weights.compactness * compactness + weights.separateness * separateness
    return Losses(pixel, compactness, separateness, total)
