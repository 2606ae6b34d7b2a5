"""What the base install, without any extra, can do."""

import os
import subprocess
import sys

WITHOUT = """
import sys
ABSENT = ("torch", "redis", "safetensors", "matplotlib", "sklearn", "tqdm", "opentelemetry")
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from engram.cli.app import app
app(sys.argv[1:], prog_name="engram")
"""


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command, whole = [sys.executable, "-c", WITHOUT, *arguments], {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=whole)


def test_a_producer_needs_no_extra() -> None:
    shown = run("produce", "--help")
    assert shown.returncode == 0
    started = run("produce", "nowhere.mp4")
    assert started.returncode == 2
    assert "nowhere.mp4" in started.stderr


def test_the_memory_on_one_machine_needs_no_extra(tmp_path: object) -> None:
    listed = run("bank", "list", "--store", f"sqlite:///{tmp_path}/banks.db", "-o", "json")
    assert (listed.returncode, listed.stdout) == (0, "[]\n"), listed.stderr


def test_a_missing_extra_is_named() -> None:
    for arguments, extra in (
        (["work", "--bundle", "x"], "worker"),
        (["coordinate", "--bundle", "x"], "coordinator"),
        (["bank", "list", "--store", "redis://127.0.0.1:1/0"], "coordinator"),
    ):
        refused = run(*arguments)
        assert refused.returncode == 1
        assert refused.stderr.strip().splitlines()[-1].endswith(f"run: pip install 'engram[{extra}]'"), refused.stderr


def test_who_wants_spans_is_told_what_to_install_before_anything_is_sent() -> None:
    source = "synthetic://walkway?seed=1&seconds=1"
    refused = run("produce", source, "--bootstrap-servers", "127.0.0.1:1", ENGRAM_TRACING__ENABLED="true")
    assert refused.returncode == 2
    text = "tracing.enabled needs OpenTelemetry, and opentelemetry is not installed"
    assert refused.stderr.strip().splitlines()[-1].startswith(f"error: {text}; run: pip install 'engram[tracing]'")


def test_the_doctor_of_an_edge_machine_needs_no_extra() -> None:
    source = "synthetic://walkway?seed=1&seconds=1"
    found = run("doctor", "-p", "producer", "--source", source, "--bootstrap-servers", "127.0.0.1:1")
    assert found.returncode == 1
    assert "FAIL broker" in found.stdout
    assert "ok   source" in found.stdout
    assert "bundle" not in found.stdout
