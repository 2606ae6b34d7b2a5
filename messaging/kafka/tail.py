"""Reading the newest records of topics first, and what comes after them."""

from collections.abc import Mapping

from messaging.kafka.connection import KafkaConnection
from messaging.kafka.errors import translated
from messaging.kafka.reader import KafkaReader
from messaging.kafka.topics import GrowthWatch


class TailReader(KafkaReader):
    """A reader that begins ``num_records`` before the end of each partition; marks of transactions count too.

    Args:
        connection: where and how.
        topics: name to number of partitions.
        num_records: of each partition.
        growth: notices partitions that are not among those read.
    """

    def __init__(
        self, connection: KafkaConnection, topics: Mapping[str, int], num_records: int, growth: GrowthWatch
    ) -> None:
        super().__init__(connection, topics, from_beginning=False, growth=growth)
        with translated(f"finding the newest records of {sorted(topics)}"):
            begins = self._consumer.beginning_offsets(self._partitions, timeout_ms=self._timeout_ms)
            for partition, begin in begins.items():
                end = self._consumer.position(partition, timeout_ms=self._timeout_ms)
                self._consumer.seek(partition, max(begin, end - num_records))
