"""Kafka and Redis together, as the command line uses them."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.kafka import KafkaSettings
from deploy.local.stack import Stack, default_folder, stack_settings
from schemas.errors import EngramError


@pytest.fixture(scope="module")
def stack(
    kafka_requirements: Path, redis_requirements: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("stack"), KafkaSettings(session_timeout_ms=3000))
    try:
        stack.up()
        yield stack
    finally:
        stack.wipe()


def test_up_brings_both_and_is_idempotent(stack: Stack) -> None:
    first = stack.up()
    assert first.is_ready
    assert stack.up() == first
    assert Stack(stack.folder).status() == first


def test_up_starts_only_what_is_missing(stack: Stack) -> None:
    before = stack.up()
    stack.redis.kill()
    assert not stack.status().is_ready
    after = stack.up()
    assert after.is_ready
    assert after.kafka.pid == before.kafka.pid
    assert after.redis.pid != before.redis.pid


def test_up_leaves_settings_for_other_commands(stack: Stack) -> None:
    status = stack.up()
    expected = {
        "ENGRAM_KAFKA__BOOTSTRAP_SERVERS": status.kafka.address,
        "ENGRAM_STORE__URL": f"redis://{status.redis.address}/0",
    }
    assert stack_settings(stack.folder) == expected
    shell = subprocess.run(
        ["sh", "-c", f"set -a; . '{status.env_path}'; env"], capture_output=True, text=True, check=True
    )
    assert expected.items() <= dict(line.split("=", 1) for line in shell.stdout.splitlines() if "=" in line).items()


def test_status_prints_addresses_pids_and_folder(stack: Stack) -> None:
    status = stack.up()
    text = str(status)
    for part in (status.kafka.address, status.redis.address, str(status.kafka.pid), str(stack.folder), "ready"):
        assert str(part) in text


def test_down_ends_both_keeps_data_and_may_be_repeated(stack: Stack) -> None:
    before = stack.up()
    down = stack.down()
    assert (down.kafka.pid, down.redis.pid) == (None, None)
    assert not down.env_path.exists()
    assert stack.down() == down
    again = stack.up()
    assert (again.kafka.address, again.redis.address) == (before.kafka.address, before.redis.address)


def test_a_stale_pid_file_is_seen_through(stack: Stack) -> None:
    """The pid of a living process that is not ours, as after a reboot of the machine."""
    stack.up()
    stack.redis.stop()
    stale = stack.folder / "redis.pid.json"
    stale.write_text(f'{{"pid": {os.getpid()}, "birth": "long ago", "log_start_bytes": 0}}')
    assert stack.status().redis.pid is None
    assert stack.up().is_ready
    assert stack.redis.pid != os.getpid()


def test_a_pid_file_cut_off_half_way_counts_as_none(stack: Stack) -> None:
    stack.up()
    stack.redis.stop()
    (stack.folder / "redis.pid.json").write_text('{"pid": 1')
    assert stack.up().is_ready


def test_a_folder_that_never_was_up(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "none")
    status = stack.down()
    assert (status.kafka.address, status.redis.address, status.is_ready) == (None, None, False)
    assert not stack.folder.exists()
    assert stack_settings(stack.folder) == {}


def test_a_broken_settings_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "stack.env").write_text("nonsense\n")
    with pytest.raises(EngramError, match=r"stack.env must hold NAME=value"):
        stack_settings(tmp_path)


def test_the_folder_follows_engram_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ENGRAM_HOME", raising=False)
    assert default_folder() == tmp_path / ".engram" / "stack"
    monkeypatch.setenv("ENGRAM_HOME", str(tmp_path / "elsewhere"))
    assert default_folder() == tmp_path / "elsewhere" / "stack"
