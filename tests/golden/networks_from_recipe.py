"""MNAD's prediction network with the parameters of the reference recipe."""

import numpy as np
import torch

from networks.mnad import MnadParameters, MnadPrediction
from tests.golden.reference import parameter, recipe, warm_up_tanh


def prediction_network(seed: int | None = None) -> MnadPrediction:
    """The published size; parameters are filled in the order of the forward pass."""
    warm_up_tanh()
    told = recipe("mnad_pred_net")
    network = MnadPrediction(MnadParameters())
    targets = [values for name, values in network.state_dict().items() if not name.endswith("num_batches_tracked")]
    assert len(targets) == len(told["parameters"])
    for entry, target in zip(told["parameters"], targets, strict=True):
        values = parameter(entry, told["seed"] if seed is None else seed)
        assert list(target.shape) == entry["shape"]
        if seed is None:
            assert np.isclose(values.astype(np.float64).sum(), entry["sum"], rtol=1e-9, atol=1e-6)
        with torch.no_grad():
            target.copy_(torch.from_numpy(values))
    return network
