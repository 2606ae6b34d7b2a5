"""The set-up script and the make targets, as far as they can be run without installing anything."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.architecture.repository import ROOT

SCRIPT = ROOT / "deploy" / "local" / "setup.sh"
TOOLS = ("sh", "dirname", "id", "uname", "sed", "head", "cat", "cksum")


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A PATH with the basic tools, but no apt-get, Java, Maven or Redis."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    return folder


def put(folder: Path, command: str, script: str) -> None:
    path = folder / command
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def setup(what: str, path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(SCRIPT), what],
        env={"PATH": str(path), "SETUP_SBIN": "/nowhere", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def dry_run(target: str) -> str:
    command = ["make", "--no-print-directory", "--dry-run", target]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout


def test_missing_services_are_named_and_let_pass(bare_path: Path) -> None:
    done = setup("services", bare_path)
    assert done.returncode == 0
    assert "will be skipped" in done.stderr
    assert "sudo apt-get install -y default-jre-headless maven redis-server mosquitto" in done.stderr


def test_missing_services_fail_where_they_are_required(bare_path: Path) -> None:
    done = setup("services", bare_path, REQUIRE_SERVICES="1")
    assert done.returncode == 1
    assert "sudo apt-get install -y default-jre-headless maven redis-server mosquitto" in done.stderr


@pytest.mark.parametrize(
    ("version", "is_enough"), [("1.8.0_402", False), ("11.0.2", False), ("17", True), ("21-ea", True)]
)
def test_java_is_judged_by_its_version(bare_path: Path, version: str, is_enough: bool) -> None:
    put(bare_path, "java", f"""echo 'openjdk version "{version}" 2024-01-01' >&2""")
    assert ("default-jre-headless" not in setup("services", bare_path).stderr) == is_enough


def test_nothing_is_said_when_nothing_is_missing(bare_path: Path) -> None:
    put(bare_path, "java", """echo 'openjdk version "17.0.1" 2024-01-01' >&2""")
    put(bare_path, "mvn", "exit 0")
    put(bare_path, "redis-server", "exit 0")
    put(bare_path, "mosquitto", "exit 0")
    done = setup("services", bare_path, REQUIRE_SERVICES="1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_unknown_part_is_refused(bare_path: Path) -> None:
    done = setup("everything", bare_path)
    assert done.returncode == 1
    assert "say what to set up" in done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("target", ["setup", "demo", "stack-demo", "test", "check", "bench"])
def test_each_target_sets_itself_up(target: str) -> None:
    planned = dry_run(target).splitlines()
    assert planned[0].endswith("setup.sh python")
    needs_services = target != "demo"
    assert any(line.endswith("setup.sh services") for line in planned) == needs_services


def test_what_is_meant_to_be_run_can_be_run() -> None:
    assert os.access(SCRIPT, os.X_OK)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
