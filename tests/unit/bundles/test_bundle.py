"""A bundle on disk: round trip, identity, and what is said when a file is wrong."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bundles.bundle import Bundle, half_rounded, load_bundle, load_initial_bank, save_bundle
from bundles.calibration import Calibration, Distribution, Moments
from bundles.manifest import CALIBRATION, INITIAL_BANK, MANIFEST, WEIGHTS, Manifest
from engram.build.shipped import WALKWAY, shipped_bundle
from schemas.errors import BundleError, FatalError


def sample(seed: int = 0) -> Bundle:
    random = np.random.default_rng(seed)
    moments = Moments(mean=0.0, std=1.0, count=100)
    calibration = Calibration(
        psnr_db=moments,
        feature_distance=moments,
        regular_score=moments,
        log_patch_error=moments,
        statistic=Distribution(quantiles=(-1.0, 0.0, 1.5), tail_scale=0.3),
        fps=10.0,
        smoothing_s=0.5,
        feature_weight=0.0,
        gate_threshold=0.01,
        num_frames=100,
        cameras=("lobby",),
    )
    manifest = Manifest(
        model="mnad-prediction",
        parameters={"width": 4, "depth": 2},
        clip_length=5,
        width=32,
        height=24,
        channels=1,
        fps=10.0,
        seed=seed,
        training_data_digest="ab" * 32,
        software="engram test",
    )
    weights = {"a.weight": random.normal(size=(4, 3)), "b": random.normal(size=7)}
    weights32 = {name: values.astype(np.float32) for name, values in weights.items()}
    return Bundle(manifest, weights32, random.normal(size=(5, 8)).astype(np.float32), calibration, digest="")


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    bundle = sample()
    saved = save_bundle(tmp_path / "lobby", bundle)
    loaded = load_bundle(tmp_path / "lobby")
    assert saved.digest == loaded.digest
    assert loaded.calibration == bundle.calibration
    assert loaded.model == "mnad-prediction"
    assert loaded.manifest.model_copy(update={"digests": {}}) == bundle.manifest
    assert np.array_equal(loaded.items_MC, bundle.items_MC)
    assert loaded.weights.keys() == bundle.weights.keys()
    assert all(np.array_equal(loaded.weights[name], bundle.weights[name]) for name in bundle.weights)


def test_the_coordinator_reads_the_bank_without_torch(tmp_path: Path) -> None:
    bundle = save_bundle(tmp_path / "lobby", sample())
    initial = load_initial_bank(tmp_path / "lobby")
    assert initial.bundle_digest == bundle.digest
    assert np.array_equal(initial.items_MC, bundle.items_MC)
    code = (
        "import sys; from pathlib import Path; from bundles.bundle import load_initial_bank;"
        f"load_initial_bank(Path({str(tmp_path / 'lobby')!r})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_network_without_a_bank_has_a_bundle_like_others(tmp_path: Path) -> None:
    bundle = save_bundle(tmp_path / "gate", replace(sample(), items_MC=np.zeros((0, 0), np.float32)))
    assert bundle.items_MC.shape == (0, 0)
    assert bundle.items_MC.dtype == np.float32
    initial = load_initial_bank(tmp_path / "gate")
    assert (initial.model, initial.bundle_digest, initial.items_MC.shape) == (bundle.model, bundle.digest, (0, 0))


def test_half_weights_are_half_the_size_and_rounded_once(tmp_path: Path) -> None:
    bundle = replace(sample(), weights={"a": np.linspace(-1, 1, 5000, dtype=np.float32)})
    save_bundle(tmp_path / "whole", bundle)
    half = save_bundle(tmp_path / "half", bundle, half_weights=True)
    sizes = [(tmp_path / name / WEIGHTS).stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.55 * sizes[0]
    assert half.weights["a"].dtype == np.float32
    assert np.array_equal(half.weights["a"], half_rounded(bundle.weights)["a"])
    assert np.array_equal(half.items_MC, bundle.items_MC)


def test_the_digest_names_the_content(tmp_path: Path) -> None:
    first = save_bundle(tmp_path / "first", sample())
    again = save_bundle(tmp_path / "again", sample())
    other_weights = {name: values + 1 for name, values in sample().weights.items()}
    other = save_bundle(tmp_path / "other", replace(sample(), weights=other_weights))
    assert first.digest == again.digest != other.digest


@pytest.mark.parametrize("name", [WEIGHTS, INITIAL_BANK, CALIBRATION])
def test_a_changed_file_is_named(tmp_path: Path, name: str) -> None:
    save_bundle(tmp_path / "lobby", sample())
    path = tmp_path / "lobby" / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(BundleError, match=rf"{name}' must have SHA-256 .* copy the bundle again"):
        load_bundle(tmp_path / "lobby")


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS, INITIAL_BANK, CALIBRATION])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    save_bundle(tmp_path / "lobby", sample())
    (tmp_path / "lobby" / name).unlink()
    with pytest.raises(BundleError, match=rf"must have '{name}'.*engram train"):
        load_bundle(tmp_path / "lobby")


def test_the_light_reader_does_not_need_the_weights(tmp_path: Path) -> None:
    save_bundle(tmp_path / "lobby", sample())
    (tmp_path / "lobby" / WEIGHTS).unlink()
    assert load_initial_bank(tmp_path / "lobby").items_MC.shape == (5, 8)


@pytest.mark.parametrize("change", [{"schema_version": 2}, {"surprise": 1}, {"width": 0}])
def test_a_manifest_of_another_kind_is_refused(tmp_path: Path, change: dict[str, int]) -> None:
    save_bundle(tmp_path / "lobby", sample())
    path = tmp_path / "lobby" / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BundleError, match=r"must be a manifest of version 1: (schema_version|surprise|width)"):
        load_bundle(tmp_path / "lobby")


def test_items_must_be_finite(tmp_path: Path) -> None:
    items_MC = sample().items_MC.copy()
    items_MC[2, 3] = np.nan
    with pytest.raises(BundleError, match=r"must hold finite 'items'"):
        save_bundle(tmp_path / "lobby", replace(sample(), items_MC=items_MC))


def test_an_existing_folder_is_never_overwritten(tmp_path: Path) -> None:
    save_bundle(tmp_path / "lobby", sample())
    before = (tmp_path / "lobby" / MANIFEST).read_bytes()
    with pytest.raises(BundleError, match="must not exist yet"):
        save_bundle(tmp_path / "lobby", sample(1))
    assert (tmp_path / "lobby" / MANIFEST).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["lobby"]


def test_a_wrong_bundle_stops_a_process() -> None:
    assert issubclass(BundleError, FatalError)


def test_the_places_of_a_frame_are_known_without_the_network() -> None:
    """The shipped bundle's network halves 128 x 96 twice; a bundle that names no depth has one place a pixel."""
    shipped = load_bundle(shipped_bundle(WALKWAY))
    assert shipped.manifest.places_per_frame == 32 * 24
    assert load_initial_bank(shipped_bundle(WALKWAY)).places_per_frame == 32 * 24
    assert shipped.manifest.model_copy(update={"parameters": {}}).places_per_frame == 128 * 96
