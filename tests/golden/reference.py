"""Numbers that the papers' own code computed, how they are compared, and the recipe by which its parameters were drawn.

A test computes a whole section of a file at once (``eval_*``, ``train_*``, …) and hands all of it to ``compare``, which
fails if the file has an array in that section that the test did not compute. Seeds, sizes, thresholds and the number of
cases are the folder's, so that ENGRAM_REFERENCE alone changes the set. Each test file's last test fails if its
reference file has an array outside the sections.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

FOLDER = Path(os.environ.get("ENGRAM_REFERENCE", Path(__file__).parents[3] / "shared" / "reference"))
TOLERANCE = 1e-5
EACH = "grad_l2"
"""Lengths of gradients differ by orders of magnitude: each must be right by itself."""
Array = NDArray[Any]


def arrays(name: str) -> dict[str, Array]:
    """All arrays of ``<name>.npz``; skips the test where the reference set is not at hand."""
    path = FOLDER / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"no reference numbers in '{FOLDER}': set ENGRAM_REFERENCE to the folder that holds {name}.npz")
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def cases(name: str, start: str = "c") -> list[str]:
    """Prefixes of a file's numbered cases (``c0_``, ``c1_``, …); the first alone where the file is not at hand."""
    path = FOLDER / f"{name}.npz"
    if not path.exists():
        return [f"{start}0_"]
    with np.load(path) as file:
        found = {match[0] for key in file.files if (match := re.match(rf"{start}\d+_", key))}
    return sorted(found, key=lambda prefix: int(prefix[len(start) : -1]))


def told_seed(pattern: str, published: int) -> int:
    """A seed that the folder tells in prose only: the number in ``pattern`` of its README, else the published one."""
    readme = FOLDER / "README.md"
    told = re.search(pattern, readme.read_text(encoding="utf-8")) if readme.exists() else None
    return int(told[1]) if told else published


def section(name: str, prefix: str) -> dict[str, Array]:
    """The arrays whose names start with ``prefix``, by the rest of their names."""
    return {key[len(prefix) :]: values for key, values in arrays(name).items() if key.startswith(prefix)}


def recipe(name: str) -> dict[str, Any]:
    """The JSON beside the arrays."""
    path = FOLDER / f"{name}.json"
    if not path.exists():
        pytest.skip(f"no recipe in '{FOLDER}': set ENGRAM_REFERENCE to the folder that holds {name}.json")
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def compare(
    found: Mapping[str, Any], wanted: Mapping[str, Array], tolerances: Mapping[str, float] | None = None
) -> None:
    """Every array of a section, by name; integers exactly, the others within ``TOLERANCE`` unless told otherwise."""
    assert found.keys() == wanted.keys()
    for key, values in wanted.items():
        if values.dtype.kind == "i":
            assert np.array_equal(as_array(found[key]), values), key
            continue
        tolerance = (tolerances or {}).get(key, TOLERANCE)
        close(found[key], values, tolerance, key)
        if key == EACH:
            assert (np.abs(found[key] - values) <= tolerance * values).all(), key


def close(found: Any, wanted: Array, tolerance: float = TOLERANCE, name: str = "") -> None:
    """Largest deviation relative to the largest wanted value, over the whole array."""
    got = as_array(found)
    assert got.shape == wanted.shape, name
    assert np.isfinite(got).all(), name
    worst, largest = np.abs(got.astype(np.float64) - wanted).max(), np.abs(wanted).max()
    assert worst <= tolerance * largest, f"{name} off by {worst:.2e} of {largest:.2e}, allowed {tolerance:.0e}"


def as_array(found: Any) -> Array:
    """A tensor or number as an array."""
    return found.detach().cpu().numpy() if isinstance(found, Tensor) else np.asarray(found)


def probe(values: Tensor, count: int) -> Array:
    """``count`` values at evenly spaced indices."""
    flat = values.detach().cpu().contiguous().numpy().ravel()
    return flat[(np.arange(count) * (len(flat) - 1)) // (count - 1)]


def probe_and_sum(values: Tensor, count: int) -> Array:
    """A probe followed by the sum, as the files check what was drawn."""
    return np.append(probe(values, count), values.numpy().astype(np.float64).sum())


def stats(values: Tensor) -> Array:
    """Mean, root mean square, mean absolute value, minimum, maximum."""
    v = values.detach().cpu().contiguous().numpy().astype(np.float64).ravel()
    return np.array([v.mean(), np.sqrt((v**2).mean()), np.abs(v).mean(), v.min(), v.max()])


def parameter(entry: dict[str, Any], seed: int) -> Array:
    """One tensor of a net, from its own random stream."""
    stream = np.random.RandomState(seed * 1000 + entry["index"])
    shape, kind = entry["shape"], entry["kind"]
    if kind == "bn_var":
        return stream.uniform(0.5, 1.5, size=shape).astype(np.float32)
    z = stream.standard_normal(shape)
    fan = np.prod(shape[1:]) if kind == "conv_w" else np.prod([shape[0], *shape[2:]])
    scale = {
        "conv_w": np.sqrt(2 / fan),
        "deconv_w": np.sqrt(2 * entry["stride_product"] / fan),
        "bias": 0.05,
        "bn_gamma": 0.1,
        "bn_beta": 0.1,
        "bn_mean": 0.1,
        "head_w": 2.0,
        "mem_w": 0.15,
    }[kind]
    return (z * scale + (1.0 if kind == "bn_gamma" else 0.0)).astype(np.float32)


def clip(seed: int, shape: list[int]) -> Tensor:
    """A random clip in [-1, 1]."""
    return torch.from_numpy(np.random.RandomState(seed).uniform(-1, 1, size=shape).astype(np.float32))


def items(seed: int, shape: list[int]) -> Tensor:
    """Memory items before training."""
    rows = np.random.RandomState(seed).uniform(0, 1, size=shape)
    return torch.from_numpy((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))


def warm_up_tanh() -> None:
    """The first parallel tanh of a process may run in a low-accuracy mode."""
    torch.tanh(torch.zeros(100_000))
