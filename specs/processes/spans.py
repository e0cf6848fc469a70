"""What the farm's processes tell a collector of OpenTelemetry traces, where there is one.

A claim has a trace, and so has a reproduction; each one's id is its trace id. The id of a span follows from what it is
of: which thing, which stage, which attempt. So nothing has to be carried in messages or rows, a worker's spans find
their parents, and whoever tells a span twice tells the same one.

    claim ─ plan, sign, publish                                    linked to its reproduction
    reproduction ─ queue, attempt ─ wait, fetch, start_engine, run, store, judge    linked to its claims

Off unless the environment names a collector, in OpenTelemetry's own words: `OTEL_EXPORTER_OTLP_ENDPOINT` and the like.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from specs.ids import trace_id_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import SpanContext

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PREFIX = "reprofarm."

FLUSH_SECONDS = 5.0
"""For a collector that does not answer: more is not waited for it."""

Value = str | int | float | bool


@dataclass(frozen=True)
class Place:
    """Which span: of which claim or reproduction, of which stage, and of which try at it."""

    subject_id: str
    stage: str
    number: int = 0

    @property
    def span_id(self) -> int:
        """The first eight bytes of a digest of it."""
        name = f"{self.subject_id}/{self.stage}/{self.number}"
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") or 1

    @classmethod
    def of_claim(cls, claim_id: str) -> Self:
        """The root of a claim's trace."""
        return cls(claim_id, "claim")

    @classmethod
    def of_reproduction(cls, reproduction_id: str) -> Self:
        """The root of a reproduction's trace."""
        return cls(reproduction_id, "reproduction")

    @classmethod
    def of_attempt(cls, reproduction_id: str, number: int) -> Self:
        """One try at a reproduction."""
        return cls(reproduction_id, "attempt", number)


@dataclass(frozen=True)
class PastSpan:
    """A stage that is over."""

    place: Place
    parent: Place | None
    start: datetime
    end: datetime
    attributes: Mapping[str, Value | None] = field(default_factory=dict)
    """Without the prefix; None is left out."""

    links: tuple[Place, ...] = ()
    error: str | None = None
    """What went wrong; None where nothing did."""


_given: ContextVar[Place | None] = ContextVar("given", default=None)


class Spans:
    """Tells spans; without a provider it tells nobody."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self._provider = provider

    @property
    def enabled(self) -> bool:
        """Whether anybody is told."""
        return self._provider is not None

    def tell(self, span: PastSpan) -> None:
        """Have a span sent to the collector, by and by. What has no trace id is not told of."""
        if self._provider is None or trace_id_of(span.place.subject_id) is None:
            return
        from opentelemetry import trace  # noqa: PLC0415 - as below

        parent = trace.set_span_in_context(trace.NonRecordingSpan(_context(span.parent))) if span.parent else None
        token = _given.set(span.place)
        try:
            found = self._provider.get_tracer("reprofarm").start_span(
                span.place.stage,
                context=parent or trace.set_span_in_context(trace.INVALID_SPAN),
                attributes={_PREFIX + name: each for name, each in span.attributes.items() if each is not None},
                links=[trace.Link(_context(link)) for link in span.links if trace_id_of(link.subject_id)],
                start_time=_nanoseconds(span.start),
            )
        finally:
            _given.reset(token)
        if span.error is not None:
            found.set_status(trace.StatusCode.ERROR, span.error[:300])
        found.end(_nanoseconds(max(span.end, span.start)))

    @contextmanager
    def live(self, place: Place, parent: Place | None, **attributes: Value | None) -> Iterator[None]:
        """Tell of what this block does, once it is over; an exception is its error."""
        start, error = datetime.now(UTC), None
        try:
            yield
        except Exception as raised:
            # Its words may hold what is secret.
            error = type(raised).__name__
            raise
        finally:
            self.tell(PastSpan(place, parent, start, datetime.now(UTC), attributes, error=error))

    def flush(self) -> None:
        """Send what was told and not sent yet, for a while."""
        if self._provider is not None:
            self._provider.force_flush(int(FLUSH_SECONDS * 1000))

    def close(self) -> None:
        """Send what is left and end the thread that sends; for the end of the process."""
        if self._provider is not None:
            self._provider.shutdown()


def open_spans(service: str) -> Spans:
    """What tells the collector that this process's environment names, as `service` unless that names it too."""
    if (
        not any(os.environ.get(name) for name in _ENDPOINTS)
        or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    ):
        return Spans(None)
    # Only where they are used: a process without a collector need not carry them.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415

    class GivenIds(RandomIdGenerator):
        """Ids that follow from the span's place."""

        def generate_trace_id(self) -> int:
            place = _given.get()
            return int(place.subject_id, 16) if place else super().generate_trace_id()

        def generate_span_id(self) -> int:
            place = _given.get()
            return place.span_id if place else super().generate_span_id()

    named = os.environ.get("OTEL_SERVICE_NAME")
    resource = Resource.create({} if named else {SERVICE_NAME: service})
    provider = TracerProvider(resource=resource, id_generator=GivenIds())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Spans(provider)


def _context(place: Place) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415 - as above

    return SpanContext(int(place.subject_id, 16), place.span_id, is_remote=True, trace_flags=TraceFlags(1))


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000
