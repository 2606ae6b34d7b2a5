"""What the pinned client's producer lacks: deadlines on transactional calls, and a close that always ends.

The only place that touches the client's private parts; the version is pinned for that.
"""

import logging
from collections.abc import Mapping

from kafka import KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.structs import ConsumerGroupMetadata

_log = logging.getLogger(__name__)


def send_offsets(
    producer: KafkaProducer,
    offsets: Mapping[TopicPartition, OffsetAndMetadata],
    membership: ConsumerGroupMetadata,
    timeout_s: float,
) -> None:
    """``send_offsets_to_transaction`` with a deadline; the public one waits for ever while the broker is away."""
    result = producer._transaction_manager.send_offsets_to_transaction(dict(offsets), membership)
    producer._sender.wakeup()
    if not result.wait(timeout_ms=timeout_s * 1000):
        raise KafkaTimeoutError(f"offsets were not taken into the transaction within {timeout_s:.0f} s")


def commit_transaction(producer: KafkaProducer, timeout_s: float) -> None:
    """``commit_transaction`` with a deadline."""
    result = producer._transaction_manager.begin_commit()
    producer._sender.wakeup()
    if not result.wait(timeout_ms=timeout_s * 1000):
        raise KafkaTimeoutError(f"the transaction was not committed within {timeout_s:.0f} s")


def abort_transaction(producer: KafkaProducer, timeout_s: float) -> None:
    """``abort_transaction`` with a deadline."""
    result = producer._transaction_manager.begin_abort()
    producer._sender.wakeup()
    if not result.wait(timeout_ms=timeout_s * 1000):
        raise KafkaTimeoutError(f"the transaction was not aborted within {timeout_s:.0f} s")


def cause_of(producer: KafkaProducer, error: KafkaError) -> BaseException:
    """The error that put a transactional producer out of action, where ``error`` only says that it is."""
    cause: BaseException | None = producer._transaction_manager.last_error
    return cause or error


def discard(producer: KafkaProducer, timeout_s: float) -> None:
    """Close within ``timeout_s``; what is unsent by then is given up and its futures fail."""
    try:
        producer.close(timeout=timeout_s)
    except KafkaError as error:  # its flush came to the deadline, and then it stays open
        _log.info("a producer was closed by force: %s", error)
        producer._sender.force_close()
        producer._sender.join(timeout_s)
        producer._closed = True


def is_running(producer: KafkaProducer) -> bool:
    """Whether its thread lives; without it records are taken and never answered."""
    return bool(producer._sender.is_alive())
