"""Exports: a bundle's network for other inference libraries, in folders beside the bundle's own files.

An export names the bundle that it was made from, not the other way round: adding one leaves the bundle's digest, by
which banks know their bundle, as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from bundles.calibration import Calibration
from bundles.files import checked, parsed, read, sha256, write_folder
from bundles.manifest import CALIBRATION
from schemas.errors import BundleError
from schemas.messages import Digest

EXPORTS = "exports"
SIDECAR = "export.json"
ExportFormat = Literal["onnx", "openvino", "openvino-int8", "torch-export"]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Deviation = Annotated[float, Field(ge=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Parity(_Frozen):
    """How far an export is from the network in torch, single precision, measured when it was made.

    Attributes:
        num_clips: it was measured on.
        worst: by output, the largest difference over all values, as a share of the largest value.
    """

    num_clips: Annotated[int, Field(ge=1)]
    worst: dict[str, Deviation]


class Sidecar(_Frozen):
    """What an export holds.

    Attributes:
        bundle_digest: of the bundle it was made from.
        digests: SHA-256 of its files, by name.
        libraries: versions of what made it.
        parity: with the bundle's network in torch.
    """

    schema_version: Literal[1] = 1
    format: ExportFormat
    bundle_digest: Digest
    digests: dict[FileName, Digest]
    libraries: dict[str, str]
    parity: Parity


@dataclass(frozen=True, slots=True, eq=False)
class Export:
    """An export whose files are those that it lists.

    Attributes:
        sidecar: what it is.
        files: content by name.
        calibration: fitted through this export, where it does not measure what the bundle's network does.
    """

    sidecar: Sidecar
    files: Mapping[str, bytes]
    calibration: Calibration | None


def export_folder(bundle: Path, kind: ExportFormat) -> Path:
    """Where a bundle carries its export of a format."""
    return bundle / EXPORTS / kind


def load_export(folder: Path, bundle_digest: str) -> Export:
    """Read an export and check every file.

    Args:
        folder: of the export.
        bundle_digest: of the bundle it must be made from.

    Raises:
        BundleError: a file is missing or changed, or it was made from another bundle.
    """
    sidecar = parsed(Sidecar, folder / SIDECAR, read(folder / SIDECAR))
    if sidecar.bundle_digest != bundle_digest:
        text = f"'{folder}' must be made from bundle {bundle_digest[:12]}, it is from {sidecar.bundle_digest[:12]}"
        raise BundleError(f"{text}; remove it and run 'engram export' again")
    files = {name: checked(folder / name, digest, SIDECAR) for name, digest in sidecar.digests.items()}
    found = files.get(CALIBRATION)
    return Export(sidecar, files, None if found is None else parsed(Calibration, folder / CALIBRATION, found))


def save_export(folder: Path, sidecar: Sidecar, files: Mapping[str, bytes]) -> Export:
    """Write an export so that ``folder`` is whole or absent; its digests are computed here.

    Returns:
        the export as ``load_export`` reads it back.

    Raises:
        BundleError: ``folder`` exists.
    """
    sidecar = sidecar.model_copy(update={"digests": {name: sha256(content) for name, content in files.items()}})
    write_folder(folder, {**files, SIDECAR: sidecar.model_dump_json(indent=1).encode()})
    return load_export(folder, sidecar.bundle_digest)
