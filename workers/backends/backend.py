"""What every backend offers.

Dimensions: B clips, T frames, H x W pixels, K colours, M items, C channels.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]
Backend = Callable[[UInt8, Float32], Sequence[Float32]]
"""Clips (B, T, H, W, K) and banks (B, M, C) to the arrays of ``networks.measurement.Measured``, those that exist."""
