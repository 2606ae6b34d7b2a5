"""What a wheel has, and that it works away from the repository."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.architecture.repository import ROOT, modules_of, packages, pyproject, shipped_files


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made by the build backend of the project."""
    folder = tmp_path_factory.mktemp("wheel")
    script = f"from hatchling.build import build_wheel; build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, timeout=120)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_has_every_file_of_every_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == {path.as_posix() for path in shipped_files()}
    assert {name.partition("/")[0] for name in packed} == set(packages())


def test_the_wheel_has_licence_and_command(unpacked: Path) -> None:
    (info,) = unpacked.glob("*.dist-info")
    assert (info / "licenses" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert "engram = engram.__main__:main" in (info / "entry_points.txt").read_text()
    assert f"Version: {pyproject()['project']['version']}" in (info / "METADATA").read_text()


def test_the_wheel_works_away_from_the_repository(unpacked: Path, tmp_path: Path) -> None:
    modules = [name for package in ("schemas", "messaging", "deploy") for name in modules_of(package)]
    script = f"""
import importlib, sys
sys.path[:0] = [{str(unpacked)!r}]
for name in {modules!r}:
    module = importlib.import_module(name)
    assert module.__file__.startswith({str(unpacked)!r}), module.__file__
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_layer_is_a_package_of_the_wheel_and_is_checked() -> None:
    tool = pyproject()["tool"]
    layers = {name for line in tool["importlinter"]["contracts"][0]["layers"] for name in line.split(" | ")}
    assert layers == set(packages()) == set(tool["importlinter"]["root_packages"])
    assert layers <= set(tool["mypy"]["files"])
