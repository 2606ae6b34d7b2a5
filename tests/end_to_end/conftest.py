"""Engram's own program as a child process, with a real bundle, away from the user's settings."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundles.bundle import save_bundle
from tests.small_bundle import jpeg, small_bundle

ROOT = Path(__file__).parents[2]
Engram = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network, calibrated on calm frames of the noise scene."""
    path = tmp_path_factory.mktemp("bundles") / "small"
    save_bundle(path, small_bundle())
    return path


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 images at 10 a second: calm, but for frames 70 to 89 and 160 to 179."""
    folder = tmp_path_factory.mktemp("footage")
    for index in range(200):
        (folder / f"{index}.jpg").write_bytes(jpeg("calm", index))
    return folder


@pytest.fixture
def engram(tmp_path: Path) -> Iterator[Engram]:
    """Starts ``engram ARGUMENTS`` with ENGRAM_HOME in the test's folder; ends whatever is left at the end."""
    children: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **settings: str) -> "subprocess.Popen[str]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ENGRAM_")}
        child = subprocess.Popen(
            [sys.executable, "-m", "engram", *map(str, arguments)],
            env={**kept, "ENGRAM_HOME": str(tmp_path / "home"), "ENGRAM_WORKER__THREADS": "1", **settings},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        children.append(child)
        return child

    yield start
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate(timeout=30)
