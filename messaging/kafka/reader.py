"""Reading without a group: committed records only, all partitions, from the beginning or from now on."""

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from messaging.kafka.connection import MIB, KafkaConnection
from messaging.kafka.corrupt import CorruptBatches
from messaging.kafka.decoding import SkipCount, read_patiently
from messaging.kafka.diagnosis import reaching
from messaging.kafka.errors import translate, translated
from messaging.kafka.topics import GrowthWatch
from messaging.ports import Places, Record
from messaging.topics import check_places
from schemas.errors import FatalError, TransientError

_log = logging.getLogger(__name__)

_BATCH = 1000


def lone_consumer(connection: KafkaConnection, skipped: SkipCount) -> KafkaConsumer:
    """A consumer outside any group that sees committed records only."""
    timeout_ms = int(connection.timeout_s * 1000)
    with reaching(connection, "connecting a reader to Kafka"):
        consumer = KafkaConsumer(
            **connection.client_settings(),
            group_id=None,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            request_timeout_ms=timeout_ms,
            fetch_max_bytes=16 * MIB,
            metrics_enabled=False,
        )
    return read_patiently(consumer, skipped)


class KafkaReader:
    """See ``ports.Reader``. For one thread at a time.

    Args:
        connection: where and how.
        topics: name to number of partitions.
        from_beginning: else from the end as it is now.
        growth: notices partitions that are not among those of ``topics``.
        only: of each topic these partitions; None = all.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        topics: Mapping[str, int],
        from_beginning: bool,
        growth: GrowthWatch,
        only: Collection[int] | None = None,
    ) -> None:
        self._partitions = [
            TopicPartition(name, number)
            for name, count in topics.items()
            for number in range(count)
            if only is None or number in only
        ]
        self._timeout_ms = int(connection.timeout_s * 1000)
        skipped = SkipCount()
        self._corrupt = CorruptBatches(skipped)
        self._closed = False
        self._growth = growth
        self._lag = 0
        self._consumer = lone_consumer(connection, skipped)
        with translated(f"finding where to read {sorted(topics)} from"):
            self._consumer.assign(self._partitions)
            find = self._consumer.beginning_offsets if from_beginning else self._consumer.end_offsets
            for partition, offset in find(self._partitions, timeout_ms=self._timeout_ms).items():
                self._consumer.seek(partition, offset)

    def read(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """See ``ports.Reader``."""
        if self._closed:
            raise FatalError("a reader must be open to read, this one was closed")
        self._growth.check(())
        try:
            found = self._consumer.poll(timeout_ms=max(0, int(timeout_s * 1000)), max_records=max_records)
        except KafkaError as error:
            if self._corrupt.step_over(self._consumer, error, self._partitions):
                return ()
            raise translate(error, "reading") from error
        self._count_lag()
        return [record for records in found.values() for record in records]

    def lag(self) -> int:
        """See ``ports.Reader``. What an open transaction holds counts, and so do marks of transactions."""
        return self._lag

    def read_to_end(self, timeout_s: float) -> Sequence[Record]:
        """See ``ports.Reader``. The end is that of the committed records: before the first open transaction."""
        return [record for batch in self.batches_to_end(timeout_s) for record in batch]

    def batches_to_end(self, timeout_s: float) -> Iterator[Sequence[Record]]:
        """See ``ports.Reader``."""
        deadline = time.monotonic() + timeout_s
        with translated("asking for the ends of partitions"):
            ends = self._consumer.end_offsets(self._partitions, timeout_ms=self._timeout_ms)
        while behind := self._behind(ends):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TransientError(f"the end of {behind} was not reached within {timeout_s:.0f} s; try again")
            yield self.read(_BATCH, min(left_s, 0.2))

    def partitions(self) -> Collection[tuple[str, int]]:
        """See ``ports.Reader``."""
        return {(partition.topic, partition.partition) for partition in self._partitions}

    def seek(self, places: Places) -> Places:
        """See ``ports.Reader``."""
        check_places(places, self.partitions())
        wanted = {TopicPartition(topic, number): offset for (topic, number), offset in places.items()}
        if not wanted:
            return {}
        with translated("finding where to go on"):
            oldest = self._consumer.beginning_offsets(list(wanted), timeout_ms=self._timeout_ms)
            ends = self._consumer.end_offsets(list(wanted), timeout_ms=self._timeout_ms)
            for partition, offset in wanted.items():
                wanted[partition] = offset if oldest[partition] <= offset <= ends[partition] else oldest[partition]
                self._consumer.seek(partition, wanted[partition])
        return {(partition.topic, partition.partition): offset for partition, offset in wanted.items()}

    def seek_time(self, timestamp_ms: int) -> None:
        """See ``ports.Reader``."""
        with translated("finding the records of a time"):
            asked = dict.fromkeys(self._partitions, timestamp_ms)
            found = self._consumer.offsets_for_times(asked, timeout_ms=self._timeout_ms)
            ends = self._consumer.end_offsets(self._partitions, timeout_ms=self._timeout_ms)
            for partition, end in ends.items():
                first = found.get(partition)
                self._consumer.seek(partition, end if first is None or first.offset < 0 else first.offset)

    def close(self) -> None:
        """See ``ports.Reader``."""
        self._closed = True
        self._growth.close()
        self._consumer.close(autocommit=False, timeout_ms=1000)

    def _count_lag(self) -> None:
        """After each read. The records that came would be passed over if this failed, or held up if it waited."""
        try:
            self._lag = sum(map(self._waiting, self._partitions))
        except KafkaError as error:
            _log.debug("how much waits to be read is not known: %s", error)

    def _waiting(self, partition: TopicPartition) -> int:
        end, at = self._consumer.highwater(partition), self._consumer.position(partition, timeout_ms=0)
        return max(0, (end or 0) - (at or 0))

    def _behind(self, ends: Mapping[TopicPartition, int]) -> list[str]:
        with translated("asking how far was read"):
            return [
                f"{partition.topic}[{partition.partition}]"
                for partition, end in ends.items()
                if self._consumer.position(partition, timeout_ms=self._timeout_ms) < end
            ]
