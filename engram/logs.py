"""What the process says about itself: one line a record on standard error, as text or as JSON."""

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone

from schemas.settings.connections import LogSection

TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for collectors. Times are UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        entry = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "thread": record.threadName,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


class RepeatFilter(logging.Filter):
    """Lets through one record of a kind per ``interval_s`` from the Kafka client, which repeats itself twice a second.

    The kind is the unformatted message, so what differs in numbers only counts as the same.
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
        kind, now = (record.name, str(record.msg)), self._clock()
        if now - self._told_at.get(kind, float("-inf")) < self._interval_s:
            return False
        self._told_at[kind] = now
        return True


def configure_logging(log: LogSection) -> None:
    """Send all records to standard error as ``log`` says. Replaces what was configured before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log.format == "json" else logging.Formatter(TEXT))
    handler.addFilter(RepeatFilter())
    logging.basicConfig(level=log.level.upper(), handlers=[handler], force=True)
    # At DEBUG the client formats every value it sends, a whole JPEG a frame.
    logging.getLogger("kafka").setLevel(max(logging.getLogger().level, logging.WARNING))
    logging.getLogger("matplotlib").setLevel(max(logging.getLogger().level, logging.WARNING))
