"""Publishing without waiting, bounded in bytes, that comes back to life after any stall of the broker.

While the broker is away, records stay in flight until their bytes are at the bound or their time is up; a call that
would have to wait for the broker (first record of a topic, topic gone, client replaced) waits briefly, fails as
``TransientError``, and so do those of the next seconds, at once: a camera's thread is not to be held up.

Not idempotent, with one request in flight: kafka-python's idempotent producer stays silent for ever once a batch that
was sent has expired. Order per key holds all the same; after a lost acknowledgement a record may be there twice.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from kafka import KafkaProducer
from kafka.producer.future import FutureRecordMetadata

from messaging.cloud_events import form_of
from messaging.kafka.connection import KafkaConnection, KafkaOptions
from messaging.kafka.diagnosis import reaching
from messaging.kafka.errors import translate, translated
from messaging.kafka.producer import discard, is_running
from messaging.ports import OutRecord
from messaging.sizes import RECORD_OVERHEAD_BYTES, payload_bytes
from schemas.errors import BadMessageError, BufferFullError, EngramError, FatalError, TransientError

_log = logging.getLogger(__name__)
_STUCK_AFTER_S = 10.0
"""So long after its delivery timeout a record without an answer shows that the client hangs."""
_LONGEST_BLOCK_S = 3.0
"""How long one call may wait for what the broker must say first (which partitions a topic has)."""
_PAUSE_S = 2.0
"""How long after such a wait came to nothing the broker is not asked again."""
_FRAMING_BYTES = 128
"""What a batch of one record has besides the payload; the topic's limit holds for both together."""

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
            oldest = next(iter(self._open), None)
        return 0.0 if oldest is None else time.monotonic() - oldest.since

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
        limit_of: largest batch that a topic takes, in bytes; None = unknown.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        options: KafkaOptions,
        require_topic: Callable[[str], None],
        limit_of: Callable[[str], int | None] = lambda _: None,
    ) -> None:
        self._connection = connection
        self._options = options
        self._require_topic = require_topic
        self._limit_of = limit_of
        self._form = form_of(options.event_mode)
        self._known_topics: dict[str, int | None] = {}
        self._seen_topics: set[str] = set()
        self._in_flight = _InFlight(options.in_flight_bytes)
        self._sending = threading.Lock()  # the producer is replaced under it
        self._closed = False
        self._pause = (0.0, "")  # until when the broker is not asked again, and why
        self._producer: KafkaProducer | None = self._connect()

    def publish(self, record: OutRecord, on_done: OnDone | None = None) -> None:
        """See ``ports.Publisher``. TransientError: the broker must say something first, and is away."""
        record = self._form(record)
        size = payload_bytes(record)
        self._check_size(record.topic, size)
        opened = _Open(size + RECORD_OVERHEAD_BYTES, time.monotonic(), on_done)
        self._replace_if_stuck()
        with self._sending:
            if self._closed:
                raise FatalError("a publisher must be open to publish, this one was closed")
            self._in_flight.enter(opened)
            try:
                future = self._send(record, size)
            except BaseException:
                self._in_flight.leave(opened)
                raise
        future.add_callback(lambda _: self._done(opened, None))
        future.add_errback(lambda error: self._done(opened, self._explained(error, record.topic)))

    def flush(self, timeout_s: float) -> bool:
        """See ``ports.Publisher``."""
        return self._in_flight.wait_empty(timeout_s)

    def close(self, timeout_s: float) -> None:
        """See ``ports.Publisher``."""
        deadline = time.monotonic() + timeout_s
        # Whoever is sending may be waiting for a broker that is away; closing must not wait for long with it.
        held = self._sending.acquire(timeout=max(0.1, timeout_s))
        was_closed, self._closed = self._closed, True
        if held:
            self._sending.release()
        if was_closed:
            return
        self._in_flight.wait_empty(max(0.0, deadline - time.monotonic()))
        if self._producer is not None:
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
                max_block_ms=min(timeout_ms, int(_LONGEST_BLOCK_S * 1000)),
                linger_ms=5,
                batch_size=262_144,  # the default is smaller than one frame, then each request carries one record
                max_request_size=4 * self._options.max_message_bytes,
                metrics_enabled=False,  # nobody asks for them
            )

    def _check_size(self, topic: str, size: int) -> None:
        limit = self._options.max_message_bytes
        if size > limit:
            text = f"a record for topic '{topic}' must have at most {limit} bytes, got {size}; send a smaller one"
            raise BadMessageError("too_large", text)

    def _send(self, record: OutRecord, size: int) -> FutureRecordMetadata:
        """Hand one record to the client; every wait for a broker that is away is followed by a pause without any."""
        until_s, why = self._pause
        if time.monotonic() < until_s:
            raise TransientError(why)
        try:
            producer = self._ready()
            self._know(producer, record.topic)
            self._check_limit(record.topic, size)
            with translated(f"publishing to '{record.topic}'"):
                return producer.send(
                    record.topic,
                    key=record.key.encode(),
                    value=record.value,
                    headers=list(record.headers),
                    partition=record.partition,
                )
        except TransientError as error:
            self._pause = (time.monotonic() + _PAUSE_S, str(error))
            self._known_topics.pop(record.topic, None)  # asked again, for the reason may be that it is gone
            raise

    def _ready(self) -> KafkaProducer:
        if self._producer is None:
            self._producer = self._connect()
        return self._producer

    def _know(self, producer: KafkaProducer, topic: str) -> None:
        if topic in self._known_topics:
            return
        try:
            self._require_topic(topic)
        except FatalError as error:
            if topic not in self._seen_topics:
                raise
            raise TransientError(f"topic '{topic}' was there and is gone: {error}") from error
        with translated(f"asking for the partitions of '{topic}'"):
            producer.partitions_for(topic)
        self._known_topics[topic] = self._limit_of(topic)
        self._seen_topics.add(topic)

    def _check_limit(self, topic: str, size: int) -> None:
        limit, whole = self._known_topics.get(topic), size + _FRAMING_BYTES
        if limit is not None and whole > limit:
            text = f"topic '{topic}' takes at most {limit} bytes (max.message.bytes), a record has {whole}"
            raise BadMessageError("too_large", f"{text}; send a smaller one or raise the topic's limit")

    def _explained(self, error: Exception, topic: str) -> EngramError:
        ours = translate(error, f"publishing to '{topic}'")
        if isinstance(ours, BadMessageError):
            self._known_topics.pop(topic, None)  # its limit is another than we knew
        return ours

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
        if not self._is_stuck():
            return
        with self._sending:
            if self._closed or not self._is_stuck():
                return
            _log.error("the Kafka client answers no more (oldest record: %.0f s): replaced", self._oldest_age_s())
            stuck, gone = self._in_flight.all(), self._producer
            # Connected again by the next record: the broker may be away, and these must get their answer all the same.
            self._producer = None
            if gone is not None:
                discard(gone, 0.1)
        self._fail(stuck, "the Kafka client gave no answer and was replaced")

    def _is_stuck(self) -> bool:
        """A client whose thread has died, or that is silent long after it was to have given up."""
        if self._producer is not None and not is_running(self._producer):
            return True
        return self._oldest_age_s() > self._options.delivery_timeout_s + _STUCK_AFTER_S

    def _oldest_age_s(self) -> float:
        return self._in_flight.oldest_age_s()
