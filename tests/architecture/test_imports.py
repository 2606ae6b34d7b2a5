"""Who may import whom, and what each role needs installed."""

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.repository import ROOT, imported_by, modules_of, packages, pyproject, source_files

HOME_OF = {
    "kafka": {"messaging"},
    "redis": {"memory_store"},
    "paho": {"consumers"},
    "boto3": {"consumers"},
    "torch": {"networks", "inference", "training", "engram"},
    "fastapi": {"console"},
    "uvicorn": {"console"},
    "opentelemetry": {"engram"},
}

# Refuses the names given as first argument, imports the modules given as second.
IMPORT_WITHOUT = """
import importlib, json, sys
from importlib.abc import MetaPathFinder

refused, modules = (json.loads(text) for text in sys.argv[1:])

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Refuse())
for module in modules:
    importlib.import_module(module)
assert not set(refused) & set(sys.modules)
"""


def import_without(refused: set[str], modules: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", IMPORT_WITHOUT, json.dumps(sorted(refused)), json.dumps(modules)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


INSTALLED = importlib.metadata.packages_distributions()


def import_names(requirements: list[str]) -> set[str]:
    """The top-level names that the distributions of ``requirements`` install."""
    wanted = {canonical(re.split(r"[\s\[<>=!~;]", line)[0]) for line in requirements}
    return {name for name, owners in INSTALLED.items() if wanted & {canonical(owner) for owner in owners}}


def canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def of_extra(name: str) -> set[str]:
    lines: list[str] = pyproject()["project"]["optional-dependencies"][name]
    return import_names([line for line in lines if not line.startswith("engram")])


BASE = import_names(pyproject()["project"]["dependencies"])
COORDINATOR = of_extra("coordinator")
WORKER = of_extra("worker")
TRAIN = of_extra("train")
NOTIFY = of_extra("notify")
S3 = of_extra("s3") | {"botocore"}  # boto3 brings it, with the errors that it raises
CONSOLE = of_extra("console") | {"starlette"}
TRACING = of_extra("tracing")
BACKENDS = of_extra("openvino") | of_extra("onnx")
EXPORT = BACKENDS | of_extra("export")
OF_ONE_BACKEND = {"inference.backends.onnx", "inference.backends.openvino"}


def test_import_directions() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("library", HOME_OF)
def test_a_library_stays_at_home(library: str) -> None:
    """As the contracts of import-linter, but over the files, so that a module it cannot see is seen."""
    strays = {path for path in source_files(*packages()) if library in imported_by(path)}
    assert {path.parts[0] for path in strays} <= HOME_OF[library], sorted(map(str, strays))


@pytest.mark.parametrize("package", ["schemas", "messaging", "producers"])
def test_an_edge_device_needs_the_base_install_only(package: str) -> None:
    extras = (COORDINATOR | WORKER | TRAIN | TRACING) - BASE
    assert {"torch", "redis", "opentelemetry"} <= extras
    done = import_without(extras, modules_of(package))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", ["bundles", "memory_store", "consumers", "console", "deploy"])
def test_coordinator_and_consumers_need_no_torch(package: str) -> None:
    done = import_without(WORKER - COORDINATOR - BASE - CONSOLE, modules_of(package))
    assert done.returncode == 0, done.stderr


def test_workers_and_training_start_without_other_backends() -> None:
    refused = EXPORT - BASE - COORDINATOR - WORKER - TRAIN
    assert {"openvino", "onnxruntime", "nncf"} <= refused
    modules = [name for name in (*modules_of("inference"), *modules_of("workers")) if name not in OF_ONE_BACKEND]
    done = import_without(refused, [*modules, "training.train", "training.evaluation.evaluate"])
    assert done.returncode == 0, done.stderr


def test_the_refusal_itself_works() -> None:
    done = import_without({"torch"}, modules_of("networks"))
    assert done.returncode != 0
    assert "torch is not installed here" in done.stderr


def test_the_command_line_starts_on_an_edge_device() -> None:
    refused = (COORDINATOR | WORKER | TRAIN | CONSOLE | TRACING) - BASE
    done = import_without(refused, ["engram.__main__"])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("package", "available"),
    [
        ("schemas", BASE),
        ("messaging", BASE),
        ("producers", BASE),
        ("deploy", BASE),
        ("bundles", BASE | COORDINATOR),
        ("memory_store", BASE | COORDINATOR),
        ("networks", BASE | COORDINATOR | WORKER),
        ("inference", BASE | COORDINATOR | WORKER | BACKENDS),
        ("workers", BASE | COORDINATOR | WORKER),
        ("consumers", BASE | COORDINATOR | TRAIN | NOTIFY | S3),
        ("console", BASE | COORDINATOR | CONSOLE),
        ("training", BASE | COORDINATOR | WORKER | TRAIN | EXPORT),
        ("engram", BASE | COORDINATOR | WORKER | TRAIN | TRACING),
    ],
)
def test_what_is_imported_is_declared(package: str, available: set[str]) -> None:
    allowed = available | set(sys.stdlib_module_names) | set(packages()) | {"tomllib", "tomli"}
    undeclared = {
        f"{path}: {name}" for path in source_files(package) for name in imported_by(path) if name not in allowed
    }
    assert not undeclared
