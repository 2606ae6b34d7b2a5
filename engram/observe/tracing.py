"""Whether a process makes spans, by its settings; without them, or without the library, nothing of it is loaded."""

from collections.abc import Iterator
from contextlib import contextmanager

from messaging.tracing import Tracer
from schemas.errors import SettingsError
from schemas.settings.connections import TracingSection


@contextmanager
def open_tracing(section: TracingSection, service: str, instance: str) -> Iterator[Tracer | None]:
    """What begins spans, until the end of the block; None where tracing is off.

    Args:
        section: whether, whereto, how many.
        service: kind of process, ``service.name`` unless the environment gives one.
        instance: which of them, ``service.instance.id``, likewise.

    Raises:
        SettingsError: tracing is on, and the library is not installed or refuses what its environment says.
    """
    if not section.enabled:
        yield None
        return
    try:
        from engram.observe.spans import delivered_spans  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError as error:
        text = f"tracing.enabled needs OpenTelemetry, and {error.name} is not installed"
        raise SettingsError(f"{text}; run: pip install 'engram[tracing]', or set it to false") from error
    with delivered_spans(section, service, instance) as tracer:
        yield tracer
