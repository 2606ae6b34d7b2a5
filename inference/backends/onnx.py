"""The network in ONNX Runtime, on the CPU."""

from collections.abc import Mapping

import onnxruntime

from schemas.arrays import Float32, UInt8

MODEL = "model.onnx"


class OnnxBackend:
    """Runs the files of an ``onnx`` export.

    Args:
        files: of the export, by name.
        threads: of this session; None = the library's choice.
    """

    def __init__(self, files: Mapping[str, bytes], threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(files[MODEL], options, providers=["CPUExecutionProvider"])
        self._inputs = [given.name for given in self._session.get_inputs()]
        self._outputs = [made.name for made in self._session.get_outputs()]

    def __call__(self, clips_BTHWK: UInt8, items_BMC: Float32) -> Mapping[str, Float32]:
        """See ``Backend``."""
        given = dict(zip(self._inputs, (clips_BTHWK, items_BMC), strict=False))  # banks only where they are read
        return dict(zip(self._outputs, self._session.run(None, given), strict=True))
