"""Topics: which exist, and creating what is missing."""

from collections.abc import Mapping, Sequence
from typing import Any

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec
from kafka.errors import KafkaError, TopicAlreadyExistsError

from messaging.kafka.connection import KafkaConnection
from messaging.kafka.diagnosis import reaching
from messaging.kafka.errors import translate, translated
from messaging.ports import TopicSpec
from messaging.topics import check_partitions
from schemas.errors import FatalError


class KafkaTopics:
    """Questions to the cluster. Thread-safe; connects at construction.

    Raises:
        TransientError: no broker answers.
        FatalError: the broker refuses us.
    """

    def __init__(self, connection: KafkaConnection, replication_factor: int) -> None:
        self._replication_factor = replication_factor
        self._timeout_ms = int(connection.timeout_s * 1000)
        with reaching(connection, "connecting to Kafka"):
            self._admin = KafkaAdminClient(**connection.client_settings(), request_timeout_ms=self._timeout_ms)

    def existing(self) -> Mapping[str, int]:
        """Name to number of partitions."""
        with translated("listing topics"):
            return {topic["name"]: len(topic["partitions"]) for topic in self._admin.describe_topics()}

    def require(self, names: Sequence[str]) -> Mapping[str, int]:
        """As ``existing``, for ``names`` alone.

        Raises:
            FatalError: one does not exist.
        """
        existing = self.existing()
        missing = [name for name in names if name not in existing]
        if missing:
            raise FatalError(f"topics {missing} must exist, there are {sorted(existing)}; run `engram topics create`")
        return {name: existing[name] for name in names}

    def create(self, specs: Sequence[TopicSpec]) -> Sequence[str]:
        """Create what is missing and wait until it can be used; the names created."""
        existing = self.existing()
        for spec in specs:
            if spec.name in existing:
                check_partitions(spec, existing[spec.name])
        return [spec.name for spec in specs if spec.name not in existing and self._create(spec)]

    def ends(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """High watermarks: where the next record goes, open transactions included."""
        with translated("asking for the ends of partitions"):
            found = self._admin.list_partition_offsets(
                dict.fromkeys(partitions, OffsetSpec.LATEST), timeout_ms=self._timeout_ms
            )
            return {partition: place.offset for partition, place in found.items()}

    def close(self) -> None:
        """Release the connection."""
        self._admin.close()

    def _create(self, spec: TopicSpec) -> bool:
        wanted = {
            "num_partitions": spec.partitions,
            "replication_factor": self._replication_factor,
            "configs": _configs(spec),
        }
        try:
            self._admin.create_topics({spec.name: wanted}, timeout_ms=self._timeout_ms, wait_for_metadata=True)
        except TopicAlreadyExistsError:  # another process was faster
            check_partitions(spec, self.require([spec.name])[spec.name])
            return False
        except KafkaError as error:
            raise translate(error, f"creating topic '{spec.name}'") from error
        return True


def _configs(spec: TopicSpec) -> dict[str, Any]:
    configs = {"cleanup.policy": "compact" if spec.compacted else "delete"}
    if spec.retention_ms is not None and not spec.compacted:
        configs["retention.ms"] = str(spec.retention_ms)
    if spec.max_message_bytes is not None:
        configs["max.message.bytes"] = str(spec.max_message_bytes)
    return configs
