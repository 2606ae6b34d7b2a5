"""A collector of spans: a real HTTP server that takes what OpenTelemetry's exporter posts, OTLP in protobuf."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from tests.http_receiver import Receiver, receiver


@dataclass(frozen=True)
class TakenSpan:
    """One span as it came; ids in hex, ``parent_id`` empty where it begins a trace; ``resource``: who made it."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: Mapping[str, object]
    resource: Mapping[str, object]


class Collector:
    """What it was sent; ``url`` is what ``tracing.endpoint`` takes, ``http`` says how it answers."""

    def __init__(self, http: Receiver) -> None:
        self.http = http
        self.url = f"http://{urlsplit(http.url).netloc}"

    def spans(self) -> Sequence[TakenSpan]:
        """All that came, answered or not."""
        return [span for request in list(self.http.requests) for span in _spans(request.body)]


@contextmanager
def collector() -> Iterator[Collector]:
    """One that serves until the end of the block."""
    with receiver() as http:
        yield Collector(http)


def _spans(body: bytes) -> Iterator[TakenSpan]:
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in group.scope_spans:
            for span in scope.spans:
                yield TakenSpan(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    _plain(span.attributes),
                    _plain(group.resource.attributes),
                )


def _plain(attributes: Sequence[KeyValue]) -> Mapping[str, object]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "") for one in attributes}
