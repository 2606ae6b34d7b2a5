"""A Kafka of three brokers and a controller, as a site that must outlive one of them has it."""

import base64
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.kafka import KafkaSettings, LocalKafka
from deploy.local.ports import accepts
from schemas.errors import FatalError

READY_S = 300.0
FORMAT_S = 180.0
NUM_BROKERS = 3
SESSION_MS = 3000
REPLICATED = {
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "unclean.leader.election.enable": "false",
}


class Node(LocalKafka):
    """One process of a cluster.

    Args:
        folder: see ``LocalServer``.
        jars: of Kafka.
        cluster_id: which all its nodes share.
        node_id: 0 = the controller.
        quorum: ``host:port`` of the controller; None = this is the controller.
    """

    def __init__(self, folder: Path, jars: Path, cluster_id: str, node_id: int, quorum: str | None) -> None:
        super().__init__(folder, jars, KafkaSettings(session_timeout_ms=SESSION_MS, more=REPLICATED))
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._quorum = quorum

    @property
    def quorum(self) -> str:
        """``host:port`` of the controller."""
        return self._quorum or f"127.0.0.1:{self._port('controller')}"

    def is_ready(self) -> bool:
        """Whether it takes connections and has said that it has started."""
        port = self._port("controller" if self._quorum is None else "client")
        return self.pid is not None and "Kafka Server started" in self._process.log() and accepts(port)

    def _properties(self) -> dict[str, str]:
        told = super()._properties()
        own = {"node.id": str(self._node_id), "controller.quorum.bootstrap.servers": self.quorum}
        if self._quorum is None:
            for name in ("advertised.listeners", "inter.broker.listener.name"):
                del told[name]
            return told | own | {"process.roles": "controller", "listeners": f"CONTROLLER://{self.quorum}"}
        return told | own | {"process.roles": "broker", "listeners": f"PLAINTEXT://{self.address}"}

    def _format(self, java: Sequence[str], properties: Path) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        kind = "--standalone" if self._quorum is None else "--no-initial-controllers"
        command = [*java, "kafka.tools.StorageTool", "format", kind, f"--cluster-id={self._cluster_id}"]
        command += ["--config", str(properties)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=FORMAT_S, check=False)
        if done.returncode:
            raise FatalError(f"Kafka could not format {self._data}: {done.stdout}{done.stderr}")


@dataclass(frozen=True, slots=True)
class KafkaCluster:
    """What runs."""

    controller: Node
    brokers: Sequence[Node]

    @property
    def bootstrap_servers(self) -> str:
        """Of all brokers."""
        return ",".join(broker.address for broker in self.brokers)


@contextmanager
def kafka_cluster(folder: Path, jars: Path) -> Iterator[KafkaCluster]:
    """It lives until the context ends."""
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
    controller = Node(folder / "controller", jars, cluster_id, 0, None)
    numbers = range(1, NUM_BROKERS + 1)
    brokers = [Node(folder / f"broker-{each}", jars, cluster_id, each, controller.quorum) for each in numbers]
    with ExitStack() as ended:
        for node in (controller, *brokers):
            ended.callback(node.kill)
            node.start()
        for node in (controller, *brokers):
            node.wait_ready(READY_S)
        yield KafkaCluster(controller, brokers)
