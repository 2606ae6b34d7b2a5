"""The command line stands on top: nothing that builds, runs or looks imports it."""

import ast
from pathlib import Path

import pytest

from tests.architecture.repository import ROOT, source_files, tree

BELOW = [path for path in source_files("engram") if path.parts[1] not in ("cli", "demo", "__main__.py")]


def test_there_is_something_to_look_at() -> None:
    assert {"build", "run", "doctor.py"} <= {path.parts[1] for path in BELOW}
    assert (ROOT / "engram" / "cli").is_dir()


@pytest.mark.parametrize("path", BELOW, ids=str)
def test_nothing_below_imports_the_command_line(path: Path) -> None:
    modules = [node.module or "" for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom)]
    assert not [module for module in modules if module.startswith("engram.cli")]
