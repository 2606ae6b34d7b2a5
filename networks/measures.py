"""How far a predicted frame is from the true one. All per sample; on images taken from [-1, 1] to [0, 1] unless said.

Dimensions: B samples, K colours, T frames, H x W pixels, R x S cells.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_ERROR = 1e-10
"""Caps the PSNR of a perfect prediction at 100 dB."""
CELL_PX = 4


def squared_error(predicted_BKHW: Tensor, true_BKHW: Tensor) -> Tensor:
    """Per value, in [0, 1]: ((a - b) / 2)^2 for a, b in [-1, 1]."""
    return ((predicted_BKHW - true_BKHW) / 2).square()


def psnr_db(error_BKHW: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, (B,), high = well predicted; the peak is 1, at most 100 dB."""
    return -10.0 * torch.log10(error_BKHW.mean(dim=(1, 2, 3)).clamp_min(MIN_ERROR))


def regular_score(error_BKHW: Tensor) -> Tensor:
    """MNAD's weighted error (eq. 11), (B,), >= 0, high = irregular: sum(w e) / sum(w), w = 1 - exp(-e)."""
    weights_BKHW = -torch.expm1(-error_BKHW)
    weighted_B = (weights_BKHW * error_BKHW).sum(dim=(1, 2, 3))
    return weighted_B / weights_BKHW.sum(dim=(1, 2, 3)).clamp_min(MIN_ERROR)


def cell_errors(error_BKHW: Tensor) -> Tensor:
    """Mean squared error of square cells of ``CELL_PX``, (B, R, S), in [0, 1]; rows top to bottom.

    Fine enough that patches of any size are means of cells.
    """
    return F.avg_pool2d(error_BKHW.mean(dim=1, keepdim=True), CELL_PX).squeeze(1)


def clip_error(rebuilt_BKTHW: Tensor, true_BKTHW: Tensor) -> Tensor:
    """MemAE's error of a clip, (B,), >= 0: mean over frames and pixels of the length of the colour difference.

    On values in [-1, 1]; of grey clips it is the mean absolute error.
    """
    length_BTHW: Tensor = torch.linalg.vector_norm(rebuilt_BKTHW - true_BKTHW, dim=1)
    return length_BTHW.mean(dim=(1, 2, 3))
