"""What a record costs in memory, counted the same way wherever memory is bounded."""

from messaging.ports import Headers, OutRecord, Record

RECORD_OVERHEAD_BYTES = 256
"""What one record costs besides its payload, so that many small records are bounded too."""


def payload_bytes(record: OutRecord) -> int:
    """Bytes of key, value and headers, as they travel."""
    return len(record.key.encode()) + len(record.value or b"") + _header_bytes(record.headers)


def held_bytes(record: Record) -> int:
    """Bytes that a record occupies while it is held."""
    return len(record.key or b"") + len(record.value or b"") + _header_bytes(record.headers) + RECORD_OVERHEAD_BYTES


def _header_bytes(headers: Headers) -> int:
    return sum(len(name) + len(value) for name, value in headers)
