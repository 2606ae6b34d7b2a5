"""What the coordinator publishes, kept until the broker has confirmed it."""

from collections.abc import Callable

from memory_store.bank import AuditEntry, Bank, to_wire
from messaging.dead_letters import is_letter, shortened
from messaging.ports import OutRecord, Publisher
from schemas.codec import encode_header
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
            if not is_letter(record):
                text = f"the topic '{record.topic}' must take a bank of {len(record.value or b'')} bytes: {error}"
                raise FatalError(f"{text}; raise its max.message.bytes") from error
            self._publisher.publish(shortened(record), on_done)
        except EngramError as error:
            on_done(error)


def bank_record(bank: Bank, entry: AuditEntry, topic: str) -> OutRecord:
    """A committed bank for the compacted topic."""
    header, value = to_wire(bank, entry)
    return OutRecord(topic, bank.bank_id, value, encode_header(header))


def _noting(done: dict[int, Exception | None], number: int) -> Callable[[Exception | None], None]:
    def note(error: Exception | None) -> None:
        done[number] = error

    return note
