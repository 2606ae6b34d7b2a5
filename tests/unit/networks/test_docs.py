"""The snippets of docs/networks.md run, and its tables are those of the code."""

import re
from dataclasses import fields
from pathlib import Path

import torch

from networks.memae import MemaeParameters
from networks.mnad import MnadParameters
from networks.mpn import MpnParameters
from networks.registry import NETWORKS

PAGE = (Path(__file__).parents[3] / "docs" / "networks.md").read_text()


def test_the_snippets_run_one_after_the_other() -> None:
    names: dict[str, object] = {}
    snippets = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(snippets) == 5
    for number, snippet in enumerate(snippets):
        exec(compile(snippet, f"docs/networks.md, snippet {number}", "exec"), names)
    adapted = names["adapted"]
    assert isinstance(adapted, NETWORKS["mpn"])
    assert all(torch.isfinite(values).all() for values in adapted.parameters())


def test_every_parameter_and_network_is_told() -> None:
    told = set(re.findall(r"`([a-z_-]+)`", PAGE))
    parameters = [field.name for kind in (MnadParameters, MemaeParameters, MpnParameters) for field in fields(kind)]
    assert set(parameters) | set(NETWORKS) <= told
