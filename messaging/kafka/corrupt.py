"""Stepping over fetches without one whole batch in them; what is in a batch is read by ``decoding``.

The client raises for such a fetch again and again, and it does not say where the batch ends. So the position moves on
by one offset at a time until the client reads again: a batch holds some hundred records at most.
"""

import logging
import re
from collections.abc import Collection
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import CorruptRecordError, KafkaError

from messaging.kafka.decoding import SkipCount

_log = logging.getLogger(__name__)
_OFFSET = re.compile(r"(?:at offset |\)=)(\d+)")
_NO_PROGRESS = "Failed to make progress"


class CorruptBatches:
    """Counts what had to be stepped over, in offsets."""

    def __init__(self, skipped: SkipCount) -> None:
        self._skipped = skipped

    @property
    def num_skipped(self) -> int:
        """Offsets stepped over so far, by the reading of batches too."""
        return self._skipped.num_skipped

    def step_over(self, consumer: KafkaConsumer, error: KafkaError, partitions: Collection[TopicPartition]) -> bool:
        """Move past the offset that ``error`` complains of.

        Args:
            consumer: the consumer whose poll raised.
            error: what it raised.
            partitions: those it reads now.

        Returns:
            False if the error is about something else.
        """
        said = str(error)
        if not isinstance(error, CorruptRecordError) and _NO_PROGRESS not in said:
            return False
        where = next((partition for partition in partitions if str(partition) in said), None)
        offset = _OFFSET.search(said)
        if where is None or offset is None:
            return False
        target = max(_position(consumer, where), int(offset[1])) + 1
        _log.error("offset %d of %s[%d] cannot be read (%s): skipped", target - 1, where.topic, where.partition, said)
        consumer.seek(where, target)
        self._skipped.num_skipped += 1
        return True


def _position(consumer: KafkaConsumer, partition: TopicPartition) -> int:
    position: Any = consumer.position(partition, timeout_ms=1000)
    return int(position) if position is not None else 0
