"""With and without memory, over seeds: trainings of a few steps, then the arithmetic of the table."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundles.bundle import load_bundle
from networks.mnad import MnadPrediction
from networks.network import Recipe
from schemas.errors import FatalError, SettingsError
from tests.unit.training.labelled_scene import write_clip, write_scene
from training.evaluation.ablation import Ablation, AblationOptions, Memory, Row, Variant, ablate, as_json
from training.loop.state import CHECKPOINT

RECIPE = Recipe({"width": 4, "depth": 3, "num_items": 4}, 32, 24, "grey", epochs=1, max_steps=4, learning_rate=1e-3)


@pytest.fixture(scope="module")
def small_recipe() -> Iterator[pytest.MonkeyPatch]:
    patch = pytest.MonkeyPatch()
    patch.setitem(MnadPrediction.recipes, "tiny", RECIPE)
    yield patch
    patch.undo()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, small_recipe: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("ablation")
    write_scene(folder / "data")
    for name in "abcd":
        write_clip(folder / "data" / "train" / name, 0, 60, camera=name)
    return folder


def options(place: Path) -> AblationOptions:
    return AblationOptions(place / "out", place / "cache", preset="tiny", seeds=(5,), max_steps=3, device="cpu")


@pytest.fixture(scope="module")
def found(place: Path) -> Ablation:
    return ablate(place / "data", options(place))


def test_every_variant_is_measured_by_both_protocols(found: Ablation) -> None:
    assert [row.name for row in found.rows] == ["no memory", "frozen", "gated"]
    for row in found.rows:
        assert len(row.aucs) == 1
        assert all(0 <= aucs[name] <= 1 for aucs in row.aucs for name in ("paper", "live"))


def test_the_networks_are_what_their_names_say(found: Ablation, place: Path) -> None:
    without, memory = (load_bundle(place / "out" / f"{name}-seed-5" / "bundle") for name in ("no-memory", "memory"))
    assert without.items_MC.shape == (0, 0)
    assert len(memory.items_MC) == 4
    assert (memory.manifest.seed, without.manifest.seed) == (5, 5)


def test_finished_networks_are_found_again(found: Ablation, place: Path) -> None:
    bundles = sorted((place / "out").glob("*/bundle/manifest.json"))
    assert len(bundles) == 2
    before = [path.stat().st_mtime_ns for path in bundles]
    again = ablate(place / "data", options(place))
    assert [path.stat().st_mtime_ns for path in bundles] == before
    assert again.rows == found.rows


def test_an_unfinished_training_goes_on(found: Ablation, place: Path) -> None:
    """A crash after the last checkpoint: the bundle is missing, the run is there."""
    folder = place / "out" / "memory-seed-5"
    digest = load_bundle(folder / "bundle").digest
    for path in (folder / "bundle").iterdir():
        path.unlink()
    (folder / "bundle").rmdir()
    assert (folder / "run" / CHECKPOINT).exists()
    ablate(place / "data", options(place))
    assert load_bundle(folder / "bundle").digest == digest


def test_other_settings_need_another_folder(found: Ablation, place: Path) -> None:
    with pytest.raises(FatalError, match=r"differs in max_steps \(was 3, now 2\); give another --out"):
        ablate(place / "data", replace(options(place), max_steps=2))


@pytest.mark.parametrize("model", ["memae", "mpn"])
def test_networks_whose_memory_cannot_be_left_out(place: Path, model: str) -> None:
    with pytest.raises(SettingsError, match=f"mnad-prediction, mnad-reconstruction; got '{model}'"):
        ablate(place / "data", replace(options(place), model=model, preset="light"))


@pytest.mark.parametrize("name", ["memory", "no-memory"])
def test_names_must_differ(place: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=f"'{name}' is there twice"):
        ablate(place / "data", replace(options(place), variants=(Variant(name, {"temperature": "1"}),)))


def test_a_variant_is_checked_before_anything_is_trained(place: Path, tmp_path: Path) -> None:
    wrong = replace(options(place), out=tmp_path / "out", variants=(Variant("x", {"temprature": "1"}),))
    with pytest.raises(SettingsError, match="did you mean 'temperature'"):
        ablate(place / "data", wrong)
    assert not (tmp_path / "out").exists()


def table(*rows: Row) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(
        json.dumps(as_json(Ablation(Path("data"), AblationOptions(Path(), Path()), rows)))
    )
    return told


def row(variant: str, memory: Memory, paper: list[float]) -> Row:
    return Row(variant, memory, tuple({"paper": auc, "live": auc / 2} for auc in paper))


def test_rows_of_variants_bear_their_name() -> None:
    told = table(row("no-memory", "none", [0.7]), row("sharp", "frozen", [0.8]), row("sharp", "gated", [0.9]))
    assert [each["name"] for each in told["frame_auc"]] == ["no memory", "sharp, frozen", "sharp, gated"]
    assert [each["name"] for each in told["difference_to_no_memory"]] == ["sharp, frozen", "sharp, gated"]


def test_gains_are_paired_by_seed() -> None:
    """Both vary by 0.1 from seed to seed, their difference hardly at all."""
    told = table(row("no-memory", "none", [0.7, 0.8, 0.9]), row("memory", "gated", [0.71, 0.81, 0.92]))
    none, gated = told["frame_auc"]
    assert none["paper"]["mean"] == pytest.approx(0.8)
    assert none["paper"]["spread"] == pytest.approx(0.1)
    assert gated["live"]["by_seed"] == pytest.approx([0.355, 0.405, 0.46])
    (gain,) = told["difference_to_no_memory"]
    assert gain["name"] == "gated"
    assert gain["paper"]["by_seed"] == pytest.approx([0.01, 0.01, 0.02])
    assert gain["paper"]["mean"] == pytest.approx(0.04 / 3)
    assert gain["paper"]["spread"] == pytest.approx(np.std([0.01, 0.01, 0.02], ddof=1))


def test_one_seed_has_no_spread() -> None:
    told = table(row("no-memory", "none", [0.7]), row("memory", "frozen", [0.8]))
    assert told["frame_auc"][0]["paper"]["spread"] is None
    assert told["difference_to_no_memory"][0]["paper"]["spread"] is None
