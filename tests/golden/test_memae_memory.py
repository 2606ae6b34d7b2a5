"""MemAE's memory against the published implementation: addressing, shrinking, entropy, gradients."""

import numpy as np
import pytest
import torch
from torch import Tensor

from networks.sparse_memory import ReadRule, hard_shrunk, sparse_read
from tests.golden.reference import Array, arrays, cases, compare, section

FILE = "memae_memory"
CASES = cases(FILE)
GIVEN = ("z", "items", "lambda", "cotangent")
GRADIENTS = {"grad_z": 1e-4, "grad_items": 1e-4}


def first_rows(weights_BMN: Tensor, wanted: Array) -> Tensor:
    """At as many of the first places as are told."""
    return weights_BMN.permute(0, 2, 1).flatten(0, 1)[: len(wanted)]


@pytest.mark.parametrize("prefix", CASES)
def test_case(prefix: str) -> None:
    case = section(FILE, prefix)
    queries = torch.from_numpy(case["z"]).requires_grad_()
    items_MC = torch.from_numpy(case["items"]).requires_grad_()
    shrink = float(case["lambda"])
    reading = sparse_read(queries, items_MC, ReadRule(shrink))
    softmax_BMN = sparse_read(queries, items_MC, ReadRule(shrink=0.0)).weights_BMN
    output = reading.rebuilt_BCN.reshape(queries.shape)
    loss = (output * torch.from_numpy(case["cotangent"])).sum() + 0.1 * reading.entropy()
    grad_z, grad_items = torch.autograd.grad(loss, [queries, items_MC])
    found = {
        **{key: case[key] for key in GIVEN},
        "output": output,
        "att": reading.weights_BMN.reshape(case["att"].shape),
        "entropy": reading.entropy(),
        "softmax_rows": first_rows(softmax_BMN, case["softmax_rows"]),
        "shrunk_rows": first_rows(hard_shrunk(softmax_BMN, shrink), case["shrunk_rows"]),
        "grad_z": grad_z,
        "grad_items": grad_items,
        "nonzero_per_row": reading.num_items_read().flatten(),
    }
    compare(found, case, GRADIENTS)


def test_the_cases_include_places_that_read_nothing() -> None:
    found = [case for case in (section(FILE, prefix) for prefix in CASES) if (case["nonzero_per_row"] == 0).any()]
    assert found
    case = found[0]
    dead = case["nonzero_per_row"] == 0
    assert not dead.all()
    rule = ReadRule(float(case["lambda"]))
    reading = sparse_read(torch.from_numpy(case["z"]), torch.from_numpy(case["items"]), rule)
    rebuilt = reading.rebuilt_BCN.permute(0, 2, 1).flatten(0, 1).numpy()
    assert np.all(rebuilt[dead] == 0)


def test_nothing_is_left_out() -> None:
    assert all(key.startswith(tuple(CASES)) for key in arrays(FILE))
