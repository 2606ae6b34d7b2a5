"""MPN's prototype unit against the published implementation: prototypes, losses, gradients."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from networks.mpn import MpnParameters, PrototypeTail, PrototypeUnit, consistency, distinctness
from tests.golden.reference import Array, arrays, cases, close, compare, section

FILE = "mpn_dpu"
CASES = cases(FILE)
GIVEN = ("shape", "map", "heads", "cotangent")


def unit_of(case: dict[str, Array]) -> tuple[PrototypeUnit, Tensor]:
    M, C = case["heads"].shape
    unit = PrototypeUnit(C, M)
    unit.heads.weight.data.copy_(torch.from_numpy(case["heads"]))
    return unit, torch.from_numpy(case["map"]).requires_grad_()


@pytest.mark.parametrize("prefix", CASES)
def test_case(prefix: str) -> None:
    case = section(FILE, prefix)
    unit, features = unit_of(case)
    reading, prototypes = unit(features)
    updated = (reading.queries_BCN + F.normalize(reading.values(), dim=1)).reshape(features.shape)
    feature, distinct = reading.compactness(), distinctness(reading.items_BMC)
    leaves = [features, unit.heads.weight]
    of_output = torch.autograd.grad((updated * torch.from_numpy(case["cotangent"])).sum(), leaves, retain_graph=True)
    of_losses = torch.autograd.grad(feature + 0.01 * distinct, leaves)
    found: dict[str, Any] = {
        **{key: case[key] for key in GIVEN},
        "updated": updated,
        "prototypes": prototypes,
        "loss_feature": feature,
        "loss_distinct": distinct,
        "test_feature_error": reading.distance_map(),
        "grad_map_out": of_output[0],
        "grad_heads_out": of_output[1],
        "grad_map_losses": of_losses[0],
        "grad_heads_losses": of_losses[1],
    }
    if "loss_consist" in case:
        found["loss_consist"] = consistency(reading.items_BMC).reshape(1)
    compare(found, case)


def test_the_tail_adds_what_the_unit_recalls() -> None:
    """The sum that ``test_case`` writes out is the one that the network's own head gets."""
    case = section(FILE, CASES[-1])
    tail = PrototypeTail(MpnParameters(width=case["map"].shape[1] // 2))
    tail.unit, features = unit_of(case)
    heard: list[Tensor] = []
    tail.head.register_forward_pre_hook(lambda _module, inputs: heard.append(inputs[0]))
    tail(features)
    close(heard[0], case["updated"])


def test_nothing_is_left_out() -> None:
    assert all(key.startswith(tuple(CASES)) for key in arrays(FILE))
