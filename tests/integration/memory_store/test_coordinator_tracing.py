"""What a coordinator tells of proposals that have a trace: how long each waited, and what came of it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from memory_store.coordinator.options import RoundRules
from memory_store.store import CommitOutcome, CommitRequest
from memory_store.stores.sqlite import SqliteStore
from messaging.ports import OutRecord
from schemas.errors import TransientError
from schemas.traceparent import TRACEPARENT
from tests.integration.memory_store.bench import RULES, Bench, initial_bank, proposal
from tests.kept_spans import KeptSpans, parent_of_span, traceparent_of_span

AT_ONCE = RoundRules(round_s=0)


def line(number: int, flags: str = "01") -> str:
    return f"00-{number:032x}-{number:016x}-{flags}"


def with_trace(record: OutRecord, value: str) -> OutRecord:
    return replace(record, headers=(*record.headers, (TRACEPARENT, value.encode())))


def traced(number: int, **changed: str) -> OutRecord:
    return with_trace(proposal(initial_bank(), f"cam{number}", seed=number)[0], line(number, **changed))


def attribute(span: ReadableSpan, name: str) -> object:
    return dict(span.attributes or {})[name]


@pytest.fixture
def spans(bench: Bench) -> KeptSpans:
    kept = KeptSpans()
    bench.tracer = kept.tracer
    return kept


def waited_s(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


def within(spans: KeptSpans, name: str) -> Sequence[str | None]:
    return [parent_of_span(span) for span in spans.ended(name)]


def test_each_traced_proposal_of_a_round_is_a_span_that_lasts_for_its_quarantine(
    bench: Bench, spans: KeptSpans
) -> None:
    bench.send(traced(1), traced(2), proposal(initial_bank(), "cam3", seed=3)[0], traced(4, flags="00"))
    bench.pass_time(bench.coordinator(), 2 * RULES.longest_s)
    assert bench.stored().version == 1
    decided = spans.ended("decide proposal")
    assert {parent_of_span(span) for span in decided} == {line(number)[3:-3] for number in (1, 2)}
    assert {attribute(span, "engram.outcome") for span in decided} == {"committed"}
    assert {attribute(span, "engram.frames") for span in decided} == {10}
    assert all(waited_s(span) >= RULES.wait_s for span in decided)
    assert set(within(spans, "commit bank")) == {traceparent_of_span(span)[3:-3] for span in decided}
    assert len(spans.ended()) == 4


def test_one_that_is_refused_says_why(bench: Bench, spans: KeptSpans) -> None:
    record = traced(1)
    bench.send(record, record)
    bench.pass_time(bench.coordinator(rules=AT_ONCE), 1)
    outcomes = [attribute(span, "engram.outcome") for span in spans.ended("decide proposal")]
    assert sorted(map(str, outcomes)) == ["committed", "duplicate"]
    assert len(spans.ended("commit bank")) == 1


def test_a_commit_that_fails_is_told_and_tried_again(
    bench: Bench, spans: KeptSpans, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = SqliteStore.commit, [TransientError("the store is away")]

    def fail(store: SqliteStore, request: CommitRequest) -> CommitOutcome:
        if failures:
            raise failures.pop()
        return real(store, request)

    monkeypatch.setattr(SqliteStore, "commit", fail)
    bench.send(traced(1))
    bench.pass_time(bench.coordinator(rules=AT_ONCE), 30)
    assert bench.stored().version == 1
    states = [span.status.status_code for span in spans.ended("commit bank")]
    assert states == [StatusCode.ERROR, StatusCode.UNSET]


def test_without_a_tracer_nothing_is_different(bench: Bench) -> None:
    bench.send(traced(1), with_trace(proposal(initial_bank(), "cam2", seed=2)[0], "junk"))
    coordinator = bench.coordinator()
    bench.pass_time(coordinator, 2 * RULES.longest_s)
    assert coordinator.snapshot().committed == 2
