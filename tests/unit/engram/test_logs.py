"""Log lines for people and for collectors."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime

import pytest

from engram.logs import PROBLEMS, JsonFormatter, RepeatFilter, configure_logging
from producers.feed import CameraFeed
from producers.pacing import PacingOptions
from producers.producer import Producer
from schemas.settings.connections import LogSection
from tests.unit.producers.memory_publisher import MemoryPublisher
from tests.unit.producers.scripted_source import ScriptedSource, plain


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


def test_json_lines_name_what_they_are_about() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter({"worker": "w1"}))
    logger = logging.Logger("a.b")
    logger.addHandler(handler)
    logger.warning("x", extra={"camera": "gate", "partition": 0, "colour": "red"})
    logger.info("y", extra={"worker": "w2", "bank": "lobby"})
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["worker"], first["camera"], first["partition"]) == ("w1", "gate", 0)
    assert "colour" not in first
    assert "bank" not in first
    assert (second["worker"], second["bank"]) == ("w2", "lobby")


def test_json_lines_of_a_feed_name_its_camera(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSection(format="json"))
    feed = CameraFeed("gate", ScriptedSource([plain()], is_live=False), pacing=PacingOptions(mode="backfill"))
    Producer([feed], MemoryPublisher()).run()
    entries = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {entry.get("camera") for entry in entries if entry["thread"] == "feed gate"} == {"gate"}
    assert {entry.get("camera") for entry in entries if not entry["thread"].startswith("feed ")} == {None}


def test_a_standard_error_that_was_put_in_its_place_for_a_while_is_left_alone_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a test of a command does, or a bar that redraws itself; it may be closed by then."""
    first, second = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", first)
    configure_logging(LogSection())
    logging.getLogger("engram.x").info("one")
    monkeypatch.setattr(sys, "stderr", second)
    assert "one" in first.getvalue()
    first.close()
    logging.getLogger("engram.x").info("two")
    assert second.getvalue().splitlines()[0].endswith("INFO    engram.x: two")
    assert second.getvalue().count("\n") == 1


def test_problems_are_counted_and_the_last_is_kept() -> None:
    configure_logging(LogSection())
    before = PROBLEMS.counts()
    logging.getLogger("engram.x").info("nothing to speak of")
    logging.getLogger("engram.x").warning("one")
    logging.getLogger("engram.y").error("two of %d", 2)
    after, last = PROBLEMS.counts(), PROBLEMS.last()
    assert [after[level] - before.get(level, 0) for level in ("warning", "error")] == [1, 1]
    assert last is not None
    assert (last.level, last.logger, last.message) == ("error", "engram.y", "two of 2")


def test_what_the_client_repeats_counts_once() -> None:
    configure_logging(LogSection())
    before = PROBLEMS.counts().get("error", 0)
    for number in range(5):
        logging.getLogger("kafka.test").error("lost %d", number)
    assert PROBLEMS.counts()["error"] - before == 1


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
    slow = "Task <Task object at 0x7fc2a0da2a5%d> ran for 0.1%d4s (>0.100s threshold)"
    assert told("kafka.net", slow % (0, 8) + "%d", 1)
    assert not any(told("kafka.net", slow % (number, number) + "%d", 1) for number in range(9))
    now[0] = 30.0
    assert told("kafka.net", "lost %d", 3)
