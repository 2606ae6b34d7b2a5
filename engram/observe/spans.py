"""Spans by OpenTelemetry, delivered to a collector over OTLP/HTTP. The one importer of the library, which is an extra.

What the settings leave open the library reads from its own environment (``OTEL_*``). A collector that is away costs the
spans that do not fit into the library's queue, and nothing else: no frame waits for it, and it is told once.
"""

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Tracer as LibraryTracer

from messaging.tracing import Attributes
from messaging.tracing import SpanKind as Kind
from schemas.addresses import without_secrets
from schemas.errors import SettingsError
from schemas.settings.connections import TracingSection
from schemas.version import software_version

log = logging.getLogger(__name__)

END_S = 3.0
"""So long the spans that are still here may take at the end of a process."""
PATH = "/v1/traces"
_PLACES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_KINDS = {"internal": SpanKind.INTERNAL, "producer": SpanKind.PRODUCER, "consumer": SpanKind.CONSUMER}


@contextmanager
def delivered_spans(section: TracingSection, service: str, instance: str) -> Iterator["SpanTracer"]:
    """A tracer whose spans go to the collector; see ``tracing.open_tracing``."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it says each batch what ``_Delivery`` says once
    place = section.endpoint or next((os.environ[name] for name in _PLACES if name in os.environ), "its default")
    try:
        exporter = OTLPSpanExporter(None if section.endpoint is None else section.endpoint.rstrip("/") + PATH)
        delivery = _Delivery(exporter, without_secrets(place))
        provider = provider_of(section, service, instance)
        provider.add_span_processor(BatchSpanProcessor(delivery))
    except ValueError as error:
        raise SettingsError(f"OpenTelemetry refuses its environment (OTEL_*): {error}") from error
    tracer = SpanTracer(provider.get_tracer("engram", software_version()))
    log.info("spans go to %s", delivery.place)
    try:
        yield tracer
    finally:
        _end(provider)
        log.info("%d spans were made, the collector has taken %d", tracer.num_ended, delivery.num_taken)


def provider_of(section: TracingSection, service: str, instance: str) -> TracerProvider:
    """Who makes spans of one process, as settings and environment say; nobody takes them yet."""
    given = OTELResourceDetector().detect().attributes
    own = {"service.name": service, "service.instance.id": instance, "service.version": software_version()}
    resource = Resource.create({key: value for key, value in own.items() if key not in given})
    sampler = None if "OTEL_TRACES_SAMPLER" in os.environ else ParentBased(TraceIdRatioBased(section.sample))
    return TracerProvider(sampler, resource, shutdown_on_exit=False)


def _end(provider: TracerProvider) -> None:
    """Deliver what is there, for ``END_S`` at most: left to itself the library waits for ten times as long."""
    ending = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
    ending.start()
    ending.join(END_S)


class SpanTracer:
    """See ``messaging.tracing.Tracer``.

    Attributes:
        num_ended: spans made; about so many where threads end them at the same time.
    """

    def __init__(self, tracer: LibraryTracer) -> None:
        self._tracer = tracer
        self.num_ended = 0

    def begin(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes,
        parent: str | None = None,
        began_ns: int | None = None,
    ) -> "MadeSpan | None":
        """See ``messaging.tracing.Tracer``."""
        context = Context() if parent is None else _context_of(parent)
        span = self._tracer.start_span(name, context, _KINDS[kind], attributes, start_time=began_ns)
        return MadeSpan(self, span) if span.is_recording() else None


class MadeSpan:
    """See ``messaging.tracing.Span``."""

    def __init__(self, tracer: SpanTracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        at = span.get_span_context()
        self.traceparent = f"00-{at.trace_id:032x}-{at.span_id:016x}-{at.trace_flags:02x}"

    def end(self, error: BaseException | None = None) -> None:
        """See ``messaging.tracing.Span``."""
        if error is not None:
            self._span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
        self._span.end()
        self._tracer.num_ended += 1


def _context_of(traceparent: str) -> Context:
    _, trace, span, flags = traceparent.split("-")
    at = SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return set_span_in_context(NonRecordingSpan(at), Context())


class _Delivery(SpanExporter):
    """Hands spans to an exporter, and tells once that the collector does not take them, and that it does again."""

    def __init__(self, exporter: SpanExporter, place: str) -> None:
        self._exporter = exporter
        self._is_away = False
        self.place = place
        self.num_taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See the library; called from one thread at a time."""
        result = self._exporter.export(spans)
        is_taken = result is SpanExportResult.SUCCESS
        self.num_taken += len(spans) if is_taken else 0
        if is_taken == self._is_away:
            self._is_away = not is_taken
            if is_taken:
                log.info("the collector at %s takes spans again", self.place)
            else:
                log.warning("the collector at %s takes no spans; they are lost until it does", self.place)
        return result

    def shutdown(self) -> None:
        """See the library."""
        self._exporter.shutdown()
