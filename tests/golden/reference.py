"""Numbers that the papers' own code computed, and the recipe by which its parameters were drawn."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

FOLDER = Path(os.environ.get("ENGRAM_REFERENCE", Path(__file__).parents[3] / "shared" / "reference"))
TOLERANCE = 1e-5
Array = NDArray[Any]


def arrays(name: str) -> dict[str, Array]:
    """All arrays of ``<name>.npz``; skips the test where the reference set is not at hand."""
    path = FOLDER / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"no reference numbers in '{FOLDER}': set ENGRAM_REFERENCE to the folder that holds {name}.npz")
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def recipe(name: str) -> dict[str, Any]:
    """The JSON beside the arrays."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


def close(found: Any, wanted: Array, tolerance: float = TOLERANCE) -> None:
    """Largest deviation relative to the largest wanted value, over the whole array."""
    got = found.detach().cpu().numpy() if isinstance(found, Tensor) else np.asarray(found)
    assert got.shape == wanted.shape
    assert np.isfinite(got).all()
    worst = np.abs(got.astype(np.float64) - wanted).max() / np.abs(wanted).max()
    assert worst <= tolerance, f"off by {worst:.2e}, allowed {tolerance:.0e}"


def probe(values: Tensor, count: int) -> Array:
    """``count`` values at evenly spaced indices."""
    flat = values.detach().cpu().contiguous().numpy().ravel()
    return flat[(np.arange(count) * (len(flat) - 1)) // (count - 1)]


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
