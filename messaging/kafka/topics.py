"""Topics: which exist, how they are kept, creating what is missing, mending what differs, growing.

Kafka deletes whole segments, and never compacts the one that is being written. So a retention is kept no better than
segments are short, and each topic gets settings for them; the broker's own (7 days, 1 GiB) would keep a quiet topic's
records for a week whatever its retention says. Records are judged by the time at which the broker took them: a
producer's clock could keep a record for ever, or have it deleted at once.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, OffsetSpec
from kafka.errors import KafkaError, TopicAlreadyExistsError, TopicAuthorizationFailedError

from messaging.kafka.connection import KafkaConnection
from messaging.kafka.diagnosis import reaching
from messaging.kafka.errors import SEE_RIGHTS, translate, translated
from messaging.ports import TopicSpec
from messaging.topics import check_partitions
from schemas.errors import EngramError, FatalError, TransientError

T = TypeVar("T")

_log = logging.getLogger(__name__)

SEGMENTS_PER_RETENTION = 10
"""A record is gone after its retention and a tenth more, plus the broker's ``log.retention.check.interval.ms``."""
_SHORTEST_SEGMENT_MS = 1000
_LONGEST_SEGMENT_MS = 24 * 3600 * 1000
_SEGMENT_BYTES = 256 << 20
_COMPACTED_SEGMENT_BYTES = 8 << 20
_COMPACTION_LAG_MS = 5 * 60 * 1000
"""How long several values of one key may lie side by side, and how long a tombstone or the mark of a transaction stays
after compaction (each commit leaves one). A reader that starts at the beginning must reach the end within it."""

_LOOK_S = 2.0
_GROW_S = 30.0
_AGAIN_S = 0.1
_RIDE_OUT_S = 3.0
"""So long a question is asked again. The client tells of a lost connection, or of a login that was refused since, when
it is asked next and no sooner, and then waits up to a second before it connects anew: a broker that is well meanwhile
answers within this time. No longer, because a camera's thread may wait for the answer."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting of a topic: what it is, and what was asked for."""

    found: str
    wanted: str


class KafkaTopics:
    """Questions to the cluster, each asked again for a few seconds, and changes, which are not. Thread-safe.

    Connects at construction.

    Raises:
        TransientError: no broker answers.
        FatalError: the broker refuses us.
    """

    def __init__(self, connection: KafkaConnection, replication_factor: int) -> None:
        self._replication_factor = replication_factor
        self._timeout_ms = int(connection.timeout_s * 1000)
        self._closed = threading.Event()
        with reaching(connection, "connecting to Kafka"):
            self._admin = KafkaAdminClient(**connection.client_settings(), request_timeout_ms=self._timeout_ms)

    def existing(self) -> Mapping[str, int]:
        """Name to number of partitions."""
        found = self._ask("listing topics", self._admin.describe_topics)
        return {topic["name"]: len(topic["partitions"]) for topic in found}

    def require(self, names: Sequence[str]) -> Mapping[str, int]:
        """As ``existing``, for ``names`` alone.

        Raises:
            FatalError: one does not exist, or this user may not know of it.
        """
        existing = self.existing()
        missing = [name for name in names if name not in existing]
        if missing:
            self._check_visible(missing)
            raise FatalError(f"topics {missing} must exist, there are {sorted(existing)}; run `engram topics create`")
        return {name: existing[name] for name in names}

    def _check_visible(self, names: Sequence[str]) -> None:
        """A broker lists only what a user has some right to; asked by name it tells that from what does not exist."""
        found = self._ask("asking for topics by name", lambda: self._admin.describe_topics(list(names)))
        hidden = [topic["name"] for topic in found if topic["error_code"] == TopicAuthorizationFailedError.errno]
        if hidden:
            text = f"this user has no right to topics {hidden}: neither Read nor Write nor Describe"
            raise FatalError(f"{text}; {SEE_RIGHTS}")

    def create(self, specs: Sequence[TopicSpec]) -> Sequence[str]:
        """Create what is missing and wait until it can be used; the names created."""
        missing = self.missing(specs)
        return [spec.name for spec in specs if spec.name in missing and self._create(spec)]

    def missing(self, specs: Sequence[TopicSpec]) -> Sequence[str]:
        """The names that ``create`` would create.

        Raises:
            FatalError: one that exists has another number of partitions.
        """
        existing = self.existing()
        for spec in specs:
            if spec.name in existing:
                check_partitions(spec, existing[spec.name])
        return [spec.name for spec in specs if spec.name not in existing]

    def differences(self, specs: Sequence[TopicSpec]) -> Mapping[str, Mapping[str, Difference]]:
        """Settings of existing topics that are not as ``specs`` ask, by topic and setting."""
        existing = self.existing()
        wanted = {spec.name: topic_configs(spec) for spec in specs if spec.name in existing}
        if not wanted:
            return {}
        asked = [ConfigResource(ConfigResourceType.TOPIC, name, list(configs)) for name, configs in wanted.items()]
        found = self._settings("reading the settings of topics", asked)
        hidden = [name for name in wanted if not found.get(name)]
        if hidden:
            _log.warning("how topics %s are kept is not known: this user may not ask (DescribeConfigs)", hidden)
        return {
            name: different
            for name, configs in wanted.items()
            if name not in hidden
            and (different := _different(configs, {key: each["value"] for key, each in found[name].items()}))
        }

    def mend(self, specs: Sequence[TopicSpec]) -> Mapping[str, Mapping[str, Difference]]:
        """Set what differs. Partitions stay as they are: see ``grow``.

        Returns:
            What differed, as ``differences`` has it.

        Raises:
            FatalError: the broker does not take the settings.
        """
        differences = self.differences(specs)
        changes = [
            ConfigResource(ConfigResourceType.TOPIC, name, {key: each.wanted for key, each in different.items()})
            for name, different in differences.items()
        ]
        if changes:
            with translated("changing the settings of topics"):
                answers = self._admin.alter_configs(changes)["topic"]
            refused = {name: answer for name, answer in answers.items() if answer != "OK"}
            if refused:
                raise FatalError(f"the broker must take the settings of these topics, it did not: {refused}")
        return differences

    def grow(self, names: Sequence[str], partitions: int) -> Sequence[str]:
        """Give topics more partitions, one after the other in the order of ``names``; may be repeated.

        Returns:
            The names that had fewer.

        Raises:
            FatalError: one does not exist or has more already; then nothing was changed.
            TransientError: broker away; some may have grown, so call it again.
        """
        existing = self.require(names)
        larger = {name: count for name, count in existing.items() if count > partitions}
        if larger:
            raise FatalError(f"topics can only grow, {larger} have more than {partitions} partitions already")
        grown = [name for name in names if existing[name] < partitions]
        for name in grown:
            with translated(f"growing topic '{name}' to {partitions} partitions"):
                self._admin.create_partitions({name: partitions}, timeout_ms=self._timeout_ms)
        deadline = time.monotonic() + _GROW_S
        while any(count < partitions for count in self.require(names).values()):
            if time.monotonic() > deadline:
                raise FatalError(f"topics {grown} must have {partitions} partitions within {_GROW_S:.0f} s: repeat it")
            time.sleep(_AGAIN_S)
        return grown

    def ends(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """High watermarks: where the next record goes, open transactions included."""
        latest = dict.fromkeys(partitions, OffsetSpec.LATEST)
        found = self._ask(
            "asking for the ends of partitions",
            lambda: self._admin.list_partition_offsets(latest, timeout_ms=self._timeout_ms),
        )
        return {partition: place.offset for partition, place in found.items()}

    def id_of(self, name: str) -> str:
        """The broker's own name for a topic, which none has that is made again under the same name."""
        with translated("asking for the id of a topic"):
            (topic,) = self._admin.describe_topics([name])
            return str(topic["topic_id"])

    def max_message_bytes(self, name: str) -> int | None:
        """Largest batch that the topic takes; None where we may not ask."""
        question = ConfigResource(ConfigResourceType.TOPIC, name, {"max.message.bytes": None})
        try:
            found = self._settings(f"asking for the limit of topic '{name}'", [question])
        except EngramError as error:
            _log.info("the limit of topic '%s' is not known: %s", name, error)
            return None
        value = found.get(name, {}).get("max.message.bytes", {}).get("value")
        return int(value) if value else None

    def close(self) -> None:
        """Release the connection."""
        self._closed.set()
        self._admin.close()

    def _settings(self, doing: str, asked: Sequence[ConfigResource]) -> Mapping[str, Any]:
        """Topic to setting to what the broker says of it."""
        answer = self._ask(doing, lambda: self._admin.describe_configs(list(asked), config_filter="all"))
        found: Mapping[str, Any] = answer.get("topic", {})
        return found

    def _ask(self, doing: str, question: Callable[[], T]) -> T:
        """The answer to a question that changes nothing, whatever it meets in passing."""
        deadline = time.monotonic() + _RIDE_OUT_S
        while True:
            try:
                with translated(doing):
                    return question()
            except TransientError:
                if time.monotonic() > deadline or self._closed.wait(_AGAIN_S):
                    raise

    def _create(self, spec: TopicSpec) -> bool:
        wanted = {
            "num_partitions": spec.partitions,
            "replication_factor": self._replication_factor,
            "configs": dict(topic_configs(spec)),
        }
        try:
            self._admin.create_topics({spec.name: wanted}, timeout_ms=self._timeout_ms, wait_for_metadata=True)
        except TopicAlreadyExistsError:  # another process was faster
            check_partitions(spec, self.require([spec.name])[spec.name])
            return False
        except KafkaError as error:
            raise translate(error, f"creating topic '{spec.name}'") from error
        return True


class GrowthWatch:
    """Notices that topics were grown while a member of a group is at work.

    The client notices after minutes, and then goes on: with a partition of frames that has no states, and with keys
    that have moved. A member must rather begin anew. Asks on a thread of its own from the first ``check`` on, as an
    answer may take long.

    Args:
        topics: whom to ask.
        began_with: topic to the partitions it had when the member began; the state topic too.
        every_s: how often to look.
    """

    def __init__(self, topics: KafkaTopics, began_with: Mapping[str, int], every_s: float = _LOOK_S) -> None:
        self._topics = topics
        self._began_with = began_with
        self._every_s = every_s
        self._seen = began_with
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def check(self, assigned: Iterable[TopicPartition]) -> None:
        """Compare with what was seen last, and with the partitions that others, who know already, have given us.

        Raises:
            FatalError: a topic was grown: this process must start again.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="watch-growth", daemon=True)
            self._thread.start()
        counts = dict(self._seen)
        for partition in assigned:
            counts[partition.topic] = max(counts.get(partition.topic, 0), partition.partition + 1)
        for name, count in self._began_with.items():
            if counts.get(name, 0) > count:
                raise FatalError(
                    f"the topics were grown: start again. '{name}' has {counts[name]} partitions now, it had {count} "
                    f"when this process began; `engram topics grow {counts[name]}` grows those that were left out"
                )

    def close(self) -> None:
        """Look no more."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(1.0)

    def _look(self) -> None:
        while not self._closed.wait(self._every_s):
            try:
                existing = self._topics.existing()
            except EngramError as error:  # the broker is away, of which others speak
                _log.debug("%s", error)
            else:
                self._seen = {name: existing.get(name, 0) for name in self._began_with}


def topic_configs(spec: TopicSpec) -> Mapping[str, str]:
    """The broker's settings of a topic that is kept as ``spec`` asks."""
    configs = {"message.timestamp.type": "LogAppendTime"}
    if spec.compacted:
        configs |= {
            "cleanup.policy": "compact",
            "segment.ms": str(_COMPACTION_LAG_MS),
            "segment.bytes": str(_COMPACTED_SEGMENT_BYTES),
            "min.cleanable.dirty.ratio": "0.1",
            "max.compaction.lag.ms": str(_COMPACTION_LAG_MS),
            "delete.retention.ms": str(_COMPACTION_LAG_MS),
        }
    else:
        configs |= {"cleanup.policy": "delete", "segment.bytes": str(_SEGMENT_BYTES)}
        if spec.retention_ms is not None:
            segment_ms = spec.retention_ms // SEGMENTS_PER_RETENTION
            configs["retention.ms"] = str(spec.retention_ms)
            configs["segment.ms"] = str(min(_LONGEST_SEGMENT_MS, max(_SHORTEST_SEGMENT_MS, segment_ms)))
    if spec.max_message_bytes is not None:
        configs["max.message.bytes"] = str(spec.max_message_bytes)
    return configs


def _different(wanted: Mapping[str, str], found: Mapping[str, str | None]) -> dict[str, Difference]:
    return {key: Difference(str(found.get(key)), value) for key, value in wanted.items() if found.get(key) != value}
