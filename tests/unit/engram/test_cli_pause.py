"""``engram pause``: what is written, and what is refused."""

from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engram.cli.app import app
from schemas.messages import utc_now
from schemas.settings import AllSettings, load_with_origins

FILE = '# ours\n[cameras.gate]\nsource = "a.mp4"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(FILE)
    path.chmod(0o640)
    return path


def call(*words: object, code: int = 0) -> str:
    done = CliRunner(env={"COLUMNS": "200", "ENGRAM_CONFIG": ""}).invoke(app, ["pause", *map(str, words)])
    assert done.exit_code == code, done.output
    return done.output


def test_a_pause_lasts_as_long_as_is_said_and_can_be_over(file: Path) -> None:
    told = call("gate", "--for", "2h", "--config", file)
    until = load_with_origins(AllSettings, file, {}, {}).settings.cameras["gate"].paused_until
    assert until is not None
    assert timedelta(hours=1.9) < until - utc_now() <= timedelta(hours=2)
    assert told == f"camera gate is paused until {until:%Y-%m-%d %H:%M:%S} UTC\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert call("gate", "--over", "--config", file) == "camera gate is watched again\n"
    assert file.read_text() == FILE
    assert [path.name for path in file.parent.iterdir()] == ["site.toml"]


def test_what_cannot_be_paused_is_refused(file: Path) -> None:
    assert "name it with --config FILE" in call("gate", code=2)
    assert "must have a table [cameras.yard]" in call("yard", "--config", file, code=2)
    assert "--for must be a length of time" in call("gate", "--for", "long", "--config", file, code=2)
    file.write_text(FILE + "fps = -1\n")
    assert "cameras.gate.fps" in call("gate", "--config", file, code=2)
    assert file.read_text() == FILE + "fps = -1\n"
