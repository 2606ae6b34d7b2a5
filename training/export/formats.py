"""A traced network as the files of each format."""

import io
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openvino
import torch
from torch.export import ExportedProgram

from inference.backends import onnx
from inference.backends import openvino as runtime
from networks.measurement import OUTPUTS
from training.export.tracing import INPUTS

TORCH_PROGRAM = "model.pt2"
TALKATIVE = ("torch.onnx", "onnxscript", "onnx_ir")
"""What these say while they convert means nothing to whoever exports a bundle; failures are raised."""


def torch_files(program: ExportedProgram) -> Mapping[str, bytes]:
    """For ``torch.export.load``."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return {TORCH_PROGRAM: buffer.getvalue()}


def onnx_files(program: ExportedProgram) -> Mapping[str, bytes]:
    """One file with its weights inside."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    inputs, outputs = _names(program)
    made = torch.onnx.export(
        program, dynamo=True, external_data=False, verbose=False, input_names=inputs, output_names=outputs
    )
    assert made is not None, "an export that is given no file name returns what it made"
    return {onnx.MODEL: made.model_proto.SerializeToString()}


def openvino_model(program: ExportedProgram) -> Any:
    """OpenVINO's own conversion, which needs no ONNX between: fewer steps, fewer surprises."""
    model = openvino.convert_model(program)
    inputs, outputs = _names(program)
    for port, name in zip([*model.inputs, *model.outputs], [*inputs, *outputs], strict=True):
        port.get_tensor().set_names({name})
    shapes = [value.meta["val"].shape for value in _placeholders(program)]
    model.reshape({name: [-1, *map(int, shape[1:])] for name, shape in zip(inputs, shapes, strict=True)})
    return model


def openvino_files(model: Any) -> Mapping[str, bytes]:
    """Graph and weights. Weights stay in single precision, unlike the library's default."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, runtime.MODEL)
        openvino.save_model(model, path, compress_to_fp16=False)
        return {name: Path(folder, name).read_bytes() for name in (runtime.MODEL, runtime.WEIGHTS)}


def _names(program: ExportedProgram) -> tuple[list[str], list[str]]:
    signature = program.graph_signature
    return list(INPUTS[: len(signature.user_inputs)]), list(OUTPUTS[: len(signature.user_outputs)])


def _placeholders(program: ExportedProgram) -> list[torch.fx.Node]:
    given = set(program.graph_signature.user_inputs)
    return [node for node in program.graph.nodes if node.op == "placeholder" and node.name in given]
