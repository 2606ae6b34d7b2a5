"""The network at work: 8-bit clips in, measures and update statistics out.

Dimensions: B clips, T frames, H x W pixels, K colours, M items, C channels, R x S places.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch

from bundles.bundle import Bundle
from inference.backends.backend import Backend
from inference.backends.choose import TORCH, Choice, open_backend
from inference.backends.torch import TorchBackend, torch_device
from inference.formats import ClipFormat, FrameFormat
from inference.motion import newest_speeds, no_speeds
from inference.scoring import speed_of
from inference.steadiness import UNCHANGED, Change, Steadied, as_it_is, steadier
from memory_store.normality import PLACE_CELLS
from memory_store.proposal import ItemSums
from networks.measures import CELL_PX
from networks.network import VideoNetwork
from networks.registry import NOT_STORED, build_network
from schemas.arrays import Float32, UInt8
from schemas.errors import BundleError, FatalError

PLACE_PX = PLACE_CELLS * CELL_PX
MOTION_THREADS = 4
"""Optical flow takes milliseconds of one core a frame, and runs outside Python's lock."""


@dataclass(frozen=True, slots=True, eq=False)
class ClipResult:
    """What was measured on one clip; all but ``clip_error`` on its newest frame. See ``networks.measurement``.

    Attributes:
        psnr_db: high = normal.
        regular_score: high = irregular.
        clip_error: of all frames, for MemAE's paper protocol.
        cell_errors_RS: mean squared error of small cells, on [0, 1] images.
        cell_speeds_RS: how fast the same cells move, in pixels per frame of the clip; 0 where a clip is one frame, and
            where the calibration ignores speeds.
        place_grey_PQ: mean level of places, [0, 255], see ``memory_store.normality``.
        feature_distance: of features from what is remembered, mean over places.
        sums: what the frame would contribute to an update of the bank it was held against.
        finite: whether every number is; if not, the result means nothing and must be refused.
        change: of the whole picture since the frame before; it was taken out before all but it and the greys were
            measured.
    """

    psnr_db: float
    regular_score: float
    clip_error: float
    feature_distance: float
    cell_errors_RS: Float32
    cell_speeds_RS: Float32
    place_grey_PQ: Float32
    sums: ItemSums
    finite: bool
    change: Change = UNCHANGED


class Predictor:
    """A network ready to measure clips.

    Args:
        network: is copied, not changed.
        frame: what clips are made of.
        device: "auto" (CUDA when there is one) or a torch device name.
        threads: of the inference library; None = its own choice.
        frame_stride: a clip takes every n-th frame.
        backend: what computes the network; None = torch on the device.
        motion: speeds of the cells of a clip's newest frame.
        steady: what is done about what happened to the whole picture of a clip; ``steadied`` takes it out.

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
        backend: Backend | None = None,
        motion: Callable[[UInt8], Float32] = newest_speeds,
        steady: Callable[[UInt8], Steadied] = as_it_is,
    ) -> None:
        multiple = network.shape.size_multiple
        if frame.width % multiple or frame.height % multiple:
            text = f"width and height must be multiples of {multiple}, got {frame.width} x {frame.height}"
            raise FatalError(f"{text}; train with another size or less depth")
        self.frame_format = frame
        self.clip_format = ClipFormat(network.shape.clip_length, frame_stride)
        bank = network.bank_shape
        self._bank_shape = (bank.num_items, bank.item_dim) if bank else (0, 0)
        self._backend = backend or TorchBackend(network, torch_device(device), threads)
        self._motion = motion
        self._steady = steady
        self._motion_threads = ThreadPoolExecutor(MOTION_THREADS, thread_name_prefix="motion")

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
        self._check(clips, items_BMC)
        steady = list(self._motion_threads.map(self._steady, clips))
        clips_BTHWK = np.stack([each.clip_THWK for each in steady])
        speeds = self._motion_threads.map(self._motion, clips_BTHWK)  # in threads, while the network computes
        measured = self._backend(clips_BTHWK, items_BMC)
        rows = ({name: values[n] for name, values in measured.items()} for n in range(len(clips)))
        grey_BPQ = place_greys(clips_BTHWK[:, -1])
        return [self._result(*parts) for parts in zip(steady, speeds, grey_BPQ, rows, strict=True)]

    def _result(
        self, steady: Steadied, speeds_RS: Float32, grey_PQ: Float32, measured: Mapping[str, Float32]
    ) -> ClipResult:
        """One clip's share of what the backend gave."""
        sums = ItemSums.empty(*self._bank_shape)
        if sums.counts_M.size:
            sums = ItemSums(measured["running_max"], measured["sums"], measured["counts"])
        return ClipResult(
            psnr_db=float(measured["psnr_db"]),
            regular_score=float(measured["regular_score"]),
            clip_error=float(measured["clip_error"]),
            feature_distance=float(measured["feature_distance"]),
            cell_errors_RS=measured["cell_errors"],
            cell_speeds_RS=speeds_RS,
            place_grey_PQ=grey_PQ,
            sums=sums,
            finite=all(bool(np.isfinite(values).all()) for values in measured.values()),
            change=steady.newest,
        )

    def _check(self, clips: Sequence[UInt8], items_BMC: Float32) -> None:
        frame = self.frame_format
        wanted = (self.clip_format.length, frame.height, frame.width, frame.channels)
        wrong = [clip for clip in clips if clip.shape != wanted or clip.dtype != np.uint8]
        if wrong:
            got = f"{wrong[0].dtype} {wrong[0].shape}"
            raise FatalError(f"a clip must be uint8 of shape {wanted}, got {got}; decode frames to the bundle's size")
        bank = (len(clips), *self._bank_shape)
        if items_BMC.shape != bank:
            text = f"items must have shape {bank}, got {items_BMC.shape}"
            raise FatalError(f"{text}; the bank belongs to another bundle: point to the right one")


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """What a worker measures with and judges by.

    Attributes:
        predictor: of the bundle's network, on its device and backend.
        bundle: with the calibration of the backend, where the backend has its own.
        backend: name of what computes the network.
    """

    predictor: Predictor
    bundle: Bundle
    backend: str = TORCH.name


def engine_of(bundle: Bundle, device: str = "auto", threads: int | None = None, choice: Choice = TORCH) -> Engine:
    """The network of a bundle, ready for a worker.

    Args:
        bundle: weights and shapes.
        device: "auto" (CUDA when there is one) or a torch device name.
        threads: of the inference library; None = its own choice.
        choice: the backend.

    Raises:
        BundleError: the weights do not fit the network that the manifest describes.
        FatalError: the network cannot take frames of the bundle's size, or there is no such device.
    """
    if choice.export and choice.export.calibration:
        bundle = replace(bundle, calibration=choice.export.calibration)
    manifest, network = bundle.manifest, network_of(bundle)
    frame = FrameFormat(manifest.width, manifest.height, manifest.channels)
    backend = open_backend(choice, network, torch_device(device), threads)
    motion = no_speeds if speed_of(bundle.calibration) == "ignored" else newest_speeds
    steady = steadier(bundle.calibration.memory is not None)
    predictor = Predictor(network, frame, device, threads, manifest.frame_stride, backend, motion, steady)
    return Engine(predictor, bundle, choice.name)


def place_greys(frames_FHWK: UInt8) -> Float32:
    """Mean level of places, (F, P, Q), [0, 255]; what is left over at the edges is left out."""
    num_frames, height, width, channels = frames_FHWK.shape
    P, Q = height // PLACE_PX, width // PLACE_PX
    whole = frames_FHWK[:, : P * PLACE_PX, : Q * PLACE_PX]
    split = whole.reshape(num_frames, P, PLACE_PX, Q, PLACE_PX, channels)
    return np.asarray(split.mean(axis=(2, 4, 5), dtype=np.float32))


def network_of(bundle: Bundle) -> VideoNetwork:
    """The network with the bundle's weights, in evaluation mode.

    Raises:
        BundleError: unknown network, weights that do not fit it, or clips that it cannot take.
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
    told, takes = (manifest.clip_length, manifest.channels), (network.shape.clip_length, network.shape.channels)
    if told != takes:  # every frame would kill the worker, until it is taken for what is wrong
        text = (
            f"bundle {bundle.digest[:12]} must have clips of {takes[0]} frames of {takes[1]} channels, as its network"
        )
        raise BundleError(f"{text}, its manifest says {told[0]} and {told[1]}; copy the bundle again")
    return network.eval()


def weights_of(network: VideoNetwork) -> dict[str, Float32]:
    """What a bundle stores of a network."""
    state = network.state_dict()
    return {
        name: values.detach().cpu().contiguous().numpy()
        for name, values in state.items()
        if not name.endswith(NOT_STORED)
    }
