"""The client's records as ours."""

from kafka.consumer.fetcher import ConsumerRecord

from messaging.ports import Record


def to_record(found: ConsumerRecord) -> Record:
    """Raw bytes and what the broker knows of them."""
    headers = tuple((name, value or b"") for name, value in found.headers)
    return Record(found.topic, found.partition, found.offset, found.key, found.value, headers, found.timestamp)
