"""What ``engram export`` does: trace, convert, compare with torch, write."""

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bundles.bundle import Bundle, load_bundle
from bundles.exports import EXPORTS, ExportFormat, Parity, Sidecar, save_export
from bundles.manifest import CALIBRATION
from inference.backends.backend import Backend
from inference.backends.choose import export_backend
from inference.backends.torch import TorchBackend
from inference.engine import Predictor, network_of
from inference.formats import FrameFormat
from inference.steadiness import steadier
from networks.measurement import NUM_MEASURES, OUTPUTS
from schemas.arrays import Float32, UInt8
from schemas.errors import FatalError
from training.export.footage import NormalFootage, invented_clips, normal_footage_for
from training.export.formats import TORCH_PROGRAM, onnx_files, openvino_files, openvino_model, torch_files
from training.export.quantising import quantised
from training.export.tracing import traced

log = logging.getLogger(__name__)

BATCH = 3
"""Not the one that was traced."""
TOLERANCE = 1e-4
MEASURES = OUTPUTS[:NUM_MEASURES]
"""Those that scores are made of. What a clip teaches the memory may differ by a whole query where two items are equally
near."""
COMPARED_CLIPS = 16
Files = Mapping[str, bytes]
LIBRARIES: Mapping[ExportFormat, tuple[str, ...]] = {
    "torch-export": ("torch",),
    "onnx": ("torch", "onnx", "onnxscript"),
    "openvino": ("torch", "openvino"),
    "openvino-int8": ("torch", "openvino", "nncf"),
}


def parity(backend: Backend, reference: Backend, clips_BTHWK: UInt8, items_MC: Float32) -> Parity:
    """Run both on the same clips. Values are compared with the largest of their output over all clips."""
    found, wanted = (_run(each, clips_BTHWK, items_MC) for each in (backend, reference))
    worst = {name: _deviation(found[name], wanted[name]) for name in wanted}
    return Parity(num_clips=len(clips_BTHWK), worst=worst)


def require_parity(found: Parity, kind: str) -> None:
    """Refuse an export that should measure the same and does not.

    Raises:
        FatalError: a measure differs by more than ``TOLERANCE``.
    """
    wrong = {name: found.worst[name] for name in MEASURES if found.worst[name] > TOLERANCE}
    if wrong:
        text = f"an export as {kind} must measure what torch does to within {TOLERANCE}, differs by {wrong}"
        raise FatalError(f"{text}; try other versions of the library, or another format")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How to export.

    Attributes:
        out: folder to make the export's own folder in; None = the bundle, where workers look for it.
        data: normal video of one camera or several; needed for 8 bits only, otherwise to compare on.
        num_clips: of it, that ranges of activations are measured on.
        cache: folder of decoded footage.
    """

    out: Path | None = None
    data: tuple[Path, ...] = ()
    num_clips: int = 300
    cache: Path = Path(".engram/cache")


def export_bundle(path: Path, kind: ExportFormat, options: ExportOptions) -> Path:
    """Export a bundle's network with its measures, and say how far the export is from torch.

    Args:
        path: folder of the bundle, which may take several exports; its digest stays.
        kind: format.
        options: how.

    Returns:
        the folder that was made.

    Raises:
        FatalError: the folder exists, 8 bits without video, or an export that does not measure what torch does.
    """
    folder = (options.out or path / EXPORTS) / kind
    if folder.exists():
        raise FatalError(f"'{folder}' must not exist yet; remove it to export again")
    bundle = load_bundle(path)
    footage = normal_footage_for(bundle, options.data, options.cache) if options.data else None
    job = Job(bundle, footage, options.num_clips)
    files = job.files(kind)
    backend = opened(kind, files)
    found = parity(backend, job.reference(), job.clips(COMPARED_CLIPS), bundle.items_MC)
    if kind == "openvino-int8":
        files = {**files, CALIBRATION: job.calibration(backend)}
    else:
        require_parity(found, kind)
    sidecar = Sidecar(
        format=kind,
        bundle_digest=bundle.digest,
        digests={},
        libraries={name: version(name) for name in LIBRARIES[kind]},
        parity=found,
    )
    save_export(folder, sidecar, files)
    deviations = ", ".join(f"{name} {value:.1e}" for name, value in found.worst.items())
    log.info("worst deviation from torch on %d clips: %s", found.num_clips, deviations)
    return folder


@dataclass(frozen=True, slots=True)
class Job:
    """A bundle to export, and normal footage, if any."""

    bundle: Bundle
    footage: NormalFootage | None
    num_clips: int

    def files(self, kind: ExportFormat) -> Files:
        """Of the export, less what only running it can tell."""
        program = traced(network_of(self.bundle), self._frame)
        if kind == "torch-export":
            return torch_files(program)
        if kind == "onnx":
            return onnx_files(program)
        model = openvino_model(program)
        if kind == "openvino-int8":
            model = quantised(model, self._normal.spread_clips(self.num_clips), self.bundle.items_MC)
        return openvino_files(model)

    def clips(self, count: int) -> UInt8:
        """To compare on."""
        if self.footage:
            return self.footage.spread_clips(count)
        return invented_clips(self._frame, self.bundle.manifest.clip_length, count)

    def reference(self) -> Backend:
        """What the export is held against."""
        return TorchBackend(network_of(self.bundle), torch.device("cpu"))

    def calibration(self, backend: Backend) -> bytes:
        """Of the live score, fitted through the export on footage held back."""
        network, stride = network_of(self.bundle), self.bundle.manifest.frame_stride
        steady = steadier(self.bundle.calibration.memory is not None)
        predictor = Predictor(network, self._frame, "cpu", frame_stride=stride, backend=backend, steady=steady)
        return self._normal.calibration(predictor, self.bundle).model_dump_json(indent=1).encode()

    @property
    def _frame(self) -> FrameFormat:
        manifest = self.bundle.manifest
        return FrameFormat(manifest.width, manifest.height, manifest.channels)

    @property
    def _normal(self) -> NormalFootage:
        if self.footage is None:
            text = "an export in 8 bits needs normal video, to measure ranges on and to calibrate with"
            raise FatalError(f"{text}; give --data, best the footage that the bundle was trained on")
        return self.footage


def opened(kind: ExportFormat, files: Files) -> Backend:
    """What runs an export's files; also those for which no worker has a backend."""
    return _torch_program(files) if kind == "torch-export" else export_backend(kind, files)


def _run(backend: Backend, clips_BTHWK: UInt8, items_MC: Float32) -> Mapping[str, Float32]:
    parts = [clips_BTHWK[begin : begin + BATCH] for begin in range(0, len(clips_BTHWK), BATCH)]
    results = [backend(part, np.repeat(items_MC[None], len(part), axis=0)) for part in parts]
    return {name: np.concatenate([result[name] for result in results]) for name in results[0]}


def _deviation(found: Float32, wanted: Float32) -> float:
    largest = float(np.abs(wanted).max())
    return float(np.abs(found - wanted).max()) / (largest or 1.0)


def _torch_program(files: Files) -> Backend:
    run: Callable[..., Sequence[Tensor]] = torch.export.load(io.BytesIO(files[TORCH_PROGRAM])).module()

    def backend(clips_BTHWK: UInt8, items_BMC: Float32) -> Mapping[str, Float32]:
        given = [torch.from_numpy(clips_BTHWK)]
        if items_BMC.size:
            given.append(torch.from_numpy(np.array(items_BMC)))
        with torch.no_grad():
            return {name: part.numpy() for name, part in zip(OUTPUTS, run(*given), strict=False)}

    return backend
