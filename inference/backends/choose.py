"""Which backend a worker uses: the one it was told to, or a fast one that gives the scores of the bundle's network."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import torch

from bundles.exports import SIDECAR, Export, export_folder, load_export
from bundles.manifest import CALIBRATION
from inference.backends.backend import Backend
from inference.backends.torch import TorchBackend
from networks.network import VideoNetwork
from schemas.errors import BundleError, FatalError
from schemas.settings.detection import BackendSetting

ExportBackend = Literal["openvino", "onnx", "openvino-int8"]
LIBRARY: Mapping[ExportBackend, tuple[str, str]] = {
    "openvino": ("openvino", "openvino"),
    "onnx": ("onnxruntime", "onnx"),
    "openvino-int8": ("openvino", "openvino"),
}
"""Module and extra of each."""
BY_ITSELF: tuple[ExportBackend, ...] = ("openvino", "onnx")
"""In order of preference. Eight bits change scores, so that they must be asked for."""

CALIBRATED: tuple[ExportBackend, ...] = ("openvino-int8",)


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend, why it was chosen, and the export it runs; torch needs none.

    Attributes:
        name: of the backend.
        why: it was chosen.
        export: what it runs.
        remedy: what to do to have the faster one that the bundle carries; empty if there is nothing to do.
    """

    name: Literal["torch", ExportBackend]
    why: str
    export: Export | None = None
    remedy: str = ""


TORCH = Choice("torch", "nothing else was asked for")


def choose(wanted: BackendSetting, device: torch.device, bundle: Path, bundle_digest: str) -> Choice:
    """The backend for one bundle on one device.

    Args:
        wanted: a backend, or "auto": on the CPU that of an export the bundle carries if its library is installed.
        device: where the network is to run; exports run on the CPU only.
        bundle: folder of the bundle.
        bundle_digest: of the bundle.

    Raises:
        FatalError: the backend that was asked for has no library, no export, or another device.
        BundleError: the export was changed, or was made from another bundle.
    """
    if wanted == "torch":
        return Choice("torch", "worker.backend says so")
    if wanted != "auto":
        _require(wanted, device, bundle)
        export = load_export(export_folder(bundle, wanted), bundle_digest)
        if wanted in CALIBRATED and export.calibration is None:
            text = f"'{export_folder(bundle, wanted)}' must hold '{CALIBRATION}', since it scores by its own"
            raise BundleError(f"{text}; remove it and run 'engram export' again")
        return Choice(wanted, "worker.backend says so", export)
    if device.type != "cpu":
        return Choice("torch", f"the only one for {device.type}")
    for name in BY_ITSELF:
        if _is_carried(name, bundle) and _is_installed(name):
            export = load_export(export_folder(bundle, name), bundle_digest)
            return Choice(
                name, "faster on a CPU than torch; the bundle carries it and the library is installed", export
            )
    return _nothing_faster(bundle)


def open_backend(choice: Choice, network: VideoNetwork, device: torch.device, threads: int | None) -> Backend:
    """Make a backend ready to run.

    Args:
        choice: of ``choose``.
        network: with the bundle's weights.
        device: for torch.
        threads: of the library; None = its own choice.
    """
    if choice.export is None:
        return TorchBackend(network, device, threads)
    return export_backend(choice.export.sidecar.format, choice.export.files, threads)


def export_backend(kind: str, files: Mapping[str, bytes], threads: int | None = None) -> Backend:
    """The backend of an export's files.

    Raises:
        FatalError: no backend runs this format.
    """
    if kind == "onnx":
        from inference.backends.onnx import OnnxBackend  # noqa: PLC0415 - needs an extra

        return OnnxBackend(files, threads)
    if kind in ("openvino", "openvino-int8"):
        from inference.backends.openvino import OpenvinoBackend  # noqa: PLC0415 - needs an extra

        return OpenvinoBackend(files, threads)
    raise FatalError(f"a worker runs exports in {list(get_args(ExportBackend))}, got '{kind}'; choose one of these")


def _require(name: ExportBackend, device: torch.device, bundle: Path) -> None:
    module, extra = LIBRARY[name]
    if device.type != "cpu":
        text = f"backend '{name}' runs on the CPU, the device is {device.type}"
        raise FatalError(f"{text}; set worker.device to cpu, or worker.backend to torch")
    if not _is_installed(name):
        raise FatalError(f"backend '{name}' needs {module}, which is not installed; pip install 'engram[{extra}]'")
    if not _is_carried(name, bundle):
        text = f"backend '{name}' needs an export in '{export_folder(bundle, name)}', there is none"
        raise FatalError(f"{text}; engram export --bundle {bundle} --format {name}")


def _is_installed(name: ExportBackend) -> bool:
    return find_spec(LIBRARY[name][0]) is not None


def _is_carried(name: ExportBackend, bundle: Path) -> bool:
    return (export_folder(bundle, name) / SIDECAR).exists()


def _nothing_faster(bundle: Path) -> Choice:
    carried = [name for name in BY_ITSELF if _is_carried(name, bundle)]
    if not carried:
        return Choice("torch", "the bundle carries no export; 'engram export' makes one that is faster on a CPU")
    extras = ", ".join(f"engram[{LIBRARY[name][1]}]" for name in carried)
    why = f"the bundle carries {', '.join(carried)}, which need an extra that is not installed: {extras}"
    remedy = f"pip install 'engram[{LIBRARY[carried[0]][1]}]', or set worker.backend to torch"
    return Choice("torch", why, remedy=remedy)
