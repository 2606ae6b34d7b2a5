"""Exports measure what the network in torch does, whatever the batch; in 8 bits nearly, with their own calibration."""

import io
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from bundles.bundle import Bundle, load_bundle, save_bundle
from bundles.exports import ExportFormat, Parity, export_folder, load_export
from inference.backends.torch import TorchBackend
from inference.error_map import weigh_errors
from inference.formats import FrameFormat
from inference.loading import open_engine
from inference.scoring import Smoothing, live_score
from networks.measurement import NUM_MEASURES, OUTPUTS
from networks.network import VideoNetwork
from schemas.errors import BundleError, FatalError
from tests.exporting import exported
from tests.small_bundle import small_bundle
from tests.unit.networks.small import NAMES, small_network
from tests.unit.training.small_footage import HEIGHT, MINIATURE, WIDTH, write_images
from training.evaluation.measuring import measure_videos
from training.export.making import TOLERANCE, ExportOptions, export_bundle, opened, parity, require_parity
from training.export.tracing import traced
from training.footage.dataset import CacheFormat, open_cache
from training.footage.sources import find_sources
from training.options import TrainOptions
from training.train import train

RELATIVE = 2e-5
"""Seen: 4e-6."""
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in NAMES},
    "without memory": ("mnad-prediction", {"num_items": 0}),
    "the paper's update, colour": ("mnad-prediction", {"update_maximum": "assigned", "channels": 3}),
    "cosine, step": ("memae", {"addressing": "cosine", "shrinking": "step"}),
}
CONVERTED: list[tuple[str, ExportFormat]] = [
    *((variant, "openvino") for variant in VARIANTS),
    *((name, "onnx") for name in ("mnad-prediction", "memae", "mpn")),
    *((name, "torch-export") for name in ("mnad-prediction", "memae", "mpn")),
]
"""All variants in one format, which is made from the same graph as the others; those take up to ten seconds each."""


def frame_of(network: VideoNetwork) -> FrameFormat:
    side = 2 * network.shape.size_multiple
    return FrameFormat(side + network.shape.size_multiple, side, network.shape.channels)


def clips_and_items(network: VideoNetwork, count: int) -> tuple[np.ndarray, np.ndarray]:
    random, frame = np.random.default_rng(count), frame_of(network)
    shape = (count, network.shape.clip_length, frame.height, frame.width, frame.channels)
    bank = network.bank_shape
    rows = random.normal(size=(count, bank.num_items, bank.item_dim)) if bank else np.ones((count, 0, 0))
    items = rows / np.linalg.norm(rows, axis=2, keepdims=True)
    return random.integers(0, 256, shape, dtype=np.uint8), items.astype(np.float32)


@cache
def network_and_program(variant: str) -> tuple[VideoNetwork, torch.export.ExportedProgram]:
    """Traced once for all formats."""
    name, changed = VARIANTS[variant]
    network = small_network(name, **changed).eval()
    return network, traced(network, frame_of(network))


@pytest.mark.parametrize(("variant", "kind"), CONVERTED)
def test_every_network_in_every_format_measures_the_same(variant: str, kind: ExportFormat) -> None:
    """Update statistics too, and with a bank of its own for each clip."""
    if kind == "onnx":
        for module in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(module, reason="pip install 'engram[export]'")
    pytest.importorskip("openvino", reason="pip install 'engram[export]'")
    from training.export.formats import onnx_files, openvino_files, openvino_model, torch_files

    network, program = network_and_program(variant)
    if kind == "openvino":
        files = openvino_files(openvino_model(program))
    else:
        files = {"onnx": onnx_files, "torch-export": torch_files}[kind](program)
    backend, reference = opened(kind, files), TorchBackend(network, torch.device("cpu"))
    for count in (1, 3, 8):
        given = clips_and_items(network, count)
        found, wanted = backend(*given), reference(*given)
        assert list(found) == list(wanted) == list(OUTPUTS if network.bank_shape else OUTPUTS[:-3])
        for output in wanted:
            a, b = found[output], wanted[output]
            assert a.shape == b.shape, output
            seen = b > -1e30  # an item nobody chose has a maximum of hugely below
            assert np.abs((a - b)[seen]).max(initial=0.0) <= RELATIVE * np.abs(b[seen]).max(initial=1e-9), output
            assert np.array_equal(seen, a > -1e30), output


def test_tracing_leaves_the_network_as_it_is() -> None:
    network = small_network("mnad-prediction").eval()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    traced(network, frame_of(network))
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())


def test_parity_is_the_worst_share_of_the_largest_value() -> None:
    clips, items_MC = np.zeros((4, 1, 1, 1, 1), np.uint8), np.zeros((0, 0), np.float32)

    def torch_like(given: np.ndarray, _items: np.ndarray) -> dict[str, np.ndarray]:
        zeros = dict.fromkeys(OUTPUTS[1:NUM_MEASURES], np.zeros(len(given), np.float32))
        return {"psnr_db": np.full(len(given), 20.0, np.float32), **zeros}

    def off(given: np.ndarray, items: np.ndarray) -> dict[str, np.ndarray]:
        return {name: part + 0.5 for name, part in torch_like(given, items).items()}

    found = parity(off, torch_like, clips, items_MC)
    assert found == Parity(num_clips=4, worst={"psnr_db": 0.025} | dict.fromkeys(OUTPUTS[1:NUM_MEASURES], 0.5))
    with pytest.raises(
        FatalError, match=r"must measure what torch does to within 0.0001, differs by .*'psnr_db': 0.025"
    ):
        require_parity(found, "onnx")
    require_parity(parity(torch_like, torch_like, clips, items_MC), "onnx")


def test_what_teaches_the_memory_may_differ_but_no_measure_may() -> None:
    """A measure that is 0 on all clips is compared as it is; what lies at the tolerance is within it."""
    worst = dict.fromkeys(OUTPUTS, 0.0)
    require_parity(Parity(num_clips=1, worst={**worst, "counts": 1.0, "sums": 0.5, "running_max": 9.0}), "onnx")
    for measure in OUTPUTS[:NUM_MEASURES]:
        require_parity(Parity(num_clips=1, worst={**worst, measure: TOLERANCE}), "onnx")
        with pytest.raises(FatalError, match=rf"an export as openvino must .* differs by \{{'{measure}': 0.0002\}}"):
            require_parity(Parity(num_clips=1, worst={**worst, measure: 0.0002}), "openvino")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "bundle"
    save_bundle(folder, small_bundle())
    return folder


def test_the_sidecar_says_what_was_made_from_what(bundle: Path) -> None:
    digest = load_bundle(bundle).digest
    export = load_export(exported(bundle, "torch-export"), digest)
    assert export.sidecar.format == "torch-export"
    assert export.sidecar.libraries == {"torch": torch.__version__.partition("+")[0]}
    assert set(export.sidecar.parity.worst) == set(OUTPUTS)
    assert max(export.sidecar.parity.worst.values()) < TOLERANCE
    assert torch.export.load(io.BytesIO(export.files["model.pt2"])) is not None
    assert load_bundle(bundle).digest == digest


def test_an_export_is_made_once_and_never_overwritten(bundle: Path) -> None:
    exported(bundle, "torch-export")
    with pytest.raises(FatalError, match="must not exist yet; remove it to export again"):
        export_bundle(bundle, "torch-export", ExportOptions())


def test_elsewhere_it_is_no_part_of_the_bundle(bundle: Path, tmp_path: Path) -> None:
    made = export_bundle(bundle, "torch-export", ExportOptions(out=tmp_path / "here"))
    assert made == tmp_path / "here" / "torch-export"
    assert load_export(made, load_bundle(bundle).digest).sidecar.format == "torch-export"


def test_eight_bits_without_video_are_refused(bundle: Path) -> None:
    pytest.importorskip("nncf", reason="pip install 'engram[export]'")
    with pytest.raises(FatalError, match=r"needs normal video.*give --data"):
        export_bundle(bundle, "openvino-int8", ExportOptions())
    assert not export_folder(bundle, "openvino-int8").exists()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained bundle, exported in 8 bits, and footage whose second half flickers."""
    folder = tmp_path_factory.mktemp("eight-bits")
    for name in "abc":
        write_images(folder / "data" / name, 60)
    preset = replace(MINIATURE, recipe=replace(MINIATURE.recipe, epochs=8, max_steps=200))
    options = TrainOptions(folder / "run", folder / "cache", seed=3, device="cpu", reported=False)
    train([folder / "data"], folder / "bundle", preset, options)
    write_images(folder / "test" / "clip", 27, first=33)
    for index in range(60, 90):
        grey = np.full((HEIGHT, WIDTH, 3), 255 * (index % 2), np.uint8)
        assert cv2.imwrite(str(folder / "test" / "clip" / f"{index}.png"), grey)
    exported(folder / "bundle", "openvino-int8", folder / "data", num_clips=40)
    return folder


def live_scores(place: Path, backend: Any) -> list[float]:
    engine = open_engine(place / "bundle", "cpu", 1, backend)
    footage = open_cache(find_sources(place / "test"), CacheFormat(engine.predictor.frame_format), place / "cache")
    calibration, scores = engine.bundle.calibration, []
    state: Smoothing | None = None
    for result in measure_videos(engine.predictor, footage, footage.videos, engine.bundle.items_MC)[0]:
        live = live_score(weigh_errors(result, calibration.speed_scale).measures, state, calibration)
        state = live.smoothing
        scores.append(-live.log10_p)
    return scores


def test_in_eight_bits_it_finds_what_the_network_finds(place: Path) -> None:
    whole, eight = live_scores(place, "torch"), live_scores(place, "openvino-int8")
    labels = np.arange(33, 90)[-len(whole) :] >= 60
    assert roc_auc_score(labels, whole) > 0.9
    assert roc_auc_score(labels, eight) == pytest.approx(roc_auc_score(labels, whole), abs=0.003)
    assert eight != whole


def test_eight_bits_have_a_calibration_fitted_through_them(place: Path) -> None:
    bundle: Bundle = load_bundle(place / "bundle")
    engine = open_engine(place / "bundle", "cpu", 1, "openvino-int8")
    own = engine.bundle.calibration
    assert own != bundle.calibration
    assert own.num_frames == bundle.calibration.num_frames
    assert own.speed_scale is not None
    assert bundle.calibration.speed_scale is not None
    assert own.speed_scale.top_px == pytest.approx(bundle.calibration.speed_scale.top_px, rel=1e-3)
    assert (own.smoothing_s, own.cameras) == (bundle.calibration.smoothing_s, bundle.calibration.cameras)
    footage = open_cache(find_sources(place / "data"), CacheFormat(engine.predictor.frame_format), place / "cache")
    tail = replace(footage.videos[-1], first_frame=153, num_frames=27)
    psnr = [result.psnr_db for result in measure_videos(engine.predictor, footage, [tail], bundle.items_MC)[0]]
    assert own.psnr_db.mean == pytest.approx(np.mean(psnr), rel=1e-5)


def test_only_convolutions_are_in_eight_bits(place: Path) -> None:
    """Of the weights; and what is quantised on the way is read by convolutions, or on its way to one."""
    export = load_export(export_folder(place / "bundle", "openvino-int8"), load_bundle(place / "bundle").digest)
    import openvino

    model = openvino.Core().read_model(export.files["model.xml"], export.files["model.bin"])
    readers = {
        port.get_node().get_type_name()
        for operation in model.get_ops()
        if operation.get_type_name() == "FakeQuantize"
        for port in operation.output(0).get_target_inputs()
    }
    assert "Convolution" in readers
    assert readers <= {"Convolution", "ConvolutionBackpropData", "MaxPool", "Concat"}


def test_an_edited_export_is_refused_by_the_engine(place: Path) -> None:
    weights = export_folder(place / "bundle", "openvino-int8") / "model.bin"
    content = weights.read_bytes()
    try:
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(BundleError, match=r"model.bin' must have SHA-256"):
            open_engine(place / "bundle", "cpu", 1, "openvino-int8")
    finally:
        weights.write_bytes(content)
