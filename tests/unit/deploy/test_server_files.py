"""What the local Kafka and Redis are started with; stand-ins for Java and redis-server say what they were given."""

import sys
from pathlib import Path

import pytest

from deploy.local import kafka
from deploy.local.kafka import KafkaSettings, LocalKafka
from deploy.local.redis import LocalRedis
from schemas.errors import FatalError


@pytest.fixture
def bin_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    return folder


def put(folder: Path, command: str, script: str) -> None:
    (folder / command).write_text(f"#!/bin/sh\n{script}\n")
    (folder / command).chmod(0o755)


JAVA = """case "$1" in -version) echo 'openjdk version "21"' >&2; exit 0 ;; esac
echo "$@" >>"$CALLS"
case "$*" in *StorageTool*) mkdir -p "$DATA" && : >"$DATA/meta.properties" ;; esac"""


@pytest.fixture
def node(bin_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalKafka:
    """Its Java notes each call in ``calls``, and formats."""
    put(bin_path, "java", JAVA)
    folder = tmp_path / "node"
    folder.mkdir()
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("DATA", str(folder / "kafka-data"))
    settings = KafkaSettings(
        rebalance_delay_ms=7,
        session_timeout_ms=3000,
        heap_mb=99,
        advertised_port=1234,
        more={"num.io.threads": "5", "message.max.bytes": "77"},
    )
    return LocalKafka(folder, Path("/jars"), settings)


def properties(folder: Path) -> dict[str, str]:
    lines = (folder / "server.properties").read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines]
    assert len({name for name, _ in pairs}) == len(pairs), "of two lines the later would win, whoever wrote it"
    return dict(pairs)


def test_every_setting_of_the_broker_is_in_its_file(node: LocalKafka) -> None:
    node._command()
    written = properties(node.folder)
    client = node.address.removeprefix("127.0.0.1:")
    assert written["broker.session.timeout.ms"] == "3000"
    assert written["broker.heartbeat.interval.ms"] == "600"
    assert written["group.initial.rebalance.delay.ms"] == "7"
    assert written["advertised.listeners"] == "PLAINTEXT://127.0.0.1:1234"
    assert written["listeners"].startswith(f"PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:")
    assert written["controller.quorum.bootstrap.servers"] == written["listeners"].rpartition("CONTROLLER://")[2]
    assert written["log.dirs"] == str(node.folder / "kafka-data")
    assert (written["num.io.threads"], written["message.max.bytes"]) == ("5", "77")
    assert written["auto.create.topics.enable"] == "false"


def test_a_broker_tells_clients_its_own_port_where_no_other_is_set(node: LocalKafka) -> None:
    plain = LocalKafka(node.folder, Path("/jars"))
    plain._command()
    assert properties(node.folder)["advertised.listeners"] == f"PLAINTEXT://{plain.bootstrap_servers}"


def test_nothing_listens_beyond_this_machine(node: LocalKafka, bin_path: Path) -> None:
    put(bin_path, "redis-server", "exit 0")
    node._command()
    written = properties(node.folder)
    for name in ("listeners", "advertised.listeners", "controller.quorum.bootstrap.servers"):
        assert all("127.0.0.1:" in address for address in written[name].split(","))
    redis = LocalRedis(node.folder)
    redis._command()
    assert "bind 127.0.0.1\n" in (node.folder / "redis.conf").read_text()


def test_the_broker_is_started_with_the_jars_the_heap_and_its_file(node: LocalKafka, bin_path: Path) -> None:
    command = node._command()
    assert command[0] == str(bin_path / "java")
    assert "-Xmx99m" in command
    assert command[command.index("-cp") + 1] == "/jars/*"
    assert list(command[-2:]) == ["kafka.Kafka", str(node.folder / "server.properties")]
    (log_settings,) = [part for part in command if part.startswith("-Dlog4j2.configurationFile=")]
    assert Path(log_settings.partition("=")[2]).is_file()


def test_data_is_formatted_once(node: LocalKafka, tmp_path: Path) -> None:
    """A second format would give the cluster another id, which its data does not fit."""
    node._command()
    node._command()
    (formatted,) = (tmp_path / "calls").read_text().splitlines()
    assert "kafka.tools.StorageTool format --standalone --cluster-id=" in formatted
    assert formatted.endswith(f"--config {node.folder / 'server.properties'}")
    assert len(formatted.partition("--cluster-id=")[2].split()[0]) == 22


def test_a_format_that_was_cut_off_is_done_again_from_nothing(node: LocalKafka, tmp_path: Path) -> None:
    half = node.folder / "kafka-data" / "half"
    half.parent.mkdir()
    half.touch()
    node._command()
    assert not half.exists()
    assert (tmp_path / "calls").exists()


def test_a_format_that_fails_says_what_java_said(node: LocalKafka, bin_path: Path) -> None:
    version = 'case "$1" in -version) echo \'version "21"\' >&2; exit 0 ;; esac'
    put(bin_path, "java", f"{version}\nseq 1 20; echo 'no space left' >&2; exit 4")
    with pytest.raises(FatalError, match=r"could not format .*kafka-data \(exit code 4\)\. It said:\n") as failed:
        node._command()
    assert str(failed.value).splitlines()[1:] == [*map(str, range(10, 21)), "no space left"]


def test_jars_are_looked_for_where_none_are_named(
    node: LocalKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "kafka_jars", lambda: tmp_path / "cached")
    command = LocalKafka(node.folder)._command()
    assert command[command.index("-cp") + 1] == f"{tmp_path / 'cached'}/*"


def test_redis_keeps_its_keys_where_it_is_told(bin_path: Path, tmp_path: Path) -> None:
    put(bin_path, "redis-server", "exit 0")
    folder = tmp_path / "with space"
    folder.mkdir()
    redis = LocalRedis(folder)
    assert list(redis._command()) == [str(bin_path / "redis-server"), str(folder / "redis.conf")]
    written = dict(line.split(" ", 1) for line in (folder / "redis.conf").read_text().splitlines())
    assert written["dir"] == f'"{folder / "redis-data"}"'
    assert (folder / "redis-data").is_dir()
    assert f"127.0.0.1:{written['port']}" == redis.address
    assert redis.url == f"redis://{redis.address}/0"
    assert (written["appendonly"], written["daemonize"], written["maxmemory-policy"]) == ("yes", "no", "noeviction")


def test_a_redis_that_was_never_started_is_not_ready(tmp_path: Path) -> None:
    redis = LocalRedis(tmp_path / "none")
    assert not redis.is_ready()
    assert not (tmp_path / "none").exists()


def test_a_broker_that_was_never_started_is_not_ready(tmp_path: Path) -> None:
    never = LocalKafka(tmp_path / "none")
    assert not never.is_ready()
    assert not (tmp_path / "none").exists()
