"""Size, names and docstrings of files; no waiting by the clock in tests."""

import ast
import re
from pathlib import Path

import pytest

from tests.architecture.repository import ROOT, code_lines, packages, shipped_files, source_files, tree

MOST_CODE_LINES = 400
"""Where a file ends should be where its subject ends; beyond this it holds two."""
SAYS_NOTHING = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "handler"}

SOURCES = source_files(*packages(), "benchmarks")
TESTS = source_files("tests")


def test_there_is_something_to_look_at() -> None:
    assert Path("schemas/codec.py") in SOURCES
    assert Path("tests/conftest.py") in TESTS


def test_no_file_is_long() -> None:
    long = [path for path in SOURCES + TESTS if len((ROOT / path).read_text().splitlines()) > MOST_CODE_LINES]
    assert long, "some have more lines than that, if not of code"
    too_long = {str(path): lines for path in long if (lines := code_lines(path)) > MOST_CODE_LINES}
    assert not too_long


def test_only_code_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "sample.py"
    prose = ['"""Prose', 'of two lines."""', "", "# a comment"]
    code = ["X = 1", "", "def f() -> str:", '    """Prose."""', '    return """a', 'b"""']
    path.write_text("\n".join(prose + code))
    assert code_lines(path) == 4


def test_names_say_something() -> None:
    assert not [str(path) for path in SOURCES + TESTS if SAYS_NOTHING & {part.lower() for part in _words(path)}]


def test_every_module_says_what_it_is() -> None:
    begins = {path: text[:400] for path in SOURCES + TESTS if (text := (ROOT / path).read_text())}
    assert not [str(path) for path, text in begins.items() if not re.match(r'(#.*\n)*r?"""\s*\S', text)]


@pytest.mark.parametrize("package", packages())
def test_every_package_says_what_it_is(package: str) -> None:
    assert ast.get_docstring(tree(Path(package, "__init__.py")))


def test_no_test_waits_by_the_clock() -> None:
    """A sleep is either too short on a busy machine or too long on an idle one: wait for a condition."""
    might = [path for path in TESTS if "sleep" in (ROOT / path).read_text()]
    sleeps = [f"{path}: {ast.unparse(node)}" for path in might for node in ast.walk(tree(path)) if _is_sleep(node)]
    assert not sleeps


def test_no_pickle_is_shipped() -> None:
    assert not [str(path) for path in shipped_files() if path.suffix in {".pkl", ".pickle", ".pt", ".pth"}]


def _words(path: Path) -> list[str]:
    return [word for part in path.with_suffix("").parts for word in (part, *part.split("_"))]


def _is_sleep(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep"}
