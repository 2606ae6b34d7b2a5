"""What the process says about itself: one line a record on standard error, as text or as JSON."""

import json
import logging
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone

from schemas.settings.connections import LogSection

TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

FIELDS = ("camera", "session", "partition", "worker", "bank")
"""What a record may be about; given as ``extra`` where it is logged, or for all of a process."""

_NUMBER = re.compile(r"0x[0-9a-f]+|\d+")

FEED = "feed "
"""So the name of a producer's thread begins that works for one camera alone; the camera's name follows."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for collectors. Times are UTC; ``FIELDS`` stand in it where they are known.

    Args:
        everywhere: fields of every record, for example the worker's name.
    """

    def __init__(self, everywhere: Mapping[str, object] | None = None) -> None:
        super().__init__()
        self._everywhere = dict(everywhere or {})

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        entry = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "thread": record.threadName,
            "message": record.getMessage(),
            **self._everywhere,
            **_fields_of(record),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


class RepeatFilter(logging.Filter):
    """Lets through one record of a kind per ``interval_s`` from the Kafka client, which repeats itself twice a second.

    The kind is the message without its numbers, also where the client has put them in before it logs: a machine that is
    busy would fill the log with how long each of its tasks took, and this filter with each that was told.
    """

    def __init__(self, interval_s: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._interval_s = interval_s
        self._clock = clock
        self._told_at: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        if not record.name.startswith("kafka"):
            return True
        kind, now = (record.name, _NUMBER.sub("#", str(record.msg))), self._clock()
        if now - self._told_at.get(kind, float("-inf")) < self._interval_s:
            return False
        self._told_at[kind] = now
        return True


@dataclass(frozen=True, slots=True)
class Problem:
    """A warning, or worse, that was logged. ``at`` as in the log."""

    at: str
    level: str
    logger: str
    message: str

    def as_json(self) -> dict[str, str]:
        """As plain values."""
        return asdict(self)


class Problems(logging.Handler):
    """Counts warnings and worse, and keeps the last of them, for who asks how the process fares."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._counts: Counter[str] = Counter()
        self._last: Problem | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take note; called under the handler's lock."""
        level = record.levelname.lower()
        self._counts[level] += 1
        self._last = Problem(_time_of(record), level, record.name, record.getMessage())

    def counts(self) -> Mapping[str, int]:
        """By level, since the process began."""
        return dict(self._counts)  # in one step of the interpreter

    def last(self) -> Problem | None:
        """The newest one."""
        return self._last


PROBLEMS = Problems()
"""Of this process; as the root of all loggers there is one."""


class _StderrHandler(logging.Handler):
    """To what standard error is at the moment: who puts another in its place, and closes it, keeps that to himself."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # a log line ends nothing
            self.handleError(record)


def configure_logging(log: LogSection, everywhere: Mapping[str, object] | None = None) -> None:
    """Send all records to standard error as ``log`` says. Replaces what was configured before.

    Args:
        log: level and format.
        everywhere: see ``JsonFormatter``.
    """
    handler = _StderrHandler()
    handler.setFormatter(JsonFormatter(everywhere) if log.format == "json" else logging.Formatter(TEXT))
    handler.addFilter(RepeatFilter())
    PROBLEMS.filters[:] = [RepeatFilter()]
    logging.basicConfig(level=log.level.upper(), handlers=[handler, PROBLEMS], force=True)
    # At DEBUG the client formats every value it sends, a whole JPEG a frame.
    logging.getLogger("kafka").setLevel(max(logging.getLogger().level, logging.WARNING))
    logging.getLogger("matplotlib").setLevel(max(logging.getLogger().level, logging.WARNING))


def _fields_of(record: logging.LogRecord) -> dict[str, object]:
    named = {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
    thread = record.threadName or ""
    return {"camera": thread.removeprefix(FEED), **named} if thread.startswith(FEED) else named


def _time_of(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
