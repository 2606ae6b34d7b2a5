"""Publishing without waiting, bounded in bytes, that comes back to life after any stall of the broker.

Not idempotent, with one request in flight: kafka-python's idempotent producer stays silent for ever once a batch that
was sent has expired. Order per key holds all the same; after a lost acknowledgement a record may be there twice.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from kafka import KafkaProducer
from kafka.errors import KafkaError

from messaging.kafka.connection import KafkaConnection, KafkaOptions
from messaging.kafka.diagnosis import reaching
from messaging.kafka.errors import translate, translated
from messaging.kafka.producer import discard
from messaging.ports import OutRecord
from messaging.sizes import RECORD_OVERHEAD_BYTES, payload_bytes
from schemas.errors import BadMessageError, BufferFullError, FatalError, TransientError

_log = logging.getLogger(__name__)
_STUCK_AFTER_S = 10.0
"""So long after its delivery timeout a record without an answer shows that the client hangs."""

OnDone = Callable[[Exception | None], None]


@dataclass(frozen=True, slots=True, eq=False)
class _Open:
    """A record handed over and not done with."""

    num_bytes: int
    since: float
    on_done: OnDone | None


class _InFlight:
    """Records not done with; each leaves once, and whoever takes it out calls its ``on_done``."""

    def __init__(self, max_bytes: int) -> None:
        self._changed = threading.Condition()
        self._open: dict[_Open, None] = {}
        self._max_bytes = max_bytes
        self._num_bytes = 0

    def enter(self, record: _Open) -> None:
        """Raises BufferFullError when there is no room."""
        with self._changed:
            if self._num_bytes + record.num_bytes > self._max_bytes:
                raise BufferFullError(
                    f"at most {self._max_bytes} bytes may be in flight to Kafka, {self._num_bytes} are; "
                    f"the broker is slow or away: wait, drop, or spool"
                )
            self._open[record] = None
            self._num_bytes += record.num_bytes

    def leave(self, record: _Open) -> bool:
        """True for the first caller only."""
        with self._changed:
            if record not in self._open:
                return False
            del self._open[record]
            self._num_bytes -= record.num_bytes
            self._changed.notify_all()
            return True

    def all(self) -> list[_Open]:
        """Everything in flight, oldest first."""
        with self._changed:
            return list(self._open)

    def oldest_age_s(self) -> float:
        """How long the oldest has been in flight; 0 if none is."""
        with self._changed:
            return max((time.monotonic() - record.since for record in islice(self._open, 1)), default=0.0)

    def wait_empty(self, timeout_s: float) -> bool:
        """False if the deadline came first."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, timeout_s)


class KafkaPublisher:
    """See ``ports.Publisher``.

    Args:
        connection: where and how.
        options: bounds and deadlines.
        require_topic: raises when a topic does not exist; asked once per topic, as the client would wait for it.
    """

    def __init__(
        self, connection: KafkaConnection, options: KafkaOptions, require_topic: Callable[[str], None]
    ) -> None:
        self._connection = connection
        self._options = options
        self._require_topic = require_topic
        self._known_topics: set[str] = set()
        self._in_flight = _InFlight(options.in_flight_bytes)
        self._sending = threading.Lock()  # the producer is replaced under it
        self._closed = False
        self._producer = self._connect()

    def publish(self, record: OutRecord, on_done: OnDone | None = None) -> None:
        """See ``ports.Publisher``. TransientError: the first record of a topic, and the broker is away."""
        self._check_size(record)
        opened = _Open(payload_bytes(record) + RECORD_OVERHEAD_BYTES, time.monotonic(), on_done)
        self._replace_if_stuck()
        with self._sending:
            if self._closed:
                raise FatalError("a publisher must be open to publish, this one was closed")
            self._know(record.topic)
            self._in_flight.enter(opened)
            try:
                future = self._producer.send(
                    record.topic, key=record.key.encode(), value=record.value, headers=list(record.headers)
                )
            except KafkaError as error:
                self._in_flight.leave(opened)
                raise translate(error, f"publishing to '{record.topic}'") from error
        future.add_callback(lambda _: self._done(opened, None))
        future.add_errback(lambda error: self._done(opened, translate(error, f"publishing to '{record.topic}'")))

    def flush(self, timeout_s: float) -> bool:
        """See ``ports.Publisher``."""
        return self._in_flight.wait_empty(timeout_s)

    def close(self, timeout_s: float) -> None:
        """See ``ports.Publisher``."""
        with self._sending:
            if self._closed:
                return
            self._closed = True
        deadline = time.monotonic() + timeout_s
        self._in_flight.wait_empty(timeout_s)
        discard(self._producer, max(0.1, deadline - time.monotonic()))
        self._fail(self._in_flight.all(), "the publisher was closed before Kafka answered")

    def _connect(self) -> KafkaProducer:
        timeout_ms, delivery_ms = int(self._connection.timeout_s * 1000), int(self._options.delivery_timeout_s * 1000)
        with reaching(self._connection, "connecting a publisher to Kafka"):
            return KafkaProducer(
                **self._connection.client_settings(),
                enable_idempotence=False,
                max_in_flight_requests_per_connection=1,
                acks="all",
                retries=2**31 - 1,  # until the delivery timeout
                delivery_timeout_ms=delivery_ms,
                request_timeout_ms=min(timeout_ms, delivery_ms // 2),  # the client wants room for a second attempt
                max_block_ms=timeout_ms,
                linger_ms=5,
                batch_size=262_144,  # the default is smaller than one frame, then each request carries one record
                max_request_size=4 * self._options.max_message_bytes,
            )

    def _check_size(self, record: OutRecord) -> None:
        size = payload_bytes(record)
        if size > self._options.max_message_bytes:
            limit = self._options.max_message_bytes
            text = (
                f"a record for topic '{record.topic}' must have at most {limit} bytes, got {size}; send a smaller one"
            )
            raise BadMessageError("too_large", text)

    def _know(self, topic: str) -> None:
        if topic not in self._known_topics:
            self._require_topic(topic)
            with translated(f"asking for the partitions of '{topic}'"):
                self._producer.partitions_for(topic)
            self._known_topics.add(topic)

    def _done(self, opened: _Open, error: Exception | None) -> None:
        if self._in_flight.leave(opened) and opened.on_done is not None:
            try:
                opened.on_done(error)
            except Exception:
                _log.exception("on_done of a published record failed")

    def _fail(self, stuck: list[_Open], reason: str) -> None:
        for opened in stuck:
            self._done(opened, TransientError(reason))

    def _replace_if_stuck(self) -> None:
        limit_s = self._options.delivery_timeout_s + _STUCK_AFTER_S
        if self._in_flight.oldest_age_s() < limit_s:
            return
        with self._sending:
            if self._closed or self._in_flight.oldest_age_s() < limit_s:
                return
            _log.error("a record has had no answer for more than %.0f s: the Kafka producer is replaced", limit_s)
            stuck = self._in_flight.all()
            discard(self._producer, 0.1)
            self._producer = self._connect()
        self._fail(stuck, f"Kafka gave no answer for more than {limit_s:.0f} s")
