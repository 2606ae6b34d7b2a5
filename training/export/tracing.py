"""The network and its measures as one graph of tensors, for batches of any size.

Dimensions: B clips, T frames, H x W pixels, K colours, M items, C channels.
"""

import copy

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from inference.formats import FrameFormat
from networks.blocks import fold_batch_norm
from networks.measurement import Measurement
from networks.network import VideoNetwork

INPUTS = ("clips", "items")
MOST_CLIPS = 1024
TRACED_CLIPS = 2
"""With one, its batch would be taken for a constant."""


class Present(nn.Module):
    """A measurement less the outputs that its network has not."""

    def __init__(self, measurement: Measurement) -> None:
        super().__init__()
        self.measurement = measurement

    def forward(self, clips: Tensor, items: Tensor | None = None) -> tuple[Tensor, ...]:
        """See ``Measurement``."""
        return tuple(part for part in self.measurement(clips, items) if part is not None)


def traced(network: VideoNetwork, frame: FrameFormat) -> ExportedProgram:
    """The graph from uint8 clips (B, T, H, W, K) and, where it has them, banks (B, M, C) to named ``OUTPUTS``.

    Args:
        network: is copied, not changed.
        frame: size and channels, which are fixed; the batch is not.
    """
    folded = copy.deepcopy(network).cpu().eval()
    fold_batch_norm(folded)
    shape = (TRACED_CLIPS, network.shape.clip_length, frame.height, frame.width, frame.channels)
    given = [torch.zeros(shape, dtype=torch.uint8)]
    if network.bank_shape:
        given.append(torch.ones(TRACED_CLIPS, network.bank_shape.num_items, network.bank_shape.item_dim))
    batch = Dim("batch", min=1, max=MOST_CLIPS)
    dynamic = dict(zip(INPUTS, ({0: batch} for _ in given), strict=False))
    with torch.no_grad():
        return torch.export.export(Present(Measurement(folded)), tuple(given), dynamic_shapes=dynamic)
