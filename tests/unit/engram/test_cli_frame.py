"""What holds for every command: help, version, exit codes, one line per error, settings from all sources."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from engram.cli.app import app
from engram.cli.invocation import Invocation, command
from engram.one_line import one_line
from schemas.errors import FatalError, TransientError
from schemas.settings import ProducerSettings
from schemas.version import software_version

runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})


def commands(group: typer.Typer = app, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    own = [(*path, info.name or "") for info in group.registered_commands]
    nested = [
        commands(sub.typer_instance, (*path, sub.name or "")) for sub in group.registered_groups if sub.typer_instance
    ]
    return own + [name for names in nested for name in names]


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_teaches_with_an_example_and_takes_the_common_options(path: tuple[str, ...]) -> None:
    result = runner.invoke(app, [*path, "--help"])
    assert result.exit_code == 0, result.output
    assert f"engram {' '.join(path)}" in result.output.partition("Example")[2]
    for option in ("--config", "--log-level", "--log-format"):
        assert option in result.output


@pytest.mark.parametrize("name", ["work", "pause"])
def test_help_shows_what_stands_in_brackets(name: str) -> None:
    assert "[cameras.NAME]" in runner.invoke(app, [name, "--help"]).stdout


def test_version() -> None:
    result = runner.invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"engram {software_version()}\n")


@pytest.mark.parametrize("arguments", [["nonsense"], ["config", "show", "--nonsense"], ["config", "show", "-o", "xml"]])
def test_wrong_usage_exits_with_2_and_leaves_stdout_clean(arguments: list[str]) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""


def faulty(error: Exception) -> typer.Typer:
    made = typer.Typer(pretty_exceptions_enable=False)

    def fail(run: Invocation) -> None:
        """Fail."""
        run.settings(ProducerSettings)
        raise error

    command(made, "fail")(fail)
    return made


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (FatalError("bundle 'x' must exist"), 2, "error: bundle 'x' must exist"),
        (TransientError("broker away"), 1, "error: broker away"),
        (OSError(28, "No space left"), 1, "error: this machine refuses: No space left (--log-level debug shows where)"),
        (
            FileNotFoundError(2, "No such file", "/a/b"),
            1,
            "error: this machine refuses '/a/b': No such file (--log-level debug shows where)",
        ),
        (KeyError("oops"), 1, "error: KeyError: 'oops' (unexpected; --log-level debug shows where)"),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            1,
            "error: this command needs torch, which is not installed; run: pip install 'engram[worker]'",
        ),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(error: Exception, code: int, line: str) -> None:
    result = runner.invoke(faulty(error), [])
    assert result.exit_code == code
    assert result.stderr.strip() == line
    assert result.stdout == ""


def test_debug_shows_where_it_happened() -> None:
    result = runner.invoke(faulty(KeyError("oops")), ["--log-level", "debug"])
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("error: KeyError")


def test_a_foreign_missing_module_is_not_taken_for_an_extra() -> None:
    assert "pip install" not in one_line(ModuleNotFoundError("No module named 'nope'", name="nope"))


def test_config_show_tells_value_and_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "engram.toml"
    file.write_text("[kafka]\nclient_id = 'mine'\n[events]\nmerge_gap_s = 7\n", "utf-8")
    monkeypatch.setenv("ENGRAM_STORE__PASSWORD", "hunter2")
    monkeypatch.setenv("ENGRAM_CONFIG", str(file))
    result = runner.invoke(app, ["config", "show", "-o", "json", "--log-level", "error"])
    assert result.exit_code == 0, result.stderr
    shown = json.loads(result.stdout)
    assert shown["kafka.client_id"] == {"value": "mine", "origin": f"file {file}"}
    assert shown["events.merge_gap_s"]["value"] == 7
    assert shown["store.password"] == {"value": "**********", "origin": "env ENGRAM_STORE__PASSWORD"}
    assert shown["log.level"] == {"value": "error", "origin": "flag"}
    assert "hunter2" not in result.output


def test_config_show_as_a_table_for_one_process() -> None:
    result = runner.invoke(app, ["config", "show", "--process", "producer"])
    assert "producer.fps" in result.stdout
    assert "worker.max_batch" not in result.stdout


def test_config_check(tmp_path: Path) -> None:
    file = tmp_path / "engram.toml"
    file.write_text("[producer]\nfps = 5\n", "utf-8")
    good = runner.invoke(app, ["config", "check", "--config", str(file)])
    assert good.exit_code == 0
    assert re.match(r"ok: 1 of \d+ settings given", good.stdout)
    file.write_text("[producer]\nfsp = 5\n", "utf-8")
    bad = runner.invoke(app, ["config", "check", "--config", str(file)])
    assert bad.exit_code == 2
    assert bad.stderr.strip().endswith("producer.fsp is no setting; did you mean producer.fps?")


def test_schemas_export(tmp_path: Path) -> None:
    result = runner.invoke(app, ["schemas", "export", "--out", str(tmp_path)])
    assert result.exit_code == 0
    assert str(tmp_path / "anomaly-event.json") in result.stdout.splitlines()


HEAVY = ("torch", "matplotlib", "redis", "sklearn", "safetensors")


def test_help_loads_nothing_heavy() -> None:
    code = f"""
import sys
from engram.cli.app import app
try:
    app(["--help"], prog_name="engram")
except SystemExit:
    pass
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert "Usage" in done.stdout
    assert done.stderr.strip().splitlines()[-1] == "[]"
