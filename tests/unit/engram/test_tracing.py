"""Spans on their way to a collector, a real HTTP server here: what arrives, what a collector that is away costs."""

import logging
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.local.wait import wait_until
from engram.observe import spans
from engram.observe.tracing import open_tracing
from messaging.tracing import Tracer
from schemas.errors import SettingsError
from schemas.settings.connections import TracingSection
from tests.collector import Collector, collector
from tests.kept_spans import KeptSpans

WAIT_S = 60.0
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of OpenTelemetry, but what a test sets."""
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def there() -> Iterator[Collector]:
    with collector() as made:
        yield made


def section(there: Collector, **more: Any) -> TracingSection:
    return TracingSection.model_validate({"enabled": True, "endpoint": there.url, "sample": 1.0, **more})


def one(tracer: Tracer | None, number: int = 0) -> None:
    assert tracer is not None
    span = tracer.begin("send frame", "producer", {"engram.frame": number})
    assert span is not None
    span.end()


def test_off_there_is_no_tracer_and_no_library_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "engram.observe.spans", None)
    with open_tracing(TracingSection(), "engram-work", "w1") as tracer:
        assert tracer is None


def test_spans_arrive_under_the_name_of_their_process(there: Collector, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger=spans.__name__)
    with open_tracing(section(there), "engram-produce", "gate-7") as tracer:
        one(tracer, 41)
    (span,) = there.spans()
    assert (span.name, span.attributes["engram.frame"]) == ("send frame", 41)
    assert span.resource["service.name"] == "engram-produce"
    assert span.resource["service.instance.id"] == "gate-7"
    assert {request.path for request in there.http.requests} == {"/v1/traces"}
    assert caplog.messages == [f"spans go to {there.url}", "1 spans were made, the collector has taken 1"]


def test_the_environment_of_the_library_counts_where_the_settings_say_nothing(
    there: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", there.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "north-gate")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=i9,site=north")
    with open_tracing(section(there, endpoint=None), "engram-produce", "gate-7") as tracer:
        one(tracer)
    (span,) = there.spans()
    told = {key: span.resource[key] for key in ("service.name", "service.instance.id", "site")}
    assert told == {"service.name": "north-gate", "service.instance.id": "i9", "site": "north"}
    assert there.http.requests[0].headers["authorization"] == "Bearer abc"


def test_the_sampler_of_the_environment_goes_before_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    assert KeptSpans(sample=1.0).tracer.begin("send frame", "producer", {}) is None


@pytest.mark.parametrize("flags", ["00", "01", "02", "03"])
def test_within_a_trace_its_beginner_has_said_whether_it_is_wanted(flags: str) -> None:
    kept = KeptSpans(sample=1e-9)
    span = kept.tracer.begin("process frame", "consumer", {}, f"{PARENT}-{flags}")
    assert (span is not None) == (flags in ("01", "03"))
    assert span is None or span.traceparent.startswith(PARENT[:36])


def test_what_the_library_cannot_use_of_its_environment_ends_the_start(
    there: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "0")
    with (
        pytest.raises(SettingsError, match="OpenTelemetry refuses its environment"),
        open_tracing(section(there), "engram-work", "w1"),
    ):
        pytest.fail("it must not begin")


def test_a_collector_that_takes_nothing_is_told_once_and_once_more_when_it_does(
    there: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    caplog.set_level("INFO")
    there.http.status = 500

    def sees(number: int) -> bool:
        one(tracer)
        return len(there.http.requests) >= number

    with open_tracing(section(there), "engram-work", "w1") as tracer:
        assert wait_until(lambda: sees(4), WAIT_S)
        there.http.status = 200
        assert wait_until(lambda: sees(4) and any("again" in text for text in caplog.messages), WAIT_S)
    problems = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert problems == [f"the collector at {there.url} takes no spans; they are lost until it does"]
    assert caplog.messages.count(f"the collector at {there.url} takes spans again") == 1


def test_a_collector_that_hangs_holds_up_nobody_and_no_more_is_kept_than_may_be(
    there: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "32")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    monkeypatch.setattr(spans, "END_S", WAIT_S)
    there.http.mode = "hang"
    with open_tracing(section(there), "engram-work", "w1") as tracer:
        one(tracer)
        there.http.wait_for(1)
        for number in range(1000):
            one(tracer, number)
        there.http.mode = "answer"
        there.http.over.set()  # the one that hangs ends without an answer
    distinct = {span.span_id for span in there.spans()}
    assert 1 < len(distinct) <= 1 + 64 + 32


def test_a_process_that_ends_does_not_wait_for_a_collector_that_hangs(
    there: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "END_S", 0.05)
    there.http.mode = "hang"
    with open_tracing(section(there), "engram-work", "w1") as tracer:
        one(tracer)
    left = [thread for thread in threading.enumerate() if thread.name == "last spans"]
    assert [thread.daemon for thread in left] == [True], "it is left behind, and keeps no process from ending"
    there.http.mode = "answer"
    there.http.over.set()
    left[0].join(WAIT_S)
