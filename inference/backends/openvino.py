"""The network in OpenVINO, on the CPU, in single precision or with convolutions in 8 bits."""

from collections.abc import Mapping

import openvino

from schemas.arrays import Float32, UInt8

MODEL, WEIGHTS = "model.xml", "model.bin"


class OpenvinoBackend:
    """Runs the files of an ``openvino`` or ``openvino-int8`` export.

    Args:
        files: of the export, by name.
        threads: of this network; None = the library's choice.
    """

    def __init__(self, files: Mapping[str, bytes], threads: int | None = None) -> None:
        core = openvino.Core()
        model = core.read_model(files[MODEL], files[WEIGHTS])
        self._num_inputs = len(model.inputs)
        self._outputs = [made.get_any_name() for made in model.outputs]
        self._request = core.compile_model(model, "CPU", _properties(threads)).create_infer_request()

    def __call__(self, clips_BTHWK: UInt8, items_BMC: Float32) -> Mapping[str, Float32]:
        """See ``Backend``."""
        given = (clips_BTHWK, items_BMC)[: self._num_inputs]  # banks only where they are read
        results = self._request.infer(given)
        return {name: results[index] for index, name in enumerate(self._outputs)}


def _properties(threads: int | None) -> dict[str, object]:
    properties: dict[str, object] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the CPU has it, and other scores than elsewhere
        "ENABLE_CPU_PINNING": False,  # else all workers of a machine crowd on its first cores
    }
    return properties if threads is None else {**properties, "INFERENCE_NUM_THREADS": threads}
