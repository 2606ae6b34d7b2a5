"""How far an export is from the network it was made of."""

from collections.abc import Mapping

import numpy as np

from bundles.exports import Parity
from inference.backends.backend import Backend
from networks.measurement import NUM_MEASURES, OUTPUTS
from schemas.arrays import Float32, UInt8
from schemas.errors import FatalError

BATCH = 3
"""Not the one that was traced."""
TOLERANCE = 1e-4
MEASURES = OUTPUTS[:NUM_MEASURES]
"""Those that scores are made of. What a clip teaches the memory may differ by a whole query where two items are equally
near."""


def parity(backend: Backend, reference: Backend, clips_BTHWK: UInt8, items_MC: Float32) -> Parity:
    """Run both on the same clips. Values are compared with the largest of their output over all clips."""
    found, wanted = (_run(each, clips_BTHWK, items_MC) for each in (backend, reference))
    worst = {name: _deviation(found[name], wanted[name]) for name in wanted}
    return Parity(num_clips=len(clips_BTHWK), worst=worst)


def require_parity(found: Parity, kind: str) -> None:
    """Refuse an export that should measure the same and does not.

    Raises:
        FatalError: a measure differs by more than ``TOLERANCE``.
    """
    wrong = {name: found.worst[name] for name in MEASURES if found.worst[name] > TOLERANCE}
    if wrong:
        text = f"an export as {kind} must measure what torch does to within {TOLERANCE}, differs by {wrong}"
        raise FatalError(f"{text}; try other versions of the library, or another format")


def _run(backend: Backend, clips_BTHWK: UInt8, items_MC: Float32) -> Mapping[str, Float32]:
    parts = [clips_BTHWK[begin : begin + BATCH] for begin in range(0, len(clips_BTHWK), BATCH)]
    results = [backend(part, np.repeat(items_MC[None], len(part), axis=0)) for part in parts]
    return {name: np.concatenate([result[name] for result in results]) for name in results[0]}


def _deviation(found: Float32, wanted: Float32) -> float:
    largest = float(np.abs(wanted).max())
    return float(np.abs(found - wanted).max()) / (largest or 1.0)
