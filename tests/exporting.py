"""What tests of exports need to be installed."""

from pathlib import Path

import pytest

from bundles.exports import ExportFormat

MODULES: dict[str, tuple[str, ...]] = {
    "torch-export": (),
    "onnx": ("onnxruntime", "onnx", "onnxscript"),
    "openvino": ("openvino",),
    "openvino-int8": ("openvino", "nncf"),
}


def exported(bundle: Path, kind: ExportFormat, data: Path | None = None, num_clips: int = 300) -> Path:
    """Export into the bundle, or skip and say what to install; a later call finds the export."""
    for module in MODULES[kind]:
        pytest.importorskip(module, reason=f"{module} is absent: pip install 'engram[export]'")
    from bundles.exports import export_folder
    from training.export.making import ExportOptions, export_bundle

    folder = export_folder(bundle, kind)
    if not folder.exists():
        export_bundle(
            bundle,
            kind,
            ExportOptions(data=(data,) if data else (), num_clips=num_clips, cache=bundle.parent / "cache"),
        )
    return folder
