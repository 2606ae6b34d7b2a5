"""A network and everything that is measured on what it makes, as one graph from 8-bit clips to numbers.

Workers run this graph and exports hold it, so that every backend measures the same.

Dimensions: B clips, T frames, H x W pixels, K colours, M items, C channels, R x S places.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from networks.measures import cell_errors, clip_error, psnr_db, regular_score, squared_error
from networks.network import Outcome, VideoNetwork, to_unit_range


class Measured(NamedTuple):
    """What is measured on each clip, in the order in which exports return it.

    Attributes:
        psnr_db_B: of the newest frame, high = normal.
        regular_score_B: of the newest frame, high = irregular.
        clip_error_B: mean length of the colour difference over all that the network made, on [-1, 1] values.
        feature_distance_B: mean distance of features from what is remembered.
        cell_errors_BRS: mean squared error of small cells of the newest frame, on [0, 1] values.
        running_max_BM, sums_BMC, counts_BM: what each clip contributes to an update; None without a bank.
    """

    psnr_db_B: Tensor
    regular_score_B: Tensor
    clip_error_B: Tensor
    feature_distance_B: Tensor
    cell_errors_BRS: Tensor
    running_max_BM: Tensor | None
    sums_BMC: Tensor | None
    counts_BM: Tensor | None


OUTPUTS = tuple(name.rpartition("_")[0] for name in Measured._fields)
"""Names of what backends give: those of ``Measured`` without their dimensions, the last three where there is a bank."""
NUM_MEASURES = 5
"""How many of them scores are made of; the others teach the memory."""


class Measurement(nn.Module):
    """Runs ``network`` in evaluation mode and measures; has no parameters of its own."""

    def __init__(self, network: VideoNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, clips_BTHWK: Tensor, items_BMC: Tensor | None = None) -> Measured:
        """Measure clips of uint8 pixels, oldest frame first, each against its own bank (None: it needs none)."""
        clips = to_unit_range(clips_BTHWK.permute(0, 1, 4, 2, 3))
        inputs, target = self.network.split(clips)
        layout = torch.channels_last if inputs.ndim == 4 else torch.channels_last_3d
        outcome: Outcome = self.network(inputs.contiguous(memory_format=layout), items_BMC)
        image, target = _as_clip(outcome.image), _as_clip(target)
        error_BKHW = squared_error(image[:, :, -1], target[:, :, -1])
        statistics = outcome.statistics()
        return Measured(
            psnr_db(error_BKHW),
            regular_score(error_BKHW),
            clip_error(image, target),
            outcome.feature_distance(),
            cell_errors(error_BKHW),
            *((statistics.running_max_BM, statistics.sums_BMC, statistics.counts_BM) if statistics else (None,) * 3),
        )


def _as_clip(images: Tensor) -> Tensor:
    """A frame (B, K, H, W) as a clip of one frame (B, K, 1, H, W); a clip as it is."""
    return images.unsqueeze(2) if images.ndim == 4 else images
