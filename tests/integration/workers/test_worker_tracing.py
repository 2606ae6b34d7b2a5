"""Traces through a worker over the in-process bus: passed on without a library, and with spans by the real one."""

from dataclasses import replace

import pytest

from messaging.ports import OutRecord
from schemas.codec import HEADER, decode_header
from schemas.messages import ProposalHeader
from schemas.traceparent import TRACEPARENT, TRACESTATE, traceparent_of
from tests.integration.workers.conftest import Site, at_work, frame_record, numbers, wait_for
from tests.kept_spans import KeptSpans, parent_of_span, traceparent_of_span

NUM_FRAMES = 100
"""As many as the small scene needs for an event from its beginning to its end."""
HOSTILE = [b"", b"\x00\xff", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01", b"00-" * 100_000, b"ff" + b"-a" * 30]


def line(index: int) -> str:
    return f"00-{index + 1:032x}-{index + 1:016x}-01"


def with_trace(record: OutRecord, value: bytes) -> OutRecord:
    return replace(record, headers=(*record.headers, (TRACEPARENT, value)))


def with_state(record: OutRecord, value: bytes) -> OutRecord:
    return replace(record, headers=(*record.headers, (TRACESTATE, value)))


def publish(site: Site, first: int = 0, last: int = NUM_FRAMES) -> None:
    frames = ((index, frame_record(site.topics.frames, "a", index)) for index in range(first, last))
    site.publish(*(with_trace(record, line(index).encode()) for index, record in frames))


def wait_for_an_end(site: Site) -> None:
    wait_for(site.events, lambda events: any(event.data.phase == "end" for event in events))


def test_an_event_has_the_trace_of_its_first_frame_without_any_library(site: Site) -> None:
    publish(site)
    site.ends("a", NUM_FRAMES)
    with at_work(site.worker()):
        wait_for_an_end(site)
    events = site.events()
    assert len(events) > 2
    assert {event.traceparent for event in events} == {line(event.data.frames.first) for event in events}


@pytest.mark.parametrize("is_tracing", [False, True])
def test_what_goes_with_a_trace_is_passed_on_unchanged_and_never_alone(site: Site, is_tracing: bool) -> None:
    frames = [frame_record(site.topics.frames, "a", index) for index in range(NUM_FRAMES)]
    traced = [with_trace(each, line(i).encode()) if i % 2 else each for i, each in enumerate(frames)]
    site.publish(*(with_state(each, f"engram={i}".encode()) for i, each in enumerate(traced)))
    site.ends("a", NUM_FRAMES)
    site.tracer = KeptSpans().tracer if is_tracing else None
    with at_work(site.worker()):
        wait_for_an_end(site)
        site.wait_for_scores(NUM_FRAMES)
    told = [(event.traceparent, event.tracestate) for event in site.events()]
    for record in site.records(site.topics.memory_updates):
        lines = (record.header(TRACEPARENT), record.header(TRACESTATE))
        told.append((traceparent_of(lines[0]), None if lines[1] is None else lines[1].decode()))
    assert any(traceparent for traceparent, _ in told)
    for traceparent, tracestate in told:
        index = None if traceparent is None else int(traceparent.split("-")[1], 16) - 1
        assert tracestate == (None if index is None else f"engram={index}")


def test_a_worker_that_takes_over_goes_on_with_the_trace_of_the_event(site: Site) -> None:
    publish(site, 0, 80)
    with at_work(site.worker()):
        site.wait_for_scores(80)
    before = site.events()
    assert {event.data.phase for event in before} >= {"start"}
    assert before[-1].data.phase != "end"
    publish(site, 80)
    site.ends("a", NUM_FRAMES)
    with at_work(site.worker(worker_id="w2")):
        wait_for_an_end(site)
    (after,) = [event for event in site.events() if event.data.phase == "end"]
    assert after.data.provenance.worker_id == "w2"
    assert after.traceparent == before[-1].traceparent is not None


def test_a_proposal_has_the_trace_of_its_newest_frame_that_has_one(site: Site) -> None:
    frames = [frame_record(site.topics.frames, "a", index) for index in range(60)]
    site.publish(*(with_trace(each, line(i).encode()) if i % 25 == 20 else each for i, each in enumerate(frames)))
    site.ends("a", 60)
    with at_work(site.worker()):
        site.wait_for_scores(60)
    told = site.records(site.topics.memory_updates)
    spans = [(decode_header(ProposalHeader, one.header(HEADER), one.key, "bank_id"), one) for one in told]
    assert len(spans) > 2
    for header, record in spans:
        traced = [index for index in (20, 45) if header.first_frame <= index <= header.last_frame]
        assert record.header(TRACEPARENT) == (line(traced[-1]).encode() if traced else None)
    assert any(record.header(TRACEPARENT) for _, record in spans)


def test_no_trace_is_so_bad_that_a_frame_is_lost_by_it(site: Site) -> None:
    frames = [frame_record(site.topics.frames, "a", index) for index in range(NUM_FRAMES)]
    site.publish(*(with_trace(each, HOSTILE[index % len(HOSTILE)]) for index, each in enumerate(frames)))
    site.ends("a", NUM_FRAMES)
    site.tracer = KeptSpans().tracer
    with at_work(worker := site.worker()):
        wait_for_an_end(site)
        site.wait_for_scores(NUM_FRAMES)
    assert [score.frame_index for score in site.scores()] == list(range(NUM_FRAMES))
    assert site.records(site.topics.dead_letters) == []
    assert {event.traceparent for event in site.events()} == {None}
    assert {record.header(TRACEPARENT) for record in site.records(site.topics.memory_updates)} <= {None}
    assert all(b"traceparent" not in (record.value or b"") for record in site.records(site.topics.anomaly_events))
    assert worker.snapshot().tally.balances()


@pytest.fixture
def traced_run(site: Site) -> KeptSpans:
    """What a worker told of frames of which every second is traced."""
    spans = KeptSpans()
    frames = [frame_record(site.topics.frames, "a", index) for index in range(NUM_FRAMES)]
    site.publish(*(with_trace(each, line(i).encode()) if i % 2 else each for i, each in enumerate(frames)))
    site.ends("a", NUM_FRAMES)
    site.tracer = spans.tracer
    with at_work(site.worker()):
        site.wait_for_scores(NUM_FRAMES)
        wait_for_an_end(site)
    site.tracer = None
    return spans


def test_a_worker_tells_what_it_spent_on_each_traced_frame(site: Site, traced_run: KeptSpans) -> None:
    process = {(span.parent.trace_id if span.parent else 0): span for span in traced_run.ended("process frame")}
    assert sorted(process) == [index + 1 for index in range(1, NUM_FRAMES, 2)]
    scored = [score.frame_index + 1 for score in site.scores() if score.status == "scored"]
    for trace, whole in process.items():
        assert parent_of_span(whole) == line(trace - 1)[3:-3]
        own = traceparent_of(traceparent_of_span(whole))
        assert own is not None
        within = [span for span in traced_run.ended() if parent_of_span(span) == own[3:-3]]
        stages = ["decode", "infer", "assess", "commit"] if trace in scored else ["decode", "assess", "commit"]
        assert [span.name for span in sorted(within, key=lambda span: span.start_time or 0)] == stages
        assert all(span.status.is_unset for span in within)
        assert whole.start_time is not None
        assert whole.end_time is not None
        for span in within:
            assert whole.start_time <= (span.start_time or 0) <= (span.end_time or 0) <= whole.end_time
    batches = [dict(span.attributes or {})["engram.batch"] for span in traced_run.ended("infer")]
    assert min(map(int, map(str, batches))) >= 1


def test_an_event_of_a_worker_that_traces_lies_within_what_it_did(site: Site, traced_run: KeptSpans) -> None:
    known = {traceparent_of_span(span) for span in traced_run.ended("process frame")}
    told = [event for event in site.events() if event.traceparent is not None]
    assert told
    assert {event.traceparent for event in told} <= known
    first = told[0]
    assert first.traceparent is not None
    trace = int(first.traceparent.split("-")[1], 16)
    assert trace - 1 in range(first.data.frames.first, first.data.frames.first + 2), "the first, or the next, if not"


def test_spans_change_no_score(site: Site, traced_run: KeptSpans) -> None:
    assert traced_run.ended()
    same = [frame_record(site.topics.frames, "a", index) for index in range(NUM_FRAMES)]
    site.publish(*(frame_record(site.topics.frames, "b", index, value=one.value) for index, one in enumerate(same)))
    with at_work(site.worker()):
        site.wait_for_scores(2 * NUM_FRAMES)
    found = numbers(site.scores())
    with_spans, without = ({key[1:]: found[key] for key in found if key[0] == camera} for camera in "ab")
    assert with_spans.keys() == without.keys()
    for key, values in with_spans.items():
        assert values == pytest.approx(without[key], abs=1e-5), key
