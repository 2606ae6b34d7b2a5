"""What the process says about itself: one line a record on standard error, as text or as JSON."""

import json
import logging
import sys
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


def configure_logging(log: LogSection) -> None:
    """Send all records to standard error as ``log`` says. Replaces what was configured before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log.format == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=log.level.upper(), handlers=[handler], force=True)
    # At DEBUG the client formats every value it sends, a whole JPEG a frame.
    logging.getLogger("kafka").setLevel(max(logging.getLogger().level, logging.WARNING))
    logging.getLogger("matplotlib").setLevel(max(logging.getLogger().level, logging.WARNING))
