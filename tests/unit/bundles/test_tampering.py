"""Nothing in a bundle can be changed, cut short or left out unnoticed, and what is said names the file and the cure."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from bundles.bundle import ITEMS, half_rounded, load_bundle, load_initial_bank, save_bundle
from bundles.calibration import Calibration, Distribution, Moments, SpeedScale
from bundles.exports import SIDECAR, ExportFormat, Parity, Sidecar, export_folder, load_export, save_export
from bundles.files import checked, parsed, read, sha256, write_folder
from bundles.manifest import CALIBRATION, INITIAL_BANK, MANIFEST, MAX_DEPTH, WEIGHTS, Manifest, load_manifest
from schemas.errors import BundleError
from tests.unit.bundles.test_bundle import sample

FILES = [WEIGHTS, INITIAL_BANK, CALIBRATION]
READERS: tuple[Callable[[Path], object], ...] = (load_bundle, load_initial_bank, load_manifest)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped") / "lobby"
    save_bundle(folder, sample())
    return folder


@pytest.fixture
def folder(shipped: Path, tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    return Path(shutil.copytree(shipped, tmp_path / "lobby"))


def resealed(folder: Path, name: str, content: bytes) -> None:
    """Replace a file and say so in the manifest, as one would who makes bundles by hand."""
    (folder / name).write_bytes(content)
    told = json.loads((folder / MANIFEST).read_text())
    told["digests"][name] = sha256(content)
    (folder / MANIFEST).write_text(json.dumps(told))


def edited(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    told = json.loads((folder / name).read_text())
    change(told)
    (folder / name).write_text(json.dumps(told))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("spoil", ["first bit", "last bit", "one byte less", "one byte more", "empty"])
def test_a_file_that_is_not_the_one_of_the_manifest_is_refused(folder: Path, name: str, spoil: str) -> None:
    content = (folder / name).read_bytes()
    spoilt = {
        "first bit": bytes([content[0] ^ 1]) + content[1:],
        "last bit": content[:-1] + bytes([content[-1] ^ 128]),
        "one byte less": content[:-1],
        "one byte more": content + b"\0",
        "empty": b"",
    }[spoil]
    (folder / name).write_bytes(spoilt)
    with pytest.raises(BundleError, match=rf"{name}' must have SHA-256 {sha256(content)} .*got {sha256(spoilt)}"):
        load_bundle(folder)
    if name == INITIAL_BANK:
        with pytest.raises(BundleError, match="SHA-256"):
            load_initial_bank(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_file_without_a_digest_in_the_manifest_is_refused(folder: Path, name: str) -> None:
    edited(folder, MANIFEST, lambda told: told["digests"].pop(name))
    with pytest.raises(BundleError, match=f"{name}' must have SHA-256 None as its manifest says"):
        load_bundle(folder)


@pytest.mark.parametrize("field", sorted(set(Manifest.model_fields) - {"schema_version", "digests"}))
def test_every_field_of_the_manifest_is_part_of_the_bundles_name(folder: Path, field: str) -> None:
    """Whoever changes one, however lawful its new value, has another bundle: banks of the old one do not fit."""
    before = load_bundle(folder)
    other: dict[str, Any] = {
        "parameters": {"width": 5, "depth": 2},
        "channels": 3,
        "training_data_digest": "cd" * 32,
        "model": "another",
        "software": "another",
        "fps": 12.5,
        "cameras": ("yard",),
    }
    edited(folder, MANIFEST, lambda told: told.update({field: other.get(field, 77)}))
    after = load_bundle(folder)
    assert getattr(after.manifest, field) == other.get(field, 77) != getattr(before.manifest, field)
    assert after.digest != before.digest
    assert load_initial_bank(folder).bundle_digest == after.digest


@pytest.mark.parametrize("field", sorted(n for n, f in Manifest.model_fields.items() if f.is_required()))
def test_a_manifest_needs_every_field_without_a_default(folder: Path, field: str) -> None:
    edited(folder, MANIFEST, lambda told: told.pop(field))
    for load in READERS:
        with pytest.raises(
            BundleError, match=rf"'{folder / MANIFEST}' must be a manifest of version 1: {field}: Field"
        ):
            load(folder)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *[(side, wrong) for side in ("width", "height") for wrong in (0, 65536, 1.5)],
        *[(key, wrong) for key in ("clip_length", "frame_stride") for wrong in (0, -1)],
        *[("channels", wrong) for wrong in (0, 2, 4)],
        *[("fps", wrong) for wrong in (0, -1, "NaN")],
        *[("training_data_digest", wrong) for wrong in ("ab", "AB" * 32, "xy" * 32)],
        ("digests", {WEIGHTS: "short"}),
        ("parameters", []),
        ("seed", "one"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_the_file(folder: Path, field: str, wrong: object) -> None:
    edited(folder, MANIFEST, lambda told: told.update({field: wrong}))
    with pytest.raises(BundleError, match=rf"{MANIFEST}' must be a manifest of version 1: {field}"):
        load_manifest(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"{}"])
def test_a_manifest_that_is_no_json_object_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError, match="make it again or use the version of Engram that made it"):
        load_bundle(folder)


@pytest.mark.parametrize("name", [WEIGHTS, INITIAL_BANK])
@pytest.mark.parametrize("content", [b"", b"\0" * 7, b"\xff" * 64, b"not tensors at all"])
def test_a_sealed_file_that_holds_no_tensors_is_told_by_its_name(folder: Path, name: str, content: bytes) -> None:
    resealed(folder, name, content)
    with pytest.raises(BundleError, match=rf"{name}' must be in safetensors format: .*; train the bundle again"):
        load_bundle(folder)


@pytest.mark.parametrize("name", [WEIGHTS, INITIAL_BANK])
def test_sealed_tensors_that_are_cut_short_are_told_too(folder: Path, name: str) -> None:
    resealed(folder, name, (folder / name).read_bytes()[:-4])
    with pytest.raises(BundleError, match=f"{name}' must be in safetensors format"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("tensors", "found"),
    [
        ({}, "none"),
        ({"item": np.zeros((2, 3), np.float32)}, "none"),
        ({ITEMS: np.zeros(6, np.float32)}, r"shape \(6,\)"),
        ({ITEMS: np.zeros((1, 2, 3), np.float32)}, r"shape \(1, 2, 3\)"),
        ({ITEMS: np.full((2, 3), np.inf, np.float32)}, r"shape \(2, 3\)"),
    ],
)
def test_an_initial_bank_is_one_finite_matrix(folder: Path, tensors: dict[str, Any], found: str) -> None:
    resealed(folder, INITIAL_BANK, save_tensors(tensors))
    for load in READERS[:2]:
        with pytest.raises(BundleError, match=rf"must hold finite 'items' of shape \(M, C\), got {found}; train"):
            load(folder)


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int32])
def test_tensors_of_another_type_are_handed_out_in_single_precision(folder: Path, kind: type[Any]) -> None:
    resealed(folder, WEIGHTS, save_tensors({"a": np.arange(6).astype(kind)}))
    resealed(folder, INITIAL_BANK, save_tensors({ITEMS: np.eye(3).astype(kind)}))
    found = load_bundle(folder)
    assert found.weights["a"].dtype == found.items_MC.dtype == np.float32
    assert found.weights["a"].tolist() == list(range(6))
    assert np.array_equal(load_initial_bank(folder).items_MC, np.eye(3, dtype=np.float32))


def test_weights_and_items_lie_on_disk_as_they_are_meant_to(tmp_path: Path) -> None:
    bundle = replace(sample(), weights={"a": np.full((3, 2), 1 / 3, np.float32).T})
    save_bundle(tmp_path / "whole", bundle)
    save_bundle(tmp_path / "half", bundle, half_weights=True)
    for name, kind in (("whole", np.float32), ("half", np.float16)):
        assert load_tensors((tmp_path / name / WEIGHTS).read_bytes())["a"].dtype == kind
        assert load_tensors((tmp_path / name / INITIAL_BANK).read_bytes())[ITEMS].dtype == np.float32
    assert load_bundle(tmp_path / "whole").weights["a"].tolist() == bundle.weights["a"].tolist()
    assert half_rounded(bundle.weights)["a"].tolist() == load_bundle(tmp_path / "half").weights["a"].tolist()
    assert half_rounded(bundle.weights)["a"].dtype == np.float32


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"fps": 0}, "fps"),
        ({"smoothing_s": -1}, "smoothing_s"),
        ({"feature_weight": -1}, "feature_weight"),
        ({"gate_threshold": -1e-9}, "gate_threshold"),
        ({"num_frames": 1}, "num_frames"),
        ({"cameras": "some"}, "cameras"),
        ({"psnr_db": {"mean": 0, "std": 0, "count": 2}}, "psnr_db.std"),
        ({"regular_score": {"mean": 0, "std": 1, "count": 1}}, "regular_score.count"),
        ({"statistic": {"quantiles": [0], "tail_scale": 1}}, "statistic.quantiles"),
        ({"statistic": {"quantiles": [0, 1], "tail_scale": 0}}, "statistic.tail_scale"),
        ({"speed_scale": {"top_px": 0, "bottom_px": 1}}, "speed_scale.top_px"),
        ({"speed_scale": {"top_px": 1, "bottom_px": 0}}, "speed_scale.bottom_px"),
        ({"surplus": 1}, "surplus"),
        ({"schema_version": 2}, "schema_version"),
    ],
)
def test_a_sealed_calibration_that_makes_no_sense_is_refused(folder: Path, change: dict[str, Any], place: str) -> None:
    told = json.loads((folder / CALIBRATION).read_text()) | change
    resealed(folder, CALIBRATION, json.dumps(told).encode())
    with pytest.raises(BundleError, match=rf"{CALIBRATION}' must be a calibration of version 1: {place}"):
        load_bundle(folder)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_calibration_holds_finite_numbers_only(number: float) -> None:
    for broken in (
        lambda: Moments(mean=number, std=1, count=2),
        lambda: Distribution(quantiles=(0, number), tail_scale=1),
        lambda: SpeedScale(top_px=number, bottom_px=1),
        lambda: Calibration.model_validate(json.loads(sample().calibration.model_dump_json()) | {"fps": number}),
    ):
        with pytest.raises(ValidationError):
            broken()


@pytest.mark.parametrize(
    ("parameters", "places"),
    [
        ({"depth": 1}, 100 * 60),
        ({"depth": 2}, 50 * 30),
        ({"depth": 4}, 12 * 7),
        ({"depth": MAX_DEPTH}, 0),
        ({"depth": MAX_DEPTH + 1}, 100 * 60),
        ({"depth": 0}, 100 * 60),
        ({"depth": -3}, 100 * 60),
        ({"depth": "2"}, 100 * 60),
        ({"depth": 2.0}, 100 * 60),
        ({}, 100 * 60),
    ],
)
def test_places_halve_with_each_level_and_a_depth_that_is_none_counts_pixels(
    parameters: dict[str, Any], places: int
) -> None:
    manifest = sample().manifest.model_copy(update={"parameters": parameters, "width": 100, "height": 60})
    assert manifest.places_per_frame == places


def test_an_edge_needs_the_manifest_alone(folder: Path) -> None:
    wanted = load_bundle(folder).manifest
    for name in FILES:
        (folder / name).unlink()
    assert load_manifest(folder) == wanted
    with pytest.raises(BundleError, match=rf"must have '{MANIFEST}', cannot read it in '.*' \(No such file"):
        load_manifest(folder.parent)


def test_a_file_that_is_a_folder_is_told_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=rf"must have '{tmp_path.name}', cannot .* \(Is a directory\).*engram train"):
        read(tmp_path)


def test_a_checked_file_is_handed_out_whole(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"\0\xff")
    assert checked(file, sha256(b"\0\xff"), "list") == b"\0\xff"
    with pytest.raises(BundleError, match=r"as its list says, got .*; the file was changed or cut short"):
        checked(file, sha256(b"\0\xfe"), "list")


def test_a_mistake_deep_in_a_model_is_told_with_its_place(tmp_path: Path) -> None:
    text = sample().calibration.model_dump_json().replace('"quantiles":[-1.0', '"quantiles":["x"')
    with pytest.raises(BundleError, match=r"'here' must be a calibration of version 1: statistic\.quantiles\.0: "):
        parsed(Calibration, Path("here"), text.encode())


def test_a_folder_is_written_whole_with_its_parents(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b"
    write_folder(place, {"x": b"1", "y": b""})
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {"x": b"1", "y": b""}
    assert [path.name for path in place.parent.iterdir()] == ["b"]


def test_a_folder_that_cannot_be_finished_is_absent_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_folder(tmp_path / "b", {"x": b"1", "no/such": b"2"})
    assert list(tmp_path.iterdir()) == []


def test_what_has_the_name_already_is_left_alone_be_it_a_file(tmp_path: Path) -> None:
    place = tmp_path / "b"
    place.write_bytes(b"precious")
    with pytest.raises(BundleError, match=rf"'{place}' must not exist yet; remove it or choose another name"):
        write_folder(place, {"x": b"1"})
    assert place.read_bytes() == b"precious"


def test_digests_that_a_bundle_brings_along_are_not_believed(tmp_path: Path) -> None:
    lying = sample().manifest.model_copy(update={"digests": {WEIGHTS: "0" * 64, "more": "1" * 64}})
    saved = save_bundle(tmp_path / "b", replace(sample(), manifest=lying, digest="2" * 64))
    assert saved.manifest.digests == {name: sha256((tmp_path / "b" / name).read_bytes()) for name in FILES}
    assert saved.digest == sha256((tmp_path / "b" / MANIFEST).read_bytes())


def test_an_export_lives_below_its_bundle_by_its_format() -> None:
    assert export_folder(Path("b"), "openvino-int8") == Path("b/exports/openvino-int8")


@pytest.mark.parametrize("kind", ["onnx", "openvino", "openvino-int8", "torch-export"])
def test_every_format_of_an_export_can_be_written_and_read(tmp_path: Path, kind: ExportFormat) -> None:
    parity = Parity(num_clips=1, worst={"psnr_db": 0.0})
    told = Sidecar(format=kind, bundle_digest="a" * 64, digests={}, libraries={}, parity=parity)
    save_export(tmp_path / "e", told, {"net": b"\1"})
    found = load_export(tmp_path / "e", "a" * 64)
    assert (found.sidecar.format, found.files, found.sidecar.parity) == (kind, {"net": b"\1"}, parity)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("bundle_digest", "a" * 63),
        ("digests", {"net": "short"}),
        ("digests", {"a b": "a" * 64}),
        ("parity", {"num_clips": 0, "worst": {}}),
        ("parity", {"num_clips": 1, "worst": {"a": -1e-9}}),
        ("libraries", {"onnx": 1}),
    ],
)
def test_a_sidecar_with_a_value_that_cannot_be_is_refused(tmp_path: Path, field: str, wrong: object) -> None:
    parity = Parity(num_clips=1, worst={})
    told = Sidecar(format="onnx", bundle_digest="a" * 64, digests={}, libraries={}, parity=parity)
    save_export(tmp_path / "e", told, {"net": b"\1"})
    edited(tmp_path / "e", SIDECAR, lambda content: content.update({field: wrong}))
    with pytest.raises(BundleError, match=rf"{SIDECAR}' must be a sidecar of version 1: {field}"):
        load_export(tmp_path / "e", "a" * 64)


def test_a_sealed_calibration_of_an_export_must_be_one(tmp_path: Path) -> None:
    parity = Parity(num_clips=1, worst={})
    told = Sidecar(format="onnx", bundle_digest="a" * 64, digests={}, libraries={}, parity=parity)
    with pytest.raises(BundleError, match=rf"{CALIBRATION}' must be a calibration of version 1"):
        save_export(tmp_path / "e", told, {CALIBRATION: b"{}"})
