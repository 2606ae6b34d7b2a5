"""What computes a network: one module per library, each imported only where it is used, and the choice among them."""

import sys

# OpenVINO and its tools report their use to their makers where this package is found, and do without where it is not.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
