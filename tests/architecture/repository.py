"""What the architecture tests look at: the packages, their files, what those files import."""

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def pyproject() -> dict[str, Any]:
    """The project file."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def packages() -> list[str]:
    """The packages that a wheel has."""
    named: list[str] = pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    return named


def shipped_files() -> list[Path]:
    """All files of the packages, relative to the root; data files too."""
    found = (path for name in packages() for path in (ROOT / name).rglob("*"))
    return sorted(path.relative_to(ROOT) for path in found if path.is_file() and "__pycache__" not in path.parts)


def source_files(*folders: str) -> list[Path]:
    """Python files under ``folders``, relative to the root."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path.relative_to(ROOT) for path in found)


@functools.cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of one file."""
    return ast.parse((ROOT / path).read_text(), filename=str(path))


def modules_of(package: str) -> list[str]:
    """Dotted names of all modules of a package, itself first; none while it has no code."""
    names = (path.with_suffix("").as_posix().replace("/", ".") for path in source_files(package))
    return sorted(name.removesuffix(".__init__") for name in names if not name.endswith("__main__"))


def imported_by(path: Path) -> Iterator[str]:
    """Top-level names that a file imports anywhere, also inside functions and for types only."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.partition(".")[0]


def code_lines(path: Path) -> int:
    """Lines that hold code: no blank lines, no comments, no docstrings."""
    prose = {line for node in ast.walk(tree(path)) for line in _docstring_lines(node)}
    lines = (ROOT / path).read_text().splitlines()
    return sum(
        1
        for number, line in enumerate(lines, start=1)
        if number not in prose and line.strip() and not line.strip().startswith("#")
    )


def _docstring_lines(node: ast.AST) -> range:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return range(0)
    first = node.body[0] if node.body else None
    is_docstring = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and type(first.value.value) is str
    )
    return range(first.lineno, (first.end_lineno or first.lineno) + 1) if first and is_docstring else range(0)
