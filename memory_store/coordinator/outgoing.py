"""What the coordinator publishes, kept until the broker has confirmed it."""

from collections.abc import Callable

from memory_store.bank import AuditEntry, Bank, to_wire
from messaging.ports import Headers, OutRecord, Publisher, Record
from schemas.codec import MAX_HEADER_BYTES, encode_header
from schemas.errors import BadMessageError, EngramError, FatalError, TransientError


class Outgoing:
    """Records on their way out, in order. Repeated if in doubt: readers of both topics can take a record twice."""

    def __init__(self, publisher: Publisher, timeout_s: float) -> None:
        self._publisher = publisher
        self._timeout_s = timeout_s
        self._waiting: list[OutRecord] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, record: OutRecord) -> None:
        """Publish it at the next ``send``."""
        self._waiting.append(record)

    def send(self) -> None:
        """Publish all that waits and see it confirmed.

        Raises:
            TransientError: not all was confirmed in time; the rest stays.
            FatalError: a bank is larger than its topic takes.
        """
        if not self._waiting:
            return
        done: dict[int, Exception | None] = {}
        for number, record in enumerate(self._waiting):
            self._publish(record, _noting(done, number))
        self._publisher.flush(self._timeout_s)
        confirmed = {number for number, error in list(done.items()) if error is None}
        self._waiting = [record for number, record in enumerate(self._waiting) if number not in confirmed]
        if self._waiting:
            cause = next((error for error in list(done.values()) if error is not None), "no answer in time")
            raise TransientError(f"{len(self._waiting)} records could not be published, among them: {cause}")

    def _publish(self, record: OutRecord, on_done: Callable[[Exception | None], None]) -> None:
        try:
            self._publisher.publish(record, on_done)
        except BadMessageError as error:
            if not _is_letter(record):
                text = f"the topic '{record.topic}' must take a bank of {len(record.value or b'')} bytes: {error}"
                raise FatalError(f"{text}; raise its max.message.bytes") from error
            self._publisher.publish(_shortened(record), on_done)
        except EngramError as error:
            on_done(error)


UNFIT_KEY = "unknown"
_REASON = "engram-reason"


def bank_record(bank: Bank, entry: AuditEntry, topic: str) -> OutRecord:
    """A committed bank for the compacted topic."""
    header, value = to_wire(bank, entry)
    return OutRecord(topic, bank.bank_id, value, encode_header(header))


def dead_letter(record: Record, error: BadMessageError, topic: str, author: str) -> OutRecord:
    """The bytes as they came, with what was wrong and where they stood in the headers."""
    told: Headers = (
        (_REASON, error.reason.encode()),
        ("engram-message", str(error).encode()[:1024]),
        ("engram-source", f"{record.topic}/{record.partition}/{record.offset}".encode()),
        ("engram-coordinator", author.encode()),
    )
    kept = tuple((name, value) for name, value in record.headers[:16] if len(value) <= MAX_HEADER_BYTES)
    key = (record.key or UNFIT_KEY.encode()).decode(errors="replace")
    return OutRecord(topic, key, record.value or b"", (*told, *kept))


def _is_letter(record: OutRecord) -> bool:
    return any(name == _REASON for name, _ in record.headers)


def _shortened(letter: OutRecord) -> OutRecord:
    """A dead letter that is too large for its topic: who finds it can still go to the source."""
    headers = (*letter.headers[:4], ("engram-bytes-left-out", str(len(letter.value or b"")).encode()))
    return OutRecord(letter.topic, letter.key, b"", headers)


def _noting(done: dict[int, Exception | None], number: int) -> Callable[[Exception | None], None]:
    def note(error: Exception | None) -> None:
        done[number] = error

    return note
