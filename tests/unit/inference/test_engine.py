"""The engine on every backend: batches do not matter, banks do, folding does not, nonsense is told from a score."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bundles.bundle import Bundle, load_bundle, save_bundle
from inference.engine import ClipResult, Engine, Predictor, engine_of, network_of
from inference.formats import ClipFormat, FrameFormat
from inference.loading import open_engine
from inference.motion import cell_speeds
from networks.memory import hold_against
from networks.network import to_unit_range
from schemas.errors import BundleError, FatalError
from tests.exporting import exported
from tests.small_bundle import HEIGHT, PARAMETERS, WIDTH, small_bundle

NUM_CLIPS = 8


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine") / "bundle"
    save_bundle(folder, trained_statistics(small_bundle()))
    return folder


@pytest.fixture(scope="module")
def bundle(place: Path) -> Bundle:
    return load_bundle(place)


@pytest.fixture(scope="module", params=["torch", "onnx", "openvino"])
def engine(request: pytest.FixtureRequest, place: Path) -> Engine:
    """Whatever holds of an engine holds on every backend."""
    if request.param != "torch":
        exported(place, request.param)
    return open_engine(place, "cpu", threads=1, backend=request.param)


@pytest.fixture
def predictor(engine: Engine) -> Predictor:
    return engine.predictor


def trained_statistics(bundle: Bundle) -> Bundle:
    """Batch norm as after training; a fresh network's folds to nothing."""
    random = np.random.default_rng(3)
    weights = dict(bundle.weights)
    for name, values in weights.items():
        if name.endswith("running_var"):
            weights[name] = random.uniform(0.5, 1.5, values.shape).astype(np.float32)
        elif name.endswith("running_mean"):
            weights[name] = random.normal(0, 0.2, values.shape).astype(np.float32)
    return replace(bundle, weights=weights)


def clips(bundle: Bundle) -> NDArray[np.uint8]:
    manifest = bundle.manifest
    shape = (NUM_CLIPS, manifest.clip_length, manifest.height, manifest.width, manifest.channels)
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def banks(bundle: Bundle) -> NDArray[np.float32]:
    rows = np.random.default_rng(2).normal(size=(NUM_CLIPS, *bundle.items_MC.shape))
    return (rows / np.linalg.norm(rows, axis=2, keepdims=True)).astype(np.float32)


def flat(result: ClipResult) -> NDArray[np.float64]:
    sums = result.sums
    numbers = [result.psnr_db, result.regular_score, result.clip_error, result.feature_distance]
    maps = [result.cell_errors_RS.ravel(), result.cell_speeds_RS.ravel()]
    return np.concatenate([numbers, *maps, sums.running_max_M, sums.counts_M, sums.sums_MC.ravel()])


@pytest.mark.parametrize("size", [1, 3, 8])
def test_the_batch_does_not_matter(predictor: Predictor, bundle: Bundle, size: int) -> None:
    all_clips, all_banks = clips(bundle), banks(bundle)
    found: list[ClipResult] = []
    for begin in range(0, NUM_CLIPS, size):
        found += predictor.infer(list(all_clips[begin : begin + size]), all_banks[begin : begin + size])
    whole = predictor.infer(list(all_clips), all_banks)
    assert len(found) == NUM_CLIPS
    for one, other in zip(found, whole, strict=True):
        assert np.allclose(flat(one), flat(other), rtol=1e-5, atol=1e-5)


def test_speeds_that_the_calibration_ignores_are_not_computed() -> None:
    weighed = small_bundle()
    ignoring = replace(weighed, calibration=weighed.calibration.model_copy(update={"speed_scale": None}))
    moved, still = (
        engine_of(each, "cpu").predictor.infer([clips(each)[0]], banks(each)[:1])[0] for each in (weighed, ignoring)
    )
    assert weighed.calibration.speed_scale is not None
    assert moved.cell_speeds_RS.any()
    assert not still.cell_speeds_RS.any()
    assert still.cell_speeds_RS.shape == moved.cell_speeds_RS.shape
    assert np.array_equal(still.cell_errors_RS, moved.cell_errors_RS)


def test_each_clip_reads_its_own_bank(predictor: Predictor, bundle: Bundle) -> None:
    clip, all_banks = clips(bundle)[0], banks(bundle)
    first, second, third = predictor.infer([clip] * 3, all_banks[[0, 1, 0]])
    assert np.allclose(flat(first), flat(third), atol=1e-6)
    assert first.feature_distance != pytest.approx(second.feature_distance)
    assert not np.array_equal(first.cell_errors_RS, second.cell_errors_RS)


def test_results_are_those_of_the_plain_network(predictor: Predictor, bundle: Bundle) -> None:
    """Folding, layout and packing change nothing: measures and proposals are computed here anew, in numpy."""
    network, all_clips, all_banks = network_of(bundle), clips(bundle), banks(bundle)
    results = predictor.infer(list(all_clips), all_banks)
    inputs, target = network.split(to_unit_range(torch.from_numpy(all_clips).permute(0, 1, 4, 2, 3)))
    with torch.inference_mode():
        queries: list[torch.Tensor] = []
        assert isinstance(network.query, torch.nn.Module)
        network.query.register_forward_hook(lambda _module, _inputs, output: queries.append(output))
        image = network(inputs, torch.from_numpy(all_banks)).image
        reading = hold_against(queries[0], torch.from_numpy(all_banks))
    error = ((image - target) / 2).square().numpy()
    for index, result in enumerate(results):
        assert result.finite
        assert result.psnr_db == pytest.approx(-10 * np.log10(error[index].mean()), rel=1e-5)
        assert result.clip_error == pytest.approx(np.abs((image - target)[index].numpy()).mean(), rel=1e-5)
        assert result.feature_distance == pytest.approx(reading.distance()[index].item(), rel=1e-6)
        assert result.cell_errors_RS.shape == (6, 8)
        assert result.cell_errors_RS[1, 2] == pytest.approx(error[index, 0, 4:8, 8:12].mean(), rel=1e-4)
        assert np.allclose(result.cell_speeds_RS, cell_speeds(*all_clips[index, -2:]), atol=1e-4)
        sums, counts = result.sums, np.bincount(reading.nearest_BN[index].numpy(), minlength=len(result.sums.counts_M))
        assert np.array_equal(sums.counts_M, counts)
        assert np.allclose(sums.running_max_M, reading.similarity_BMN[index].amax(dim=1).numpy(), atol=1e-5)


@pytest.mark.parametrize("model", sorted(PARAMETERS))
def test_every_network_is_measured(model: str) -> None:
    bundle = small_bundle(model=model)
    predictor = engine_of(bundle, device="cpu").predictor
    shape = predictor.clip_format.length, HEIGHT, WIDTH, 1
    clip = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    (result,) = predictor.infer([clip], bundle.items_MC[None])
    assert result.finite
    assert result.sums.sums_MC.shape == bundle.items_MC.shape
    assert result.sums.counts_M.sum() == (result.cell_errors_RS.size if bundle.items_MC.size else 0)
    assert result.cell_speeds_RS.any() == (predictor.clip_format.length > 1)


def test_a_broken_bank_is_flagged_not_scored(predictor: Predictor, bundle: Bundle) -> None:
    all_banks = banks(bundle)
    all_banks[1, 2, 0] = np.nan
    found = predictor.infer(list(clips(bundle)), all_banks)
    assert [result.finite for result in found] == [True, False, *[True] * 6]


def test_clips_are_read_only_input(predictor: Predictor, bundle: Bundle) -> None:
    """Banks lie over immutable bytes; neither they nor the frames may be written to."""
    clip, bank = clips(bundle)[0], banks(bundle)[:1]
    before = clip.copy(), bank.copy()
    clip.setflags(write=False)
    bank.setflags(write=False)
    predictor.infer([clip], bank)
    assert np.array_equal(clip, before[0])
    assert np.array_equal(bank, before[1])


def test_no_clips_no_results(predictor: Predictor, bundle: Bundle) -> None:
    assert predictor.infer([], np.empty((0, *bundle.items_MC.shape), np.float32)) == []


def test_shapes_that_do_not_fit_are_explained(predictor: Predictor, bundle: Bundle) -> None:
    with pytest.raises(FatalError, match=r"a clip must be uint8 of shape \(5, 24, 32, 1\), got uint8 \(4, 24, 32, 1\)"):
        predictor.infer([clips(bundle)[0, :4]], banks(bundle)[:1])
    with pytest.raises(FatalError, match=r"items must have shape \(1, 6, 16\), got \(1, 5, 16\)"):
        predictor.infer([clips(bundle)[0]], banks(bundle)[:1, :5])
    with pytest.raises(FatalError, match=r"a clip must be uint8 .* got float32 .* decode frames to the bundle's size"):
        predictor.infer([clips(bundle)[0].astype(np.float32)], banks(bundle)[:1])
    with pytest.raises(FatalError, match=r"items must have shape \(2, 6, 16\), got \(1, 6, 16\); the bank belongs"):
        predictor.infer(list(clips(bundle)[:2]), banks(bundle)[:1])


def test_the_frame_format_is_the_bundles(engine: Engine, bundle: Bundle) -> None:
    assert engine.predictor.frame_format == FrameFormat(32, 24, 1)
    assert engine.predictor.clip_format == ClipFormat(5)
    assert engine.bundle.digest == bundle.digest
    assert engine.bundle.calibration == bundle.calibration


def test_a_size_the_network_cannot_halve_is_refused(bundle: Bundle) -> None:
    with pytest.raises(FatalError, match=r"multiples of 4, got 32 x 30"):
        engine_of(replace(bundle, manifest=bundle.manifest.model_copy(update={"height": 30})), device="cpu")


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape", "model", "parameter"])
def test_weights_that_do_not_fit_are_refused(bundle: Bundle, change: str) -> None:
    weights, manifest = dict(bundle.weights), bundle.manifest
    if change == "missing":
        weights.pop("head.weight")
    elif change == "unexpected":
        weights["more"] = np.zeros(3, np.float32)
    elif change == "shape":
        weights["head.bias"] = np.zeros(7, np.float32)
    elif change == "model":
        manifest = manifest.model_copy(update={"model": "nosuch"})
    else:
        manifest = manifest.model_copy(update={"parameters": {"breadth": 4}})
    with pytest.raises(BundleError, match="train it again with this version"):
        engine_of(replace(bundle, weights=weights, manifest=manifest), device="cpu")


@pytest.mark.parametrize("told", [{"clip_length": 7}, {"channels": 3}])
def test_a_manifest_whose_clips_its_network_cannot_take_is_refused_at_once(
    bundle: Bundle, told: dict[str, int]
) -> None:
    with pytest.raises(BundleError, match="clips of 5 frames of 1 channels, as its network"):
        engine_of(replace(bundle, manifest=bundle.manifest.model_copy(update=told)), device="cpu")
