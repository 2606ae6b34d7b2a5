"""Traces that follow a frame over the log: a bus around another bus, and the role that a tracing library plays.

Who publishes a frame begins a span and writes its ``traceparent`` into a header of the record, beside header
``engram``. Who receives it begins a span within, and hands the record on with its own ``traceparent`` in the place of
the sender's; it ends when what came of the frame is committed. A frame whose trace is not wanted carries none.

Without a tracer nothing is put around a bus, and a ``traceparent`` that comes is passed on all the same.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Literal, Protocol

from messaging.ports import (
    Begin,
    Bus,
    Claim,
    Delivery,
    Intake,
    Look,
    Outbox,
    OutRecord,
    Progress,
    Publisher,
    Subscription,
    as_it_is,
)
from schemas.codec import HEADER, decode_message
from schemas.errors import BadMessageError
from schemas.messages import FrameHeader
from schemas.traceparent import TRACEPARENT, TRACESTATE, traceparent_of, tracestate_of

SpanKind = Literal["internal", "producer", "consumer"]
Attributes = Mapping[str, str | int]
Clock = Callable[[], int]
"""Nanoseconds since 1970."""

WALL_CLOCKS = ("arrival", "ntp")
"""Clocks of ``FrameHeader`` that go with ours, so that a span may begin at capture."""


class Span(Protocol):
    """Something that takes time, from when it was begun. To be ended once, from any thread.

    Attributes:
        traceparent: for what happens within.
    """

    traceparent: str

    def end(self, error: BaseException | None = None) -> None:
        """It is over, or has failed."""


class Tracer(Protocol):
    """Where spans come from; for any thread. Never waits, and holds a bounded number of them."""

    def begin(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        parent: str | None = None,
        began_ns: int | None = None,
    ) -> Span | None:
        """Begin a span; None if it is not wanted.

        Args:
            name: one of few, what is done and to what.
            kind: of the span, for who looks at it.
            attributes: what is special about it.
            parent: the ``traceparent`` that it lies within; None = a new trace.
            began_ns: nanoseconds since 1970; None = now.
        """


def context_of(delivery: Delivery) -> str | None:
    """The ``traceparent`` of what is delivered for the first time, to be passed on; None if none can be read."""
    value = None if delivery.is_replay else delivery.record.header(TRACEPARENT)
    return None if value is None else traceparent_of(value)


def state_of(delivery: Delivery) -> str | None:
    """The ``tracestate`` that goes with ``context_of``, which is not None. Spans of ours leave it as it is."""
    return tracestate_of(delivery.record.header(TRACESTATE))


def stage(tracer: Tracer | None, name: str, parents: Iterable[str | None]) -> AbstractContextManager[None]:
    """What happens within is a span of each of ``parents``, which are looked at only where there is a tracer."""
    return _NOTHING if tracer is None else _stage(tracer, name, [parent for parent in parents if parent is not None])


_NOTHING = nullcontext()


@contextmanager
def _stage(tracer: Tracer, name: str, parents: Sequence[str]) -> Iterator[None]:
    attributes = {"engram.batch": len(parents)}
    with lasting([tracer.begin(name, "internal", attributes, parent) for parent in parents]):
        yield


@contextmanager
def lasting(spans: Sequence[Span | None]) -> Iterator[None]:
    """Spans that end with what happens within, and with the error that it ended by."""
    failed: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failed = error
        raise
    finally:
        for span in spans:
            if span is not None:
                span.end(failed)


def traced(bus: Bus, tracer: Tracer | None, frames: str) -> Bus:
    """The bus with spans for the records of topic ``frames``; without a tracer the bus itself."""
    return bus if tracer is None else TracedBus(bus, tracer, frames)


class TracedBus:
    """See ``ports.Bus``: the one within, and spans for what it carries of topic ``frames``."""

    def __init__(self, bus: Bus, tracer: Tracer, frames: str, now_ns: Clock = time.time_ns) -> None:
        self._bus = bus
        self._tracer = tracer
        self._frames = frames
        self._now_ns = now_ns
        self.reader, self.create_topics = bus.reader, bus.create_topics
        self.existing_topics, self.close = bus.existing_topics, bus.close

    def publisher(self) -> "TracedPublisher":
        """See ``ports.Bus``."""
        return TracedPublisher(self._bus.publisher(), self._tracer, self._frames, self._now_ns)

    def subscription(
        self,
        topics: Sequence[str],
        group: str,
        state_topic: str | None = None,
        begin: Begin = "oldest",
        look: Look = as_it_is,
    ) -> Subscription:
        """See ``ports.Bus``."""
        within = self._bus.subscription(topics, group, state_topic, begin, look)
        return TracedSubscription(within, self._tracer) if self._frames in topics else within

    def outbox(self, subscription: Subscription, writer_id: str) -> Outbox:
        """See ``ports.Bus``."""
        if not isinstance(subscription, TracedSubscription):
            return self._bus.outbox(subscription, writer_id)
        return TracedOutbox(self._bus.outbox(subscription.within, writer_id), subscription)


class TracedPublisher:
    """See ``ports.Publisher``. A span lasts from capture, where our clock can tell when that was, to the answer."""

    def __init__(self, publisher: Publisher, tracer: Tracer, frames: str, now_ns: Clock) -> None:
        self._publisher = publisher
        self._tracer = tracer
        self._frames = frames
        self._now_ns = now_ns
        self.flush, self.close = publisher.flush, publisher.close

    def publish(self, record: OutRecord, on_done: Callable[[Exception | None], None] | None = None) -> None:
        """See ``ports.Publisher``."""
        span = self._begin(record) if record.topic == self._frames else None
        if span is None:
            self._publisher.publish(record, on_done)
            return

        def done(error: Exception | None) -> None:
            span.end(error)
            if on_done is not None:
                on_done(error)

        told = (*record.headers, (TRACEPARENT, span.traceparent.encode()))
        self._publisher.publish(replace(record, headers=told), done)  # one that is refused was not sent: no span

    def _begin(self, record: OutRecord) -> Span | None:
        try:
            header = decode_message(FrameHeader, dict(record.headers).get(HEADER))
        except BadMessageError:
            return None
        if header.kind != "frame":
            return None
        attributes: Attributes = {
            "messaging.destination.name": record.topic,
            "engram.camera": header.camera_id,
            "engram.session": header.session_id,
            "engram.frame": header.frame_index,
            "engram.captured_at": header.captured_at.isoformat(),
        }
        captured_ns = int(header.captured_at.timestamp() * 1e9)
        began_ns = min(captured_ns, self._now_ns()) if header.clock in WALL_CLOCKS else None
        return self._tracer.begin("send frame", "producer", attributes, began_ns=began_ns)


class TracedSubscription:
    """See ``ports.Subscription``. ``within`` is the one of the bus within.

    The spans of records in hand are ended by ``settle``; those of claims that have ended are forgotten, for the records
    come again.
    """

    def __init__(self, within: Subscription, tracer: Tracer) -> None:
        self.within = within
        self.tracer = tracer
        self._open: dict[Claim, dict[int, Span]] = {}
        self.commit, self.lag = within.commit, within.lag
        self.abandon, self.close = within.abandon, within.close

    def receive(self, max_records: int, timeout_s: float) -> Intake:
        """See ``ports.Subscription``."""
        intake = self.within.receive(max_records, timeout_s)
        for claim in intake.revoked:
            self._open.pop(claim, None)
        return replace(intake, deliveries=tuple(map(self._within_a_span, intake.deliveries)))

    def rewind(self) -> None:
        """See ``ports.Subscription``."""
        self._open.clear()
        self.within.rewind()

    def in_hand(self, progress: Sequence[Progress]) -> Sequence[Span]:
        """Spans of the records that were handled by ``progress``, but for those that are settled."""
        return [
            span
            for one in progress
            for offset, span in self._open.get(one.claim, {}).items()
            if offset < one.next_offset
        ]

    def settle(self, progress: Sequence[Progress]) -> None:
        """End the spans ``in_hand``: what came of their records is durable."""
        for span in self.in_hand(progress):
            span.end()
        for one in progress:
            if one.claim in self._open:
                still = self._open[one.claim].items()
                self._open[one.claim] = {offset: span for offset, span in still if offset >= one.next_offset}

    def _within_a_span(self, delivery: Delivery) -> Delivery:
        record = delivery.record
        if (parent := context_of(delivery)) is None:
            return delivery
        attributes: Attributes = {
            "messaging.destination.name": record.topic,
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
        }
        span = self.tracer.begin("process frame", "consumer", attributes, parent)
        if span is None:
            return delivery
        self._open.setdefault(delivery.claim, {})[record.offset] = span
        others = tuple(header for header in record.headers if header[0] != TRACEPARENT)
        told = (*others, (TRACEPARENT, span.traceparent.encode()))
        return replace(delivery, record=replace(record, headers=told))


class TracedOutbox:
    """See ``ports.Outbox``. What is committed ends the spans of the records that it came of."""

    def __init__(self, outbox: Outbox, subscription: TracedSubscription) -> None:
        self._outbox = outbox
        self._subscription = subscription
        self.close = outbox.close

    def commit(self, records: Sequence[OutRecord], progress: Sequence[Progress]) -> None:
        """See ``ports.Outbox``."""
        subscription = self._subscription
        with stage(subscription.tracer, "commit", (span.traceparent for span in subscription.in_hand(progress))):
            self._outbox.commit(records, progress)
        subscription.settle(progress)
