"""What a network makes of a few clips, as pictures.

Dimensions: B clips, T frames, H x W pixels, K colours.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inference.formats import ClipFormat
from networks.measures import squared_error
from networks.network import VideoNetwork
from schemas.arrays import Float32, Int64, UInt8
from training.footage.dataset import FrameCache
from training.loop.stepping import unit_clips

NUM_SAMPLES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One clip.

    Attributes:
        newest_input_HWK: the newest frame that the network saw.
        target_HWK: the frame it was to make.
        made_HWK: the frame it made.
        error_HW: mean over colours of the squared error on [0, 1].
        frame: index of the target in the cache.
    """

    newest_input_HWK: UInt8
    target_HWK: UInt8
    made_HWK: UInt8
    error_HW: Float32
    frame: int


@torch.no_grad()
def sample_predictions(
    network: VideoNetwork, items_MC: Float32, footage: FrameCache, starts: Int64, clip: ClipFormat
) -> list[Sample]:
    """What the network makes of some of the clips that begin at ``starts``, evenly spaced."""
    network = network.eval().cpu()
    chosen = starts[np.linspace(0, len(starts) - 1, min(len(starts), NUM_SAMPLES)).round().astype(int)]
    bank = torch.from_numpy(items_MC) if items_MC.size else None
    return [_sample(network, bank, footage, int(start), clip) for start in chosen]


def _sample(network: VideoNetwork, bank: Tensor | None, footage: FrameCache, start: int, clip: ClipFormat) -> Sample:
    clips_BTHWK = torch.from_numpy(footage.clips(np.array([start]), clip.length, clip.stride))
    inputs, target = network.split(unit_clips(clips_BTHWK, network))
    made = network(inputs, bank).image
    rebuilds = torch.equal(inputs, target)
    index = clip.length - 1
    if target.dim() == 5:  # of a whole clip, the frame that the paper scores
        index = min(index, network.paper_test.frame)
        made, target = made[:, :, index], target[:, :, index]
    return Sample(
        clips_BTHWK[0, index if rebuilds else index - 1].numpy(),
        _picture(target),
        _picture(made),
        squared_error(made, target)[0].mean(dim=0).numpy(),
        start + index * clip.stride,
    )


def _picture(image_BKHW: Tensor) -> UInt8:
    levels = (image_BKHW[0].permute(1, 2, 0).clamp(-1, 1) + 1) * 127.5
    return np.asarray(levels.round().to(torch.uint8).numpy())
