"""What every backend offers.

Dimensions: B clips, T frames, H x W pixels, K colours, M items, C channels.
"""

from collections.abc import Callable, Mapping

from schemas.arrays import Float32, UInt8

Backend = Callable[[UInt8, Float32], Mapping[str, Float32]]
"""Clips (B, T, H, W, K) and banks (B, M, C) to arrays by their names in ``networks.measurement.OUTPUTS``."""
