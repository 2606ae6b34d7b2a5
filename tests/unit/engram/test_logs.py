"""Log lines for people and for collectors."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime

import pytest

from engram.logs import JsonFormatter, RepeatFilter, configure_logging
from schemas.settings.connections import LogSection


@pytest.fixture(autouse=True)
def unchanged_root() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


def test_json_lines_have_time_level_place_and_traceback() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("a.b")
    logger.addHandler(handler)
    logger.info("plain %s", "words")
    try:
        int("inner")
    except ValueError:
        logger.exception("two\nlines")
    plain, failed = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (plain["level"], plain["logger"], plain["message"]) == ("info", "a.b", "plain words")
    assert datetime.fromisoformat(plain["time"]).utcoffset() is not None
    assert failed["message"] == "two\nlines"
    assert "ValueError: invalid literal" in failed["traceback"]


def test_levels_apply_and_the_kafka_client_never_logs_its_payloads(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSection(level="debug"))
    logging.getLogger("engram.x").debug("seen")
    logging.getLogger("kafka.producer").debug("payload")
    configure_logging(LogSection(level="error", format="json"))
    logging.getLogger("engram.x").warning("unseen")
    captured = capsys.readouterr()
    assert "DEBUG   engram.x: seen" in captured.err
    assert "payload" not in captured.err
    assert "unseen" not in captured.err
    assert captured.out == ""


def test_the_kafka_client_tells_each_thing_once_in_a_while_and_others_always() -> None:
    now = [0.0]
    repeats = RepeatFilter(interval_s=30.0, clock=lambda: now[0])

    def told(name: str, message: str, number: int) -> bool:
        return repeats.filter(logging.LogRecord(name, logging.ERROR, "", 0, message, (number,), None))

    assert told("kafka.net", "lost %d", 1)
    assert not told("kafka.net", "lost %d", 2)
    assert told("kafka.net", "other %d", 1)
    assert told("kafka.producer", "lost %d", 1)
    assert told("engram", "lost %d", 1)
    assert told("engram", "lost %d", 1)
    now[0] = 30.0
    assert told("kafka.net", "lost %d", 3)
