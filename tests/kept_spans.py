"""Spans of the real library, kept in memory instead of sent."""

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from engram.observe.spans import SpanTracer, provider_of
from schemas.settings.connections import TracingSection


class KeptSpans:
    """``tracer`` makes them.

    Args:
        sample: part of the new traces that are wanted.
    """

    def __init__(self, sample: float = 1.0) -> None:
        provider = provider_of(TracingSection(enabled=True, sample=sample), "tests", "t1")
        self._kept = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self.tracer = SpanTracer(provider.get_tracer("tests"))

    def ended(self, name: str | None = None) -> Sequence[ReadableSpan]:
        """Those that have ended, in that order; of this name, or all."""
        return [span for span in self._kept.get_finished_spans() if name in (None, span.name)]

    def names(self) -> list[str]:
        """Of those that have ended."""
        return [span.name for span in self.ended()]


def traceparent_of_span(span: ReadableSpan) -> str:
    """As it is written for what lies within."""
    at = span.get_span_context()
    assert at is not None
    return f"00-{at.trace_id:032x}-{at.span_id:016x}-{at.trace_flags:02x}"


def parent_of_span(span: ReadableSpan) -> str | None:
    """Trace and span that it lies within; None = it begins a trace."""
    return None if span.parent is None else f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}"
