"""A collector of OpenTelemetry traces: takes OTLP over HTTP, as processes send it, and keeps what it gets."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from deploy.serving import QuietHandler, answered_by


@dataclass(frozen=True)
class Told:
    """A span that was sent."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    """Nanoseconds."""

    attributes: dict[str, Any]
    links: list[str]
    """Trace ids."""

    failed: bool


@dataclass
class Collector:
    """Where it listens, and what it got."""

    url: str = ""
    spans: list[Told] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def trace(self, trace_id: str) -> dict[str, Told]:
        """The spans of a trace by name; of several with one name, the last."""
        return {span.name: span for span in list(self.spans) if span.trace_id == trace_id}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Listen until the block ends."""
    found = Collector()

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.body()
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            request = ExportTraceServiceRequest.FromString(body)
            found.headers.append(dict(self.headers))
            found.spans.extend(_told(request))
            self.answer(200, ExportTraceServiceResponse().SerializeToString(), "application/x-protobuf")

    with answered_by(Handler) as found.url:
        yield found


def _told(request: ExportTraceServiceRequest) -> Iterator[Told]:
    for resource in request.resource_spans:
        service = _values(resource.resource.attributes)["service.name"]
        for span in (each for scope in resource.scope_spans for each in scope.spans):
            yield Told(
                service=service,
                name=span.name,
                trace_id=span.trace_id.hex(),
                span_id=span.span_id.hex(),
                parent_id=span.parent_span_id.hex(),
                start=span.start_time_unix_nano,
                end=span.end_time_unix_nano,
                attributes=_values(span.attributes),
                links=[link.trace_id.hex() for link in span.links],
                failed=span.status.code == 2,
            )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
