"""One Kafka node in KRaft mode: broker and controller in one Java process, on the loopback interface."""

import base64
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.local.class_archive import archive_of, make_archive, with_archive
from deploy.local.jars import kafka_jars
from deploy.local.ports import accepts
from deploy.local.requirements import find_java
from deploy.local.server import LocalServer
from schemas.errors import FatalError

_STARTED: Final = "Kafka Server started"
_FORMAT_TIMEOUT_S = 180.0


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """What differs between a stack to work with and a broker under test.

    Attributes:
        rebalance_delay_ms: how long a new, empty group waits for more members.
        session_timeout_ms: how long the controller waits before it takes a silent broker for dead. A broker that comes
            back after SIGKILL is kept out for that long.
        heap_mb: largest Java heap.
        advertised_port: the port that clients are told to use; None = the one it listens on. For a proxy in between.
        more: further lines of ``server.properties``; they win over the ones made here.
    """

    rebalance_delay_ms: int = 0
    session_timeout_ms: int = 9000
    heap_mb: int = 256
    advertised_port: int | None = None
    more: Mapping[str, str] = field(default_factory=dict)


class LocalKafka(LocalServer):
    """A real Kafka whose topics survive restarts of its folder."""

    name = "kafka"

    def __init__(self, folder: Path, jars: Path | None = None, settings: KafkaSettings | None = None) -> None:
        super().__init__(folder)
        self._jars = jars
        self._settings = settings or KafkaSettings()

    @property
    def bootstrap_servers(self) -> str:
        """``host:port``, as clients want it."""
        return self.address

    def is_ready(self) -> bool:
        """Whether the broker has joined its cluster and takes connections."""
        return self.pid is not None and _STARTED in self._process.log() and accepts(self._port("client"))

    def _command(self) -> Sequence[str]:
        java = find_java()
        jars = self._jars or kafka_jars()
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in self._properties().items()))
        quick = [str(java), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]  # a small node gains nothing by the others
        class_path = ["-cp", f"{jars}/*"]  # Java itself expands the star
        archive = archive_of(jars, java)
        if not (self._data / "meta.properties").exists():
            self._format([*quick, *with_archive(archive), *class_path], properties)
            make_archive(archive, quick, [*class_path, "kafka.tools.StorageTool", "info", "--config", str(properties)])
        return [
            *quick,
            *with_archive(archive),
            "-Xms64m",
            f"-Xmx{self._settings.heap_mb}m",
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties')}",
            *class_path,
            "kafka.Kafka",
            str(properties),
        ]

    @property
    def _data(self) -> Path:
        return self.folder / "kafka-data"

    def _format(self, java: Sequence[str], properties: Path) -> None:
        """Give the data folder its cluster id; Kafka refuses to start on an unformatted one."""
        shutil.rmtree(self._data, ignore_errors=True)  # a format that was cut off half way
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        command = [*java, "kafka.tools.StorageTool", "format", "--standalone", f"--cluster-id={cluster_id}"]
        command += ["--config", str(properties)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FORMAT_TIMEOUT_S, check=False)
        if done.returncode != 0:
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
            raise FatalError(f"Kafka could not format {self._data} (exit code {done.returncode}). It said:\n{said}")

    def _properties(self) -> dict[str, str]:
        broker = f"127.0.0.1:{self._port('client')}"
        controller = f"127.0.0.1:{self._port('controller')}"
        advertised = f"127.0.0.1:{self._settings.advertised_port or self._port('client')}"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{advertised}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": controller,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self._data),
            "broker.session.timeout.ms": str(self._settings.session_timeout_ms),
            "broker.heartbeat.interval.ms": str(self._settings.session_timeout_ms // 5),
            "group.initial.rebalance.delay.ms": str(self._settings.rebalance_delay_ms),
            **_SMALL_NODE,
            **self._settings.more,
        }


_SMALL_NODE: Final = {
    "auto.create.topics.enable": "false",
    "num.network.threads": "1",
    "num.io.threads": "2",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.min.session.timeout.ms": "1000",
    # How late a retention is kept; the default, five minutes, is long for films of people.
    "log.retention.check.interval.ms": "10000",
    # The log cleaner's default buffer, 128 MiB, would take half of the small heap.
    "log.cleaner.dedupe.buffer.size": "2097152",
}
