"""The two launchers with real servers: readiness, faults, what survives, what is said when they cannot start."""

import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from deploy.local.class_archive import archive_of
from deploy.local.kafka import KafkaSettings, LocalKafka
from deploy.local.ports import LOOPBACK, accepts
from deploy.local.redis import LocalRedis
from deploy.local.requirements import find_java
from deploy.local.server import LocalServer
from deploy.local.wait import wait_until
from schemas.errors import FatalError, TransientError


def redis_says(server: LocalRedis, command: str) -> bytes:
    with socket.create_connection((LOOPBACK, port_of(server)), timeout=30) as connection:
        connection.sendall(command.encode() + b"\r\n")
        return connection.recv(1024)


def port_of(server: LocalServer) -> int:
    return int(server.address.rpartition(":")[2])


def topics_of(server: LocalKafka) -> set[str]:
    with closing(KafkaAdminClient(bootstrap_servers=server.bootstrap_servers)) as admin:
        return set(admin.list_topics())


def create_topic(server: LocalKafka, name: str) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=server.bootstrap_servers)) as admin:
        admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1}})


def test_redis_keeps_its_address_and_keys_over_a_restart(own_redis: LocalRedis) -> None:
    address, first_pid = own_redis.address, own_redis.pid
    assert redis_says(own_redis, "SET colour green") == b"+OK\r\n"
    own_redis.restart()
    assert own_redis.address == address
    assert own_redis.pid not in {None, first_pid}
    assert redis_says(own_redis, "GET colour") == b"$5\r\ngreen\r\n"


def test_redis_keeps_what_was_synced_over_a_kill(own_redis: LocalRedis) -> None:
    assert redis_says(own_redis, "SET colour green") == b"+OK\r\n"
    assert wait_until(lambda: b"aof_pending_bio_fsync:0" in redis_says(own_redis, "INFO persistence"), 30)
    assert redis_says(own_redis, "WAITAOF 1 0 30000").startswith((b"*2\r\n:1", b"-ERR unknown command"))
    own_redis.kill()
    assert own_redis.pid is None
    assert not own_redis.is_ready()
    own_redis.start()
    own_redis.wait_ready()
    assert redis_says(own_redis, "GET colour") == b"$5\r\ngreen\r\n"


def test_a_paused_redis_is_alive_but_not_ready(own_redis: LocalRedis) -> None:
    own_redis.pause()
    assert own_redis.pid is not None
    assert not own_redis.is_ready()
    with pytest.raises(TransientError, match=r"redis .* was not ready within"):
        own_redis.wait_ready(0.1)
    own_redis.resume()
    own_redis.wait_ready()


def test_a_paused_redis_can_be_stopped(own_redis: LocalRedis) -> None:
    own_redis.pause()
    own_redis.stop()
    assert own_redis.pid is None


def test_start_is_idempotent(own_redis: LocalRedis) -> None:
    pid = own_redis.pid
    own_redis.start()
    assert own_redis.pid == pid


def test_another_object_on_the_folder_finds_the_same_server(own_redis: LocalRedis) -> None:
    other = LocalRedis(own_redis.folder)
    assert (other.pid, other.address) == (own_redis.pid, own_redis.address)
    assert other.is_ready()
    other.stop()
    assert own_redis.pid is None


def test_a_server_outlives_the_process_that_started_it(redis_requirements: None, tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from deploy.local.redis import LocalRedis
server = LocalRedis(Path({str(tmp_path)!r}))
server.start()
server.wait_ready()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    server = LocalRedis(tmp_path)
    try:
        assert server.is_ready()
    finally:
        server.stop()
    assert not accepts(port_of(server))


def test_a_server_that_dies_at_start_shows_the_end_of_its_log(own_redis: LocalRedis) -> None:
    own_redis.stop()
    for part in (own_redis.folder / "redis-data").rglob("*.incr.aof"):
        part.write_bytes(b"this is no append-only file\r\n" * 10)
    own_redis.start()
    with pytest.raises(FatalError, match=r"redis died while starting[\s\S]*[Bb]ad file format"):
        own_redis.wait_ready()


def test_a_remembered_port_that_somebody_took_is_named(own_redis: LocalRedis) -> None:
    own_redis.stop()
    with (
        socket.create_server((LOOPBACK, port_of(own_redis))),
        pytest.raises(FatalError, match=rf"port {port_of(own_redis)} of redis .* is in use"),
    ):
        own_redis.start()


def test_redis_listens_on_the_loopback_interface_only(own_redis: LocalRedis) -> None:
    assert b"127.0.0.1" in redis_says(own_redis, "CONFIG GET bind")
    assert b"everysec" in redis_says(own_redis, "CONFIG GET appendfsync")


def test_kafka_keeps_its_topics_over_a_kill(own_kafka: LocalKafka, fresh_name: Callable[[str], str]) -> None:
    topic, address = fresh_name("topic"), own_kafka.bootstrap_servers
    create_topic(own_kafka, topic)
    own_kafka.kill()
    assert not own_kafka.is_ready()
    own_kafka.restart()
    assert own_kafka.bootstrap_servers == address
    assert topic in topics_of(own_kafka)


def test_kafka_keeps_its_topics_over_a_stop(own_kafka: LocalKafka, fresh_name: Callable[[str], str]) -> None:
    topic = fresh_name("topic")
    create_topic(own_kafka, topic)
    own_kafka.restart()
    assert topic in topics_of(own_kafka)


def test_kafka_creates_no_topic_unasked(kafka_server: LocalKafka, fresh_name: Callable[[str], str]) -> None:
    topic = fresh_name("topic")
    with closing(KafkaAdminClient(bootstrap_servers=kafka_server.bootstrap_servers)) as admin:
        admin.describe_topics([topic])
    assert topic not in topics_of(kafka_server)


def test_kafka_maps_the_classes_that_an_earlier_one_has_loaded(kafka_requirements: Path, own_kafka: LocalKafka) -> None:
    archive = archive_of(kafka_requirements, find_java())
    own_kafka.restart()  # whichever came first has made it
    assert str(archive) in Path(f"/proc/{own_kafka.pid}/maps").read_text()


def test_kafka_settings_that_it_refuses_are_shown(kafka_requirements: Path, tmp_path: Path) -> None:
    settings = KafkaSettings(more={"log.cleaner.dedupe.buffer.size": "1"})
    with pytest.raises(FatalError, match=r"(?s)could not format .*log\.cleaner\.dedupe\.buffer\.size must be"):
        LocalKafka(tmp_path, kafka_requirements, settings).start()


def test_kafka_that_dies_at_start_shows_the_end_of_its_log(kafka_requirements: Path, tmp_path: Path) -> None:
    server = LocalKafka(tmp_path, kafka_requirements)
    server.start()  # formats the data folder
    server.kill()
    meta = tmp_path / "kafka-data" / "meta.properties"
    meta.write_text(meta.read_text().replace("node.id=1", "node.id=7"))
    server.start()
    with pytest.raises(FatalError, match=r"(?s)kafka died while starting.*7"):
        server.wait_ready()
