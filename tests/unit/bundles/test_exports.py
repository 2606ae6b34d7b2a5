"""An export beside its bundle: round trip, identity, and what is said when a file is wrong."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from bundles.bundle import load_bundle, save_bundle
from bundles.exports import SIDECAR, Parity, Sidecar, export_folder, load_export, save_export
from bundles.files import sha256
from schemas.errors import BundleError
from tests.unit.bundles.test_bundle import sample

FILES = {"model.xml": b"<net/>", "model.bin": b"\0\1\2"}


def sidecar(bundle_digest: str) -> Sidecar:
    return Sidecar(
        format="openvino",
        bundle_digest=bundle_digest,
        digests={},
        libraries={"openvino": "1.0"},
        parity=Parity(num_clips=4, worst={"psnr_db": 1e-7, "counts": 0.0}),
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    save_bundle(tmp_path / "lobby", sample())
    return tmp_path / "lobby"


@pytest.fixture
def folder(bundle: Path) -> Path:
    place = export_folder(bundle, "openvino")
    save_export(place, sidecar(load_bundle(bundle).digest), FILES)
    return place


def test_what_is_saved_is_loaded_and_the_bundle_stays_the_same(bundle: Path) -> None:
    digest = load_bundle(bundle).digest
    told = sidecar(digest)
    saved = save_export(export_folder(bundle, "openvino"), told, FILES)
    found = load_export(export_folder(bundle, "openvino"), digest)
    assert dict(found.files) == FILES
    assert found.sidecar == saved.sidecar
    assert found.sidecar.model_copy(update={"digests": {}}) == told
    assert found.sidecar.digests == {name: sha256(content) for name, content in FILES.items()}
    assert found.calibration is None
    assert load_bundle(bundle).digest == digest


def test_a_calibration_of_its_own_is_read_and_checked(bundle: Path) -> None:
    own = load_bundle(bundle).calibration.model_copy(update={"gate_threshold": 0.5})
    folder = export_folder(bundle, "openvino-int8")
    files = {**FILES, "calibration.json": own.model_dump_json().encode()}
    assert save_export(folder, sidecar(load_bundle(bundle).digest), files).calibration == own
    (folder / "calibration.json").write_text(own.model_dump_json().replace("0.5", "0.6"))
    with pytest.raises(BundleError, match=r"calibration.json' must have SHA-256"):
        load_export(folder, load_bundle(bundle).digest)


@pytest.mark.parametrize("name", FILES)
def test_an_edited_file_is_refused(bundle: Path, folder: Path, name: str) -> None:
    (folder / name).write_bytes(FILES[name] + b" ")
    with pytest.raises(BundleError, match=rf"{name}' must have SHA-256 .* as its export.json says"):
        load_export(folder, load_bundle(bundle).digest)


@pytest.mark.parametrize("name", [SIDECAR, *FILES])
def test_a_missing_file_is_named(bundle: Path, folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"must have '{name}'"):
        load_export(folder, load_bundle(bundle).digest)


def test_an_export_of_another_bundle_is_refused(folder: Path, bundle: Path) -> None:
    with pytest.raises(BundleError, match=rf"must be made from bundle {'0' * 12}, it is from .* 'engram export' again"):
        load_export(folder, "0" * 64)


@pytest.mark.parametrize("name", ["../manifest.json", "/etc/passwd", ".hidden", "a/b", ""])
def test_an_export_lists_files_of_its_own_folder_only(bundle: Path, folder: Path, name: str) -> None:
    told = json.loads((folder / SIDECAR).read_text())
    told["digests"][name] = "0" * 64
    (folder / SIDECAR).write_text(json.dumps(told))
    with pytest.raises(BundleError, match="must be a sidecar of version 1: digests"):
        load_export(folder, load_bundle(bundle).digest)


@pytest.mark.parametrize("change", [{"surprise": 1}, {"format": "tflite"}, {"schema_version": 2}])
def test_a_sidecar_of_another_kind_is_refused(bundle: Path, folder: Path, change: dict[str, object]) -> None:
    (folder / SIDECAR).write_text(json.dumps(json.loads((folder / SIDECAR).read_text()) | change))
    with pytest.raises(BundleError, match=f"must be a sidecar of version 1: {next(iter(change))}"):
        load_export(folder, load_bundle(bundle).digest)


def test_an_existing_export_is_never_overwritten(folder: Path) -> None:
    with pytest.raises(BundleError, match="must not exist yet"):
        save_export(folder, sidecar("0" * 64), {})
    assert {path.name for path in folder.iterdir()} == {SIDECAR, *FILES}


def test_a_sidecar_cannot_be_changed_and_deviations_are_numbers() -> None:
    with pytest.raises(ValidationError):
        sidecar("0" * 64).format = "onnx"
    with pytest.raises(ValidationError):
        Parity(num_clips=1, worst={"psnr_db": float("nan")})
