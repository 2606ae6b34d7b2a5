"""Networks by the name a bundle gives them."""

from collections.abc import Callable, Mapping
from typing import Any

from networks.mnad import MnadParameters, MnadPrediction

NETWORKS: dict[str, Callable[[Mapping[str, Any]], MnadPrediction]] = {
    "mnad-prediction": lambda parameters: MnadPrediction(MnadParameters(**parameters)),
}


def build_network(name: str, parameters: Mapping[str, Any]) -> MnadPrediction:
    """A freshly initialised network.

    Args:
        name: a key of ``NETWORKS``.
        parameters: keyword arguments of the family's parameter class, as stored in a bundle's manifest.

    Raises:
        ValueError: no network of this name.
    """
    if name not in NETWORKS:
        raise ValueError(f"model must be one of {sorted(NETWORKS)}, got '{name}'; train the bundle with this version")
    return NETWORKS[name](parameters)
