"""The network at work: 8-bit clips in, measures and update statistics out, one transfer each way.

Dimensions: B clips, T frames, H x W pixels, K colours, M items, C channels, R x S patches.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bundles.bundle import Bundle
from memory_store.proposal import ItemSums
from networks.blocks import fold_batch_norm
from networks.measures import patch_errors, psnr_db, regular_score, squared_error, worst_patch
from networks.mnad import MnadPrediction, split_clip, to_unit_range
from networks.registry import build_network
from schemas.errors import BundleError, FatalError
from workers.decode import FrameFormat
from workers.scoring import FrameMeasures

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

NOT_STORED = "num_batches_tracked"
"""Batch norm's step counter: of no use once trained."""


@dataclass(frozen=True, slots=True, eq=False)
class ClipResult:
    """What the network measured on the last frame of one clip.

    Attributes:
        measures: for the score.
        patch_errors_RK: mean squared error on [0, 1] images of overlapping patches, rows x columns.
        sums: what the frame would contribute to an update of the bank it was held against.
        finite: whether every number is; if not, the result means nothing and must be refused.
    """

    measures: FrameMeasures
    patch_errors_RK: Float32
    sums: ItemSums
    finite: bool


class Predictor:
    """A network in evaluation mode on one device, batch norm folded, channels last.

    Args:
        network: is copied, not changed.
        frame: what clips are made of.
        device: "auto" (CUDA when there is one) or a torch device name.
        threads: of torch, for the whole process; None = torch's choice.

    Raises:
        FatalError: the network cannot take frames of this size.
    """

    def __init__(
        self, network: MnadPrediction, frame: FrameFormat, device: str = "auto", threads: int | None = None
    ) -> None:
        multiple = network.parameters_of_shape.size_multiple
        if frame.width % multiple or frame.height % multiple:
            text = f"width and height must be multiples of {multiple}, got {frame.width} x {frame.height}"
            raise FatalError(f"{text}; train with another size or less depth")
        if threads is not None:
            torch.set_num_threads(threads)
        self.frame_format = frame
        self.clip_length = network.parameters_of_shape.clip_length
        self._shape = network.parameters_of_shape
        self._device = _device(device)
        self._network = copy.deepcopy(network).eval()
        fold_batch_norm(self._network)
        self._network.to(self._device).to(memory_format=torch.channels_last)
        # The first parallel tanh of a process may run in a low-accuracy mode (errors up to 1e-4): spend it here.
        torch.tanh(torch.zeros(100_000, device=self._device))

    def infer(self, clips: Sequence[UInt8], items_BMC: Float32) -> list[ClipResult]:
        """Measure the last frame of each clip; the result does not depend on what else is in the batch.

        Args:
            clips: each (T, H, W, K) uint8 at model size, oldest frame first.
            items_BMC: the bank to hold each clip against.

        Raises:
            FatalError: a shape does not fit the network.
        """
        if not clips:
            return []
        clips_BTHWK = np.stack(clips)
        self._check(clips_BTHWK, items_BMC)
        with torch.inference_mode():
            packed, grid = self._measure(torch.from_numpy(clips_BTHWK), torch.from_numpy(np.array(items_BMC)))
        return [self._unpacked(row, grid) for row in packed.cpu().numpy()]

    def _measure(self, clips_BTHWK: Tensor, items_BMC: Tensor) -> tuple[Tensor, torch.Size]:
        clips = to_unit_range(clips_BTHWK.to(self._device).permute(0, 1, 4, 2, 3))
        inputs, target = split_clip(clips)
        prediction = self._network(inputs.contiguous(memory_format=torch.channels_last), items_BMC.to(self._device))
        error = squared_error(prediction.image_BKHW, target)
        patches = patch_errors(error)
        statistics = prediction.reading.statistics()
        measures = (psnr_db(error), prediction.reading.distance(), regular_score(error), worst_patch(patches))
        parts = (patches, statistics.running_max_BM, statistics.counts_BM, statistics.sums_BMC)
        return torch.cat([torch.stack(measures, dim=1), *(part.flatten(1) for part in parts)], dim=1), patches.shape[1:]

    def _unpacked(self, row: Float32, grid: torch.Size) -> ClipResult:
        M, C = self._shape.num_items, self._shape.item_dim
        measures, patches, running_max_M, counts_M, sums = np.split(row, np.cumsum([4, grid.numel(), M, M]))
        return ClipResult(
            FrameMeasures(*measures.tolist()),
            patches.reshape(grid),
            ItemSums(running_max_M, sums.reshape(M, C), counts_M),
            bool(np.isfinite(row).all()),
        )

    def _check(self, clips_BTHWK: UInt8, items_BMC: Float32) -> None:
        frame = self.frame_format
        wanted = (self.clip_length, frame.height, frame.width, frame.channels)
        if clips_BTHWK.shape[1:] != wanted or clips_BTHWK.dtype != np.uint8:
            got = f"{clips_BTHWK.dtype} {clips_BTHWK.shape[1:]}"
            raise FatalError(f"a clip must be uint8 of shape {wanted}, got {got}; decode frames to the bundle's size")
        bank = (len(clips_BTHWK), self._shape.num_items, self._shape.item_dim)
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
        super().__init__(network_of(bundle), frame, device, threads)
        self.bundle = bundle


def network_of(bundle: Bundle) -> MnadPrediction:
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


def weights_of(network: MnadPrediction) -> dict[str, Float32]:
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
