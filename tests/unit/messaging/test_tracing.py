"""A bus with spans around a bus: what it makes of frames, and that it changes nothing else."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from messaging.inprocess.bus import InProcessBus
from messaging.ports import Assigned, Claim, Delivery, OutRecord, Progress, Record, TopicSpec
from messaging.sealing import MAC, SealedBus, Seals
from messaging.tracing import TracedBus, TracedPublisher, context_of, stage, traced
from schemas.codec import encode_header
from schemas.errors import BufferFullError, OwnershipLostError, TransientError
from schemas.traceparent import TRACEPARENT, traceparent_of
from tests.kept_spans import KeptSpans, parent_of_span, traceparent_of_span
from tests.unit.producers.memory_publisher import MemoryPublisher
from tests.unit.workers.arriving import header

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=timezone.utc)
NOW_NS = int(NOW.timestamp()) * 1_000_000_000
LINE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNWANTED = LINE[:-1] + b"0"
WAIT_S = 10.0


@pytest.fixture
def bus() -> Iterator[InProcessBus]:
    made = InProcessBus()
    made.create_topics([TopicSpec("frames", 1), TopicSpec("events", 1)])
    yield made
    made.close()


@pytest.fixture
def spans() -> KeptSpans:
    return KeptSpans()


def frame(index: int = 0, *more: tuple[str, bytes], **changes: Any) -> OutRecord:
    told = header(index).model_copy(update=changes)
    return OutRecord("frames", told.camera_id, b"pixels", (*encode_header(told), *more))


def around(bus: Any, spans: KeptSpans) -> TracedBus:
    return TracedBus(bus, spans.tracer, "frames", now_ns=lambda: NOW_NS)


def records(bus: InProcessBus, topic: str) -> list[Record]:
    return list(bus.reader([topic], from_beginning=True).read_to_end(WAIT_S))


class Member:
    """Of a group that reads frames through a traced bus."""

    def __init__(self, bus: TracedBus) -> None:
        self.subscription = bus.subscription(["frames"], "workers")
        self.outbox = bus.outbox(self.subscription, "w1")
        self.claims: list[Claim] = []

    def receive(self, number: int) -> list[Delivery]:
        found: list[Delivery] = []
        while len(found) < number:
            intake = self.subscription.receive(10, WAIT_S)
            assert intake.assigned or intake.deliveries, "it must come within the deadline"
            self.claims += [one.claim for one in intake.assigned if isinstance(one, Assigned)]
            found += intake.deliveries
        return found

    def commit(self, next_offset: int) -> None:
        self.outbox.commit([], [Progress(self.claims[-1], next_offset, next_offset)])


def test_without_a_tracer_the_bus_is_itself(bus: InProcessBus) -> None:
    assert traced(bus, None, "frames") is bus


def test_a_frame_carries_the_trace_of_its_sending(bus: InProcessBus, spans: KeptSpans) -> None:
    answers: list[Exception | None] = []
    around(bus, spans).publisher().publish(frame(7), answers.append)
    (record,), (span,) = records(bus, "frames"), spans.ended()
    assert record.header(TRACEPARENT) == traceparent_of_span(span).encode()
    assert replace(record, headers=record.headers[:-1]).headers == frame(7).headers
    assert answers == [None]
    assert (span.name, span.kind, parent_of_span(span)) == ("send frame", SpanKind.PRODUCER, None)
    assert dict(span.attributes or {}) == {
        "messaging.destination.name": "frames",
        "engram.camera": "cam1",
        "engram.session": "s1",
        "engram.frame": 7,
        "engram.captured_at": header(7).captured_at.isoformat(),
    }


@pytest.mark.parametrize(
    ("clock", "before", "begins_before"),
    [
        ("arrival", timedelta(seconds=2), timedelta(seconds=2)),
        ("ntp", timedelta(hours=1), timedelta(hours=1)),
        ("arrival", -timedelta(seconds=5), timedelta(0)),
    ],
)
def test_a_span_begins_at_capture_where_the_clock_is_ours(
    clock: str, before: timedelta, begins_before: timedelta, bus: InProcessBus, spans: KeptSpans
) -> None:
    around(bus, spans).publisher().publish(frame(clock=clock, captured_at=NOW - before))
    (span,) = spans.ended()
    assert span.start_time == NOW_NS - begins_before // timedelta(microseconds=1) * 1000


@pytest.mark.parametrize("clock", ["media", "camera"])
def test_a_span_begins_now_where_it_is_not(clock: str, bus: InProcessBus, spans: KeptSpans) -> None:
    around(bus, spans).publisher().publish(frame(clock=clock, captured_at=NOW))
    (span,) = spans.ended()
    assert span.start_time is not None
    assert span.start_time > NOW_NS, "the clock of the test's frame stands still"


@pytest.mark.parametrize(
    "record",
    [
        replace(frame(), topic="events"),
        replace(frame(), headers=()),
        replace(frame(), headers=(("engram", b"{}"),)),
        frame(kind="end_of_session", width=0, height=0),
    ],
    ids=["another topic", "no header", "no frame", "end of session"],
)
def test_nothing_but_frames_gets_a_span(record: OutRecord, bus: InProcessBus, spans: KeptSpans) -> None:
    around(bus, spans).publisher().publish(record)
    (found,) = records(bus, record.topic)
    assert (found.value, found.headers) == (record.value, record.headers)
    assert not spans.ended()


def test_of_few_frames_few_carry_a_trace(bus: InProcessBus) -> None:
    spans = KeptSpans(sample=0.25)
    publisher = around(bus, spans).publisher()
    for index in range(400):
        publisher.publish(frame(index))
    told = [found for record in records(bus, "frames") if (found := record.header(TRACEPARENT)) is not None]
    assert 40 < len(told) < 160, "a hundred, and 40 is seven standard deviations away"
    assert told == [traceparent_of_span(span).encode() for span in spans.ended()]


def test_a_frame_that_is_not_taken_has_no_span_and_one_that_fails_a_failed_one(spans: KeptSpans) -> None:
    within, answers = MemoryPublisher(room=1, holds=True), list[Exception | None]()
    publisher = TracedPublisher(within, spans.tracer, "frames", lambda: NOW_NS)
    publisher.publish(frame(0), answers.append)
    with pytest.raises(BufferFullError):
        publisher.publish(frame(1), answers.append)
    assert not spans.ended(), "the first is on its way"
    within.finish(TransientError("the broker went"))
    assert [str(answer) for answer in answers] == ["the broker went"]
    (span,) = spans.ended()
    assert span.status.status_code == StatusCode.ERROR
    assert span.status.description == "TransientError: the broker went"


def test_who_receives_a_frame_works_within_its_trace(bus: InProcessBus, spans: KeptSpans) -> None:
    bus.publisher().publish(frame(0, (TRACEPARENT, LINE), ("more", b"x")))
    member = Member(around(bus, spans))
    (delivery,) = member.receive(1)
    inner = context_of(delivery)
    assert inner is not None
    assert inner != LINE.decode()
    assert inner.split("-")[1] == LINE.decode().split("-")[1]
    assert dict(delivery.record.headers)["more"] == b"x"
    assert not spans.ended(), "it is at work"
    member.commit(1)
    commit, process = spans.ended()
    assert (process.name, process.kind, parent_of_span(process)) == (
        "process frame",
        SpanKind.CONSUMER,
        LINE[3:-3].decode(),
    )
    assert traceparent_of_span(process) == inner
    assert (commit.name, parent_of_span(commit)) == ("commit", inner[3:-3])
    assert dict(process.attributes or {})["messaging.kafka.offset"] == 0
    member.commit(1)
    assert len(spans.ended()) == 2, "settled once"


@pytest.mark.parametrize("line", [None, UNWANTED, b"", b"\xff\xfe", b"00-bad", LINE * 1000])
def test_a_frame_without_a_wanted_trace_stays_as_it_is(line: bytes | None, bus: InProcessBus, spans: KeptSpans) -> None:
    sent = frame() if line is None else frame(0, (TRACEPARENT, line))
    bus.publisher().publish(sent)
    member = Member(around(bus, spans))
    (delivery,) = member.receive(1)
    assert delivery.record.headers == sent.headers
    assert context_of(delivery) == (UNWANTED.decode() if line == UNWANTED else None)
    member.commit(1)
    assert not spans.ended()


def test_only_what_is_committed_has_ended(bus: InProcessBus, spans: KeptSpans) -> None:
    for index in range(3):
        bus.publisher().publish(frame(index, (TRACEPARENT, LINE)))
    member = Member(around(bus, spans))
    member.receive(3)
    member.commit(2)
    assert spans.names() == ["commit", "commit", "process frame", "process frame"]
    member.subscription.rewind()
    (again,) = member.receive(1)
    assert again.record.offset == 2
    member.commit(3)
    assert spans.names()[4:] == ["commit", "process frame"], "what was begun before the rewind is forgotten"


def test_a_commit_that_fails_is_told_and_ends_nothing(bus: InProcessBus, spans: KeptSpans) -> None:
    bus.publisher().publish(frame(0, (TRACEPARENT, LINE)))
    member = Member(around(bus, spans))
    member.receive(1)
    bus.outbox(member.subscription.within, "w1")  # type: ignore[attr-defined]
    with pytest.raises(OwnershipLostError):
        member.commit(1)
    (commit,) = spans.ended()
    assert (commit.name, commit.status.status_code) == ("commit", StatusCode.ERROR)


def test_a_replayed_frame_is_no_part_of_a_trace(spans: KeptSpans) -> None:
    record = Record("frames", 0, 3, b"cam1", b"pixels", (*frame().headers, (TRACEPARENT, LINE)), 0)
    delivery = Delivery(record, Claim("frames", 0, 1), is_replay=True)
    assert context_of(delivery) is None
    assert context_of(replace(delivery, is_replay=False)) == LINE.decode()


def test_a_stage_is_a_span_of_each_frame_that_goes_through_it(spans: KeptSpans) -> None:
    lines = [LINE.decode(), None, UNWANTED.decode(), LINE.decode().replace("b7", "c8")]
    with stage(spans.tracer, "infer", lines):
        assert not spans.ended()
    assert [parent_of_span(span) for span in spans.ended("infer")] == [lines[0][3:-3], lines[3][3:-3]]  # type: ignore[index]
    with pytest.raises(ValueError, match="broken"), stage(spans.tracer, "infer", lines[:1]):
        raise ValueError("broken")
    assert spans.ended()[-1].status.description == "ValueError: broken"


def test_without_a_tracer_nobody_looks_for_traces() -> None:
    with stage(None, "infer", (pytest.fail("it was looked at") for _ in range(1))):
        pass


def test_macs_are_of_what_they_were(bus: InProcessBus, spans: KeptSpans) -> None:
    """A trace is outside of them: who changes it changes what is seen in a collector, and nothing else."""
    seals = Seals(lambda: "edge one " + "11" * 32, {"frames": "edge"})
    sealed = SealedBus(bus, seals)
    around(sealed, spans).publisher().publish(frame())
    member = Member(around(sealed, spans))
    (delivery,) = member.receive(1)
    delivery.record.check()
    assert {TRACEPARENT, MAC} <= dict(delivery.record.headers).keys()
    assert traceparent_of(delivery.record.header(TRACEPARENT)) == context_of(delivery)


def test_other_topics_are_read_and_committed_as_ever(bus: InProcessBus, spans: KeptSpans) -> None:
    bus.publisher().publish(replace(frame(0, (TRACEPARENT, LINE)), topic="events"))
    made = around(bus, spans)
    subscription = made.subscription(["events"], "readers")
    outbox = made.outbox(subscription, "r1")
    found: list[Delivery] = []
    claims: list[Claim] = []
    while not found:
        intake = subscription.receive(1, WAIT_S)
        claims += [one.claim for one in intake.assigned]
        found += intake.deliveries
    assert found[0].record.header(TRACEPARENT) == LINE
    outbox.commit([], [Progress(claims[0], 1, 1)])
    assert not spans.ended()
