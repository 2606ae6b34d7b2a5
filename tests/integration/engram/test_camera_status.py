"""What others learn of cameras from a real broker: their status, and that two producers send one of them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.local.wait import wait_until
from engram.cli.app import app

DEADLINE_S = 120.0
SCENE = "synthetic://walkway?seed=1&seconds=0"
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def environment(kafka_bootstrap: str, fresh_name: Callable[[str], str]) -> dict[str, str]:
    made = {
        "ENGRAM_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap,
        "ENGRAM_KAFKA__TOPIC_PREFIX": f"{fresh_name('p')}.",
        "ENGRAM_KAFKA__FRAMES_PARTITIONS": "2",
        "ENGRAM_PRODUCER__HEARTBEAT_S": "1",
        "COLUMNS": "250",
    }
    assert CliRunner(env=made).invoke(app, ["topics", "create"]).exit_code == 0
    return made


@pytest.fixture
def produce(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    running: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> "subprocess.Popen[bytes]":
        words = [
            sys.executable,
            "-m",
            "engram",
            "produce",
            SCENE,
            "--camera",
            "gate",
            "--width",
            "64",
            "--height",
            "48",
        ]
        with (tmp_path / f"{name}.log").open("wb") as log:
            running.append(subprocess.Popen(words, env=os.environ | environment, stderr=log))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()


def test_the_newer_of_two_producers_waits_until_the_older_is_gone(
    environment: dict[str, str], produce: Start, tmp_path: Path
) -> None:
    def told(name: str) -> str:
        return (tmp_path / f"{name}.log").read_text()

    def listed() -> list[dict[str, object]]:
        result = CliRunner(env=environment).invoke(app, ["cameras", "-o", "json"])
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]

    def is_online() -> bool:
        return [one["now"] for one in listed()] == ["online"]

    older = produce("older")
    assert wait_until(is_online, DEADLINE_S), told("older")
    (session,) = (str(one["session_id"]) for one in listed())
    newer = produce("newer")
    assert wait_until(lambda: "waits until this one is gone" in told("older"), DEADLINE_S), told("newer")
    assert f"and session {session}" in told("newer")
    assert "is sent by two producers: session" in told("newer")
    assert [one["session_id"] for one in listed()] == [session]
    older.kill()
    older.wait()

    def is_taken_over() -> bool:
        return [(one["session_id"] != session, one["now"]) for one in listed()] == [(True, "online")]

    assert wait_until(is_taken_over, DEADLINE_S), told("newer")
    newer.send_signal(signal.SIGTERM)
    assert newer.wait(DEADLINE_S) == 0, told("newer")
    assert "dropped (twin" in told("newer")
    table = CliRunner(env=environment).invoke(app, ["cameras"]).stdout
    assert "offline" in table
    assert "twin" in table
