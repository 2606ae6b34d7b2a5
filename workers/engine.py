"""The network at work: 8-bit clips in, measures and update statistics out.

Dimensions: B clips, T frames, H x W pixels, K colours, M items, C channels, R x S places.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bundles.bundle import Bundle
from memory_store.proposal import ItemSums
from networks.blocks import fold_batch_norm, to_channels_last
from networks.measurement import Measurement
from networks.network import VideoNetwork
from networks.registry import NOT_STORED, build_network
from schemas.errors import BundleError, FatalError
from workers.decode import FrameFormat
from workers.motion import cell_speeds
from workers.windows import ClipFormat

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]
Backend = Callable[[UInt8, Float32], Sequence[Float32]]
"""Clips (B, T, H, W, K) and banks (B, M, C) to the arrays of ``networks.measurement.Measured``, those that exist."""


@dataclass(frozen=True, slots=True, eq=False)
class ClipResult:
    """What was measured on one clip; all but ``clip_error`` on its newest frame. See ``networks.measurement``.

    Attributes:
        psnr_db: high = normal.
        regular_score: high = irregular.
        clip_error: of all frames, for MemAE's paper protocol.
        cell_errors_RS: mean squared error of small cells, on [0, 1] images.
        cell_speeds_RS: how fast the same cells move, in pixels per frame of the clip; 0 where a clip is one frame.
        feature_map_RS: distance of features from what is remembered.
        sums: what the frame would contribute to an update of the bank it was held against.
        finite: whether every number is; if not, the result means nothing and must be refused.
    """

    psnr_db: float
    regular_score: float
    clip_error: float
    cell_errors_RS: Float32
    cell_speeds_RS: Float32
    feature_map_RS: Float32
    sums: ItemSums
    finite: bool


class TorchBackend:
    """A copy of a network on a torch device: evaluation mode, batch norm folded, channels last."""

    def __init__(self, network: VideoNetwork, device: torch.device) -> None:
        folded = copy.deepcopy(network).eval()
        fold_batch_norm(folded)
        self._device = device
        to_channels_last(folded.to(device))
        self._measurement = Measurement(folded)
        # The first parallel tanh of a process may run in a low-accuracy mode (errors up to 1e-4): spend it here.
        torch.tanh(torch.zeros(100_000, device=device))

    @torch.inference_mode()
    def __call__(self, clips_BTHWK: UInt8, items_BMC: Float32) -> Sequence[Float32]:
        """See ``Backend``. One transfer each way: all results travel as one array."""
        items = torch.from_numpy(np.array(items_BMC)).to(self._device)
        measured = self._measurement(torch.from_numpy(clips_BTHWK).to(self._device), items)
        parts = [part for part in measured if part is not None]
        packed = torch.cat([part.reshape(len(clips_BTHWK), -1) for part in parts], dim=1).cpu().numpy()
        ends = np.cumsum([part[0].numel() for part in parts])[:-1]
        return [
            columns.reshape(part.shape) for columns, part in zip(np.split(packed, ends, axis=1), parts, strict=True)
        ]


class Predictor:
    """A network ready to measure clips.

    Args:
        network: is copied, not changed.
        frame: what clips are made of.
        device: "auto" (CUDA when there is one) or a torch device name.
        threads: of torch, for the whole process; None = torch's choice.
        frame_stride: a clip takes every n-th frame.

    Raises:
        FatalError: the network cannot take frames of this size.
    """

    def __init__(
        self,
        network: VideoNetwork,
        frame: FrameFormat,
        device: str = "auto",
        threads: int | None = None,
        frame_stride: int = 1,
    ) -> None:
        multiple = network.shape.size_multiple
        if frame.width % multiple or frame.height % multiple:
            text = f"width and height must be multiples of {multiple}, got {frame.width} x {frame.height}"
            raise FatalError(f"{text}; train with another size or less depth")
        if threads is not None:
            torch.set_num_threads(threads)
        self.frame_format = frame
        self.clip_format = ClipFormat(network.shape.clip_length, frame_stride)
        bank = network.bank_shape
        self._bank_shape = (bank.num_items, bank.item_dim) if bank else (0, 0)
        self._backend: Backend = TorchBackend(network, _device(device))

    def infer(self, clips: Sequence[UInt8], items_BMC: Float32) -> list[ClipResult]:
        """Measure each clip; the result does not depend on what else is in the batch.

        Args:
            clips: each (T, H, W, K) uint8 at model size, oldest frame first.
            items_BMC: the bank to hold each clip against; (B, 0, 0) for a network without one.

        Raises:
            FatalError: a shape does not fit the network.
        """
        if not clips:
            return []
        clips_BTHWK = np.stack(clips)
        self._check(clips_BTHWK, items_BMC)
        arrays = self._backend(clips_BTHWK, items_BMC)
        return [self._result(clip, [array[n] for array in arrays]) for n, clip in enumerate(clips)]

    def _result(self, clip_THWK: UInt8, parts: Sequence[Float32]) -> ClipResult:
        psnr_db, regular_score, clip_error, cell_errors_RS, feature_map_RS, *update = parts
        if update:
            running_max_M, counts_M, sums_MC = update
            sums = ItemSums(running_max_M, sums_MC, counts_M)
        else:
            sums = ItemSums.empty(*self._bank_shape)
        speeds_RS = cell_speeds(*clip_THWK[-2:]) if len(clip_THWK) > 1 else np.zeros_like(cell_errors_RS)
        finite = all(bool(np.isfinite(part).all()) for part in parts)
        return ClipResult(
            float(psnr_db),
            float(regular_score),
            float(clip_error),
            cell_errors_RS,
            speeds_RS,
            feature_map_RS,
            sums,
            finite,
        )

    def _check(self, clips_BTHWK: UInt8, items_BMC: Float32) -> None:
        frame = self.frame_format
        wanted = (self.clip_format.length, frame.height, frame.width, frame.channels)
        if clips_BTHWK.shape[1:] != wanted or clips_BTHWK.dtype != np.uint8:
            got = f"{clips_BTHWK.dtype} {clips_BTHWK.shape[1:]}"
            raise FatalError(f"a clip must be uint8 of shape {wanted}, got {got}; decode frames to the bundle's size")
        bank = (len(clips_BTHWK), *self._bank_shape)
        if items_BMC.shape != bank:
            text = f"items must have shape {bank}, got {items_BMC.shape}"
            raise FatalError(f"{text}; the bank belongs to another bundle: point to the right one")


class Engine(Predictor):
    """The network of a bundle, ready for a worker.

    Args:
        bundle: weights and shapes.
        device, threads: as for ``Predictor``.

    Raises:
        BundleError: the weights do not fit the network that the manifest describes.
    """

    def __init__(self, bundle: Bundle, device: str = "auto", threads: int | None = None) -> None:
        manifest = bundle.manifest
        frame = FrameFormat(manifest.width, manifest.height, manifest.channels)
        super().__init__(network_of(bundle), frame, device, threads, manifest.frame_stride)
        self.bundle = bundle


def network_of(bundle: Bundle) -> VideoNetwork:
    """The network with the bundle's weights, in evaluation mode.

    Raises:
        BundleError: unknown network, or weights that do not fit it.
    """
    manifest = bundle.manifest
    try:
        network = build_network(manifest.model, manifest.parameters)
        weights = {name: torch.from_numpy(values) for name, values in bundle.weights.items()}
        missing, unexpected = network.load_state_dict(weights, strict=False)
    except (ValueError, TypeError, RuntimeError) as error:
        raise BundleError(f"bundle {bundle.digest[:12]}: {error}; train it again with this version") from error
    wrong = [name for name in missing if not name.endswith(NOT_STORED)] + unexpected
    if wrong:
        text = f"bundle {bundle.digest[:12]} must have exactly the weights of {manifest.model}, differs in {wrong[:3]}"
        raise BundleError(f"{text}; train it again with this version")
    return network.eval()


def weights_of(network: VideoNetwork) -> dict[str, Float32]:
    """What a bundle stores of a network."""
    state = network.state_dict()
    return {
        name: values.detach().cpu().contiguous().numpy()
        for name, values in state.items()
        if not name.endswith(NOT_STORED)
    }


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
