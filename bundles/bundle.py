"""Reading and writing bundles. Every byte read is checked against the manifest before it is used.

Dimensions: M items, C channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from bundles.calibration import Calibration
from bundles.files import checked, parsed, read, sha256, write_folder
from bundles.manifest import CALIBRATION, INITIAL_BANK, MANIFEST, WEIGHTS, Manifest
from schemas.arrays import Float32
from schemas.errors import BundleError

ITEMS = "items"


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A trained model: all that a worker needs.

    Attributes:
        manifest: what it is.
        weights: parameters and statistics of the network by name, float32.
        items_MC: the initial bank; (0, 0) for a network that keeps what it knows in its weights.
        calibration: what normal footage scores.
        digest: SHA-256 of the manifest's bytes, which names everything else.
    """

    manifest: Manifest
    weights: Mapping[str, Float32]
    items_MC: Float32
    calibration: Calibration
    digest: str

    @property
    def model(self) -> str:
        """Name of the network."""
        return self.manifest.model


@dataclass(frozen=True, slots=True, eq=False)
class InitialItems:
    """The bank a bundle was trained with.

    Attributes:
        model: name of the network.
        bundle_digest: of the bundle.
        items_MC: the bank, float32; (0, 0) for a network that keeps what it knows in its weights.
        places_per_frame: most queries that one frame can hold against it.
        calibration: what normal footage scores.
    """

    model: str
    bundle_digest: str
    items_MC: Float32
    places_per_frame: int
    calibration: Calibration


def load_bundle(path: Path) -> Bundle:
    """Read a whole bundle.

    Raises:
        BundleError: a file is missing, changed or of another version; names it and says what to do.
    """
    manifest, digest = _manifest(path)
    return Bundle(
        manifest,
        {name: values.astype(np.float32) for name, values in _tensors(path, manifest, WEIGHTS).items()},
        _items(path, manifest),
        _calibration(path, manifest),
        digest,
    )


def load_initial_bank(path: Path) -> InitialItems:
    """Read all but the weights, which is what a coordinator needs.

    Raises:
        BundleError: as ``load_bundle``, for these files.
    """
    manifest, digest = _manifest(path)
    items_MC, calibration = _items(path, manifest), _calibration(path, manifest)
    return InitialItems(manifest.model, digest, items_MC, manifest.places_per_frame, calibration)


def save_bundle(path: Path, bundle: Bundle, half_weights: bool = False) -> Bundle:
    """Write a bundle so that ``path`` is whole or absent; the digests are computed here.

    Args:
        path: folder to make; must not exist.
        bundle: its manifest's and its own digests are ignored.
        half_weights: round weights to float16, for half the size.

    Returns:
        the bundle as ``load_bundle`` reads it back.

    Raises:
        BundleError: ``path`` exists.
    """
    kind = np.float16 if half_weights else np.float32
    weights = {name: np.ascontiguousarray(values, dtype=kind) for name, values in bundle.weights.items()}
    files = {
        WEIGHTS: save_tensors(weights),
        INITIAL_BANK: save_tensors({ITEMS: np.ascontiguousarray(bundle.items_MC, dtype=np.float32)}),
        CALIBRATION: bundle.calibration.model_dump_json(indent=1).encode(),
    }
    digests = {name: sha256(content) for name, content in files.items()}
    manifest = bundle.manifest.model_copy(update={"digests": digests})
    files[MANIFEST] = manifest.model_dump_json(indent=1).encode()
    write_folder(path, files)
    return load_bundle(path)


def half_rounded(weights: Mapping[str, Float32]) -> dict[str, Float32]:
    """Weights as they come back from float16, so that a calibration is fitted on what will be shipped."""
    return {name: values.astype(np.float16).astype(np.float32) for name, values in weights.items()}


def _manifest(path: Path) -> tuple[Manifest, str]:
    content = read(path / MANIFEST)
    return parsed(Manifest, path / MANIFEST, content), sha256(content)


def _calibration(path: Path, manifest: Manifest) -> Calibration:
    return parsed(Calibration, path / CALIBRATION, _checked(path, manifest, CALIBRATION))


def _items(path: Path, manifest: Manifest) -> Float32:
    tensors = _tensors(path, manifest, INITIAL_BANK)
    items_MC = tensors.get(ITEMS)
    if items_MC is None or items_MC.ndim != 2 or not np.isfinite(items_MC).all():
        found = "none" if items_MC is None else f"shape {items_MC.shape}"
        text = f"'{path / INITIAL_BANK}' must hold finite '{ITEMS}' of shape (M, C), got {found}"
        raise BundleError(f"{text}; train the bundle again")
    return items_MC.astype(np.float32)


def _tensors(path: Path, manifest: Manifest, name: str) -> dict[str, NDArray[np.float32]]:
    content = _checked(path, manifest, name)
    try:
        return dict(load_tensors(content))
    except SafetensorError as error:
        raise BundleError(f"'{path / name}' must be in safetensors format: {error}; train the bundle again") from error


def _checked(path: Path, manifest: Manifest, name: str) -> bytes:
    return checked(path / name, manifest.digests.get(name), "manifest")
