"""A record that can never be handled, on its way to the topic of dead letters.

A letter must itself be publishable whatever the record was: its key, headers and value are bounded, and what was left
out is said, so that who finds it can still go to the source.
"""

from messaging.ports import Headers, OutRecord, Record
from schemas.codec import MAX_HEADER_BYTES
from schemas.errors import BadMessageError

REASON = "engram-reason"
MESSAGE = "engram-message"
SOURCE = "engram-source"
AUTHOR = "engram-author"
KEY = "engram-key"
LEFT_OUT = "engram-bytes-left-out"

UNFIT_KEY = "unknown"
MAX_KEY_BYTES = 256
MAX_MESSAGE_BYTES = 1024
MAX_KEPT_HEADERS = 16


def dead_letter(record: Record, error: BadMessageError, topic: str, author: str) -> OutRecord:
    """The bytes as they came, with what was wrong and where they stood in the headers.

    Args:
        record: what cannot be handled.
        error: why.
        topic: of dead letters, with prefix.
        author: id of the process that gave up.
    """
    told: Headers = (
        (REASON, error.reason.encode()),
        (MESSAGE, str(error).encode(errors="replace")[:MAX_MESSAGE_BYTES]),
        (SOURCE, f"{record.topic}/{record.partition}/{record.offset}".encode()),
        (AUTHOR, author.encode()),
    )
    raw_key = record.key or b""
    key = _plain(raw_key)
    if key is None and raw_key:
        told = (*told, (KEY, raw_key[:MAX_KEY_BYTES]))
    return OutRecord(topic, key or UNFIT_KEY, record.value or b"", (*told, *_kept(record.headers)))


def is_letter(record: OutRecord) -> bool:
    """Whether ``dead_letter`` made it."""
    return any(name == REASON for name, _ in record.headers)


def shortened(letter: OutRecord) -> OutRecord:
    """The letter without its value, for a topic that does not take it whole."""
    told = tuple((name, value) for name, value in letter.headers if name in (REASON, MESSAGE, SOURCE, AUTHOR, KEY))
    return OutRecord(letter.topic, letter.key, b"", (*told, (LEFT_OUT, str(len(letter.value or b"")).encode())))


def _plain(key: bytes) -> str | None:
    if len(key) > MAX_KEY_BYTES:
        return None
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None


def _kept(headers: Headers) -> Headers:
    """The first headers that together are no longer than one may be."""
    kept, left = [], MAX_HEADER_BYTES
    for name, value in headers[:MAX_KEPT_HEADERS]:
        left -= len(name.encode(errors="replace")) + len(value)
        if left >= 0:
            kept.append((name, value))
    return tuple(kept)
