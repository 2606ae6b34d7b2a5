"""The network in torch: any device, no export needed.

Dimensions: B clips, T frames, H x W pixels, K colours, M items, C channels.
"""

import copy
from collections.abc import Mapping

import numpy as np
import torch

from networks.blocks import fold_batch_norm, to_channels_last
from networks.measurement import OUTPUTS, Measurement
from networks.network import VideoNetwork
from schemas.arrays import Float32, UInt8
from schemas.errors import FatalError


class TorchBackend:
    """A copy of a network on a torch device: evaluation mode, batch norm folded, channels last.

    Args:
        network: is copied, not changed.
        device: where it runs.
        threads: of torch, for the whole process; None = torch's choice.
    """

    def __init__(self, network: VideoNetwork, device: torch.device, threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        folded = copy.deepcopy(network).eval()
        fold_batch_norm(folded)
        self._device = device
        to_channels_last(folded.to(device))
        self._measurement = Measurement(folded)
        # The first parallel tanh of a process may run in a low-accuracy mode (errors up to 1e-4): spend it here.
        torch.tanh(torch.zeros(100_000, device=device))

    @torch.inference_mode()
    def __call__(self, clips_BTHWK: UInt8, items_BMC: Float32) -> Mapping[str, Float32]:
        """See ``Backend``. One transfer each way: all results travel as one array."""
        items = torch.from_numpy(np.array(items_BMC)).to(self._device)
        measured = self._measurement(torch.from_numpy(clips_BTHWK).to(self._device), items)
        parts = [part for part in measured if part is not None]
        packed = torch.cat([part.reshape(len(clips_BTHWK), -1) for part in parts], dim=1).cpu().numpy()
        ends = np.cumsum([part[0].numel() for part in parts])[:-1]
        columns = zip(OUTPUTS, np.split(packed, ends, axis=1), parts, strict=False)  # the last ones may be absent
        return {name: values.reshape(part.shape) for name, values, part in columns}


def torch_device(name: str) -> torch.device:
    """A torch device that is there; "auto" is CUDA when there is one, else the CPU.

    Raises:
        FatalError: this machine, or this build of torch, has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    seen = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    found = seen.get(device.type, 1)
    if (device.index or 0) >= found:
        why = f"torch {torch.__version__} sees {found} here"
        raise FatalError(f"worker.device '{name}' must be a GPU that is there, {why}; set it to auto or cpu")
    return device
