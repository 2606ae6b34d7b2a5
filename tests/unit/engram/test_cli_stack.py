"""``engram stack status`` and ``down`` where nothing runs."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engram.cli.app import app

runner = CliRunner()


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENGRAM_HOME", str(tmp_path))
    return tmp_path


def test_status_of_nothing_is_a_fault_but_no_error(empty_home: Path) -> None:
    result = runner.invoke(app, ["stack", "status", "-o", "json"])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["is_ready"] is False
    assert found["folder"] == str(empty_home / "stack")
    assert set(found["servers"]) == {"kafka", "redis"}


def test_down_of_nothing_is_fine() -> None:
    result = runner.invoke(app, ["stack", "down"])
    assert result.exit_code == 0
    assert "kafka" in result.stdout
