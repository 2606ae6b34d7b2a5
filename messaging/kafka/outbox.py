"""The atomic output of one worker as Kafka transactions.

Each transaction holds the records, the states (records too) and the input offsets, with the group generation that the
claims belong to: the broker refuses offsets of an older one. After any error the producer is thrown away, because a
used one would carry the offsets of a failed transaction over into the next; the new one aborts what the old one left.
A broker that was killed may forget to tell the group coordinator of that abort, and would then take the offsets for
valid with our next commit (Kafka 4.3); so each producer begins with an empty transaction of the group that it aborts.

States that lie far behind in the log go along, so that the next owner need not look for them there (``states``).

A fenced outbox connects again at the next commit: the broker also fences a writer whose transaction has timed out, and
the two cannot be told apart. That is safe, because offsets count only under claims that are still held.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from kafka import KafkaProducer, OffsetAndMetadata
from kafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from kafka.future import Future
from kafka.structs import ConsumerGroupMetadata

from messaging.cloud_events import form_of
from messaging.dead_letters import is_letter, shortened
from messaging.kafka.connection import KafkaConnection, KafkaOptions
from messaging.kafka.errors import is_fenced, translate
from messaging.kafka.marks import offsets_of
from messaging.kafka.producer import abort_transaction, cause_of, commit_transaction, discard, send_offsets
from messaging.kafka.subscription import KafkaSubscription
from messaging.ports import OutRecord, Progress, Record, TooLargeError
from messaging.sizes import payload_bytes
from schemas.errors import EngramError, FatalError

_log = logging.getLogger(__name__)
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
_DISCARD_S = 1.0
_REPLACE_S = 3.0
"""A caller that has just been told of an error should not wait long for the next producer."""


class KafkaOutbox:
    """See ``ports.Outbox``. One thread at a time commits, the others wait.

    Args:
        connection: where and how.
        options: deadlines.
        subscription: whose claims are committed.
        writer_id: transactional id, see ``KafkaSubscription.transactional_id``; a newer producer of it fences this one.

    Raises:
        TransientError: broker away.
    """

    def __init__(
        self, connection: KafkaConnection, options: KafkaOptions, subscription: KafkaSubscription, writer_id: str
    ) -> None:
        self._connection = connection
        self._options = options
        self._subscription = subscription
        self._writer_id = writer_id
        self._form = form_of(options.event_mode)
        self._lock = threading.Lock()
        self._closed = False
        self._producer: KafkaProducer | None = self._connect(connection.timeout_s)

    def commit(self, records: Sequence[OutRecord], progress: Sequence[Progress]) -> None:
        """See ``ports.Outbox``."""
        with self._lock:
            if self._closed:
                raise FatalError("an outbox must be open to commit, this one was closed")
            self._commit_fitting(list(records), self._subscription.kept(progress))

    def close(self) -> None:
        """See ``ports.Outbox``."""
        with self._lock:
            self._closed = True
            if self._producer is not None:
                discard(self._producer, _DISCARD_S)
                self._producer = None

    def _commit_fitting(self, records: list[OutRecord], progress: Sequence[Progress]) -> None:
        """Try until it is through; a letter that is refused for its size is shortened, once."""
        whole = set(range(len(records)))
        again = self._subscription.far_behind(records, progress)
        while True:
            try:
                return self._attempt([*records, *again], progress)
            except TooLargeError as error:
                if error.record in again:  # the topic took it once, and takes less now
                    self._subscription.distrust_states()
                    again = []
                    continue
                place = next(number for number, record in enumerate(records) if record is error.record)
                if place not in whole or not is_letter(error.record):
                    raise
                whole.discard(place)
                records[place] = shortened(error.record)

    def _attempt(self, records: Sequence[OutRecord], progress: Sequence[Progress]) -> None:
        membership = self._subscription.membership_for(progress)
        if self._producer is None:
            self._producer = self._connect(self._connection.timeout_s)
        try:
            written = self._transact(self._producer, records, progress, membership)
        except TooLargeError:
            self._replace(was_fenced=False)
            raise
        except KafkaError as error:
            self._subscription.distrust_states()  # it may still have gone through
            cause = cause_of(self._producer, error)
            self._replace(is_fenced(cause))
            raise translate(cause, f"committing as writer '{self._writer_id}'") from error
        self._subscription.committed(progress, written)

    def _transact(
        self,
        producer: KafkaProducer,
        records: Sequence[OutRecord],
        progress: Sequence[Progress],
        membership: ConsumerGroupMetadata | None,
    ) -> list[Record]:
        """All of it or nothing; the records as a reader will find them."""
        deadline = time.monotonic() + self._options.commit_timeout_s
        producer.begin_transaction()
        sent = [self._send(producer, record) for record in records]
        if progress:
            send_offsets(producer, offsets_of(self._subscription.marks(progress)), membership, _left_s(deadline))
        # The client would commit without the records that failed. And its flush fails where it had to split a batch.
        errors = [_error_of(future, deadline) for future in sent]
        for record, error in zip(records, errors, strict=True):
            if isinstance(error, _TOO_LARGE):
                raise _too_large(record, error)
        for error in errors:
            if error is not None:
                raise error
        commit_transaction(producer, _left_s(deadline))
        return [_written(record, future) for record, future in zip(records, sent, strict=True)]

    def _send(self, producer: KafkaProducer, record: OutRecord) -> Future:
        wired = self._form(record)
        try:
            return producer.send(
                wired.topic,
                key=wired.key.encode(),
                value=wired.value,
                headers=list(wired.headers),
                partition=wired.partition,
            )
        except MessageSizeTooLargeError as error:
            raise _too_large(record, error) from error

    def _connect(self, timeout_s: float) -> KafkaProducer:
        producer: KafkaProducer | None = None
        try:
            producer = KafkaProducer(
                **replace(self._connection, timeout_s=timeout_s).client_settings(),
                transactional_id=self._writer_id,
                transaction_timeout_ms=int(self._options.transaction_timeout_s * 1000),
                retry_backoff_ms=5,  # right after a commit the broker asks to wait; the default costs 100 ms each time
                request_timeout_ms=int(min(self._connection.timeout_s, self._options.commit_timeout_s / 2) * 1000),
                delivery_timeout_ms=int(self._options.commit_timeout_s * 1000),
                max_block_ms=int(timeout_s * 1000),
                batch_size=262_144,
                max_request_size=4 * self._options.max_message_bytes,
                metrics_enabled=False,
            )
            producer.init_transactions()
            self._give_up_offsets(producer, timeout_s)
        except KafkaError as error:
            if producer is not None:
                discard(producer, _DISCARD_S)
            raise translate(error, f"starting transactions of writer '{self._writer_id}'") from error
        return producer

    def _give_up_offsets(self, producer: KafkaProducer, timeout_s: float) -> None:
        """Have the group coordinator forget whatever offsets a transaction of this writer has left pending.

        What is aborted for it is an offset of a partition that the group does not read.
        """
        unread = self._subscription.unread
        if unread is None:
            return
        deadline = time.monotonic() + timeout_s
        producer.begin_transaction()
        nothing = {unread: OffsetAndMetadata(0, "", -1)}
        send_offsets(producer, nothing, ConsumerGroupMetadata(self._subscription.group), _left_s(deadline))
        abort_transaction(producer, _left_s(deadline))

    def _replace(self, was_fenced: bool) -> None:
        """Throw the producer away. A new one aborts its open transaction at once, unless another writer has done so."""
        if self._producer is not None:
            discard(self._producer, _DISCARD_S)
        self._producer = None
        if was_fenced:
            _log.error("writer '%s' was fenced: no two processes may use the same writer id", self._writer_id)
            return
        try:
            self._producer = self._connect(min(_REPLACE_S, self._connection.timeout_s))
        except EngramError as error:
            _log.warning("the open transaction ends by time-out: %s", error)


def _error_of(future: Future, deadline: float) -> KafkaError | None:
    try:
        future.get(timeout=_left_s(deadline))
    except KafkaError as error:
        return error
    return None


def _written(record: OutRecord, future: Future) -> Record:
    place = future.value
    key = record.key.encode()
    return Record(record.topic, place.partition, place.offset, key, record.value, record.headers, place.timestamp)


def _too_large(record: OutRecord, error: Exception) -> TooLargeError:
    return TooLargeError(
        record,
        f"a record for topic '{record.topic}' with key '{record.key:.64}' and {payload_bytes(record)} bytes is larger "
        f"than the topic takes; send a smaller one, or raise max.message.bytes of the topic ({error})",
    )


def _left_s(deadline: float) -> float:
    return max(0.1, deadline - time.monotonic())
