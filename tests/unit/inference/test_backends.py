"""Which backend is chosen and why, and that the live score goes with it."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bundles.bundle import Bundle, load_bundle, save_bundle
from bundles.exports import ExportFormat, Parity, Sidecar, export_folder, save_export
from inference.backends import choose as choosing
from inference.backends.choose import choose, export_backend
from inference.backends.torch import torch_device
from inference.engine import engine_of
from inference.loading import open_engine
from schemas.errors import BundleError, FatalError
from schemas.settings.detection import BackendSetting
from tests.exporting import exported
from tests.small_bundle import small_bundle

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return save_bundle(tmp_path / "bundle", small_bundle())


@pytest.fixture
def place(bundle: Bundle, tmp_path: Path) -> Path:
    return tmp_path / "bundle"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What counts as installed; everything until a test takes it away."""
    found = {"openvino", "onnxruntime"}
    monkeypatch.setattr(choosing, "find_spec", lambda name: name if name in found else None)
    return found


def carry(place: Path, *kinds: ExportFormat) -> None:
    for kind in kinds:
        told = Sidecar(
            format=kind,
            bundle_digest=load_bundle(place).digest,
            digests={},
            libraries={},
            parity=Parity(num_clips=1, worst={}),
        )
        save_export(export_folder(place, kind), told, {"model": kind.encode()})


def chosen(place: Path, wanted: BackendSetting = "auto", device: torch.device = CPU) -> choosing.Choice:
    return choose(wanted, device, place, load_bundle(place).digest)


def test_auto_is_torch_where_nothing_else_is_carried(place: Path, installed: set[str]) -> None:
    choice = chosen(place)
    assert (choice.name, choice.export) == ("torch", None)
    assert "carries no export; 'engram export'" in choice.why


def test_auto_takes_the_fastest_that_changes_no_score(place: Path, installed: set[str]) -> None:
    carry(place, "openvino-int8")
    assert chosen(place).name == "torch"
    carry(place, "onnx")
    assert chosen(place).name == "onnx"
    carry(place, "openvino")
    choice = chosen(place)
    assert choice.name == "openvino"
    assert choice.export is not None
    assert choice.export.files == {"model": b"openvino"}


def test_auto_on_a_gpu_is_torch(place: Path, installed: set[str]) -> None:
    carry(place, "openvino")
    choice = chosen(place, device=CUDA)
    assert (choice.name, choice.why) == ("torch", "the only one for cuda")


def test_auto_passes_over_a_library_that_is_not_installed_and_says_so(place: Path, installed: set[str]) -> None:
    carry(place, "openvino", "onnx")
    installed.remove("openvino")
    assert chosen(place).name == "onnx"
    installed.remove("onnxruntime")
    choice = chosen(place)
    assert choice.name == "torch"
    assert "engram[openvino], engram[onnx]" in choice.why
    assert choice.remedy == "pip install 'engram[openvino]', or set worker.backend to torch"


def test_a_faster_backend_that_is_missed_is_warned_of(
    place: Path, installed: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    carry(place, "onnx")
    installed.clear()
    open_engine(place, "cpu", 1)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("backend torch: the bundle carries onnx, which need an extra that is not")
    assert record.getMessage().endswith("; pip install 'engram[onnx]', or set worker.backend to torch")


def test_what_was_asked_for_is_had_or_refused(place: Path, installed: set[str]) -> None:
    carry(place, "openvino", "onnx")
    assert chosen(place, "torch").name == "torch"
    assert chosen(place, "onnx").name == "onnx"
    with pytest.raises(FatalError, match=r"needs an export in .*openvino-int8', there is none; engram export --bundle"):
        chosen(place, "openvino-int8")
    with pytest.raises(FatalError, match=r"runs on the CPU, the device is cuda; set worker.device to cpu"):
        chosen(place, "openvino", CUDA)
    installed.remove("onnxruntime")
    with pytest.raises(FatalError, match=r"needs onnxruntime, which is not installed; pip install 'engram\[onnx\]'"):
        chosen(place, "onnx")


def test_eight_bits_need_a_calibration_of_their_own(place: Path, installed: set[str]) -> None:
    carry(place, "openvino-int8")
    with pytest.raises(BundleError, match=r"must hold 'calibration.json'"):
        chosen(place, "openvino-int8")


@pytest.mark.parametrize("wanted", ["auto", "openvino"])
def test_an_export_of_another_bundle_is_an_error_not_a_reason_for_torch(
    place: Path, installed: set[str], wanted: BackendSetting
) -> None:
    carry(place, "openvino")
    with pytest.raises(BundleError, match="must be made from bundle"):
        choose(wanted, CPU, place, "0" * 64)


def test_a_format_no_worker_runs_is_refused() -> None:
    with pytest.raises(FatalError, match="got 'torch-export'"):
        export_backend("torch-export", {})


def test_the_choice_is_logged(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "inference.loading"):
        open_engine(place, "cpu", 1)
    (record,) = caplog.records
    assert record.getMessage().startswith("backend torch: the bundle carries no export")


def test_the_engine_scores_by_the_calibration_of_its_backend(place: Path, bundle: Bundle) -> None:
    exported(place, "openvino")
    choice = chosen(place)
    own = bundle.calibration.model_copy(update={"gate_threshold": 0.123})
    assert choice.export is not None
    engine = engine_of(bundle, "cpu", 1, replace(choice, export=replace(choice.export, calibration=own)))
    assert engine.bundle.calibration == own
    assert engine.bundle.digest == bundle.digest
    assert engine_of(bundle, "cpu", 1, choice).bundle.calibration == bundle.calibration


@pytest.mark.parametrize("name", ["cuda:97", "mps:3"])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(FatalError, match=f"worker.device '{name}' must be .* set it to auto or cpu"):
        torch_device(name)


def test_auto_and_cpu_are_always_there() -> None:
    assert torch_device("cpu").type == "cpu"
    assert torch_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_device_may_be_named_with_its_number() -> None:
    assert torch_device("cpu:0").type == "cpu"
    with pytest.raises(FatalError, match=r"'cuda:97' must be a GPU that is there, torch .* sees \d+ here"):
        torch_device("cuda:97")
