"""Starting the program in a folder whose files are called like our packages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import engram

SOURCES = Path(engram.__file__).parents[1]


@pytest.fixture
def clashing(tmp_path: Path) -> Path:
    """A folder with names of ours, each of which breaks whoever imports it."""
    for name in ("schemas", "training"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('imported from the working folder')")
    for name in ("workers", "inference", "engram"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('imported from the working folder')")
    return tmp_path


def start(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(SOURCES), "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)


def program(name: str) -> str:
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        pytest.skip(f"'{path}' must be installed (`make setup` does)")
    return str(path)


def test_the_program(clashing: Path) -> None:
    done = start(clashing, program("engram"), "train", "--help")
    assert done.returncode == 0, done.stderr
    assert "torchrun --no-python" in done.stdout


def test_the_module(clashing: Path) -> None:
    """``engram`` itself must be found by ``python -m``; everything after that is safe."""
    (clashing / "engram.py").unlink()
    done = start(clashing, sys.executable, "-m", "engram", "config", "show")
    assert done.returncode == 0, done.stderr


def test_the_module_in_its_own_sources() -> None:
    done = start(SOURCES, sys.executable, "-m", "engram", "--version")
    assert done.stdout == f"engram {engram.__version__}\n"


def test_torchrun_with_the_program(clashing: Path) -> None:
    words = ["--standalone", "--no-python", "--nproc-per-node", "1", program("engram"), "--version"]
    done = start(clashing, program("torchrun"), *words)
    assert done.returncode == 0, done.stderr
    assert f"engram {engram.__version__}" in done.stdout
