"""What every backend offers.

Dimensions: B clips, T frames, H x W pixels, K colours, M items, C channels.
"""

from collections.abc import Callable, Sequence

from schemas.arrays import Float32, UInt8

Backend = Callable[[UInt8, Float32], Sequence[Float32]]
"""Clips (B, T, H, W, K) and banks (B, M, C) to the arrays of ``networks.measurement.Measured``, those that exist."""
