"""``engram archive`` over a log in memory: into the file, and questions to it."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engram.cli import archive
from engram.cli.app import app
from messaging.inprocess.bus import InProcessBus
from messaging.ports import OutRecord, TopicSpec
from schemas.codec import encode_message
from schemas.messages import AnomalyEvent
from schemas.settings.connections import KafkaSection
from tests.unit.consumers.samples import event

START, END = event(5, 5), event(5, 18, "end", 2)
OTHER = event(7, 8, camera_id="gate")
Call = Callable[..., Result]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Call]:
    bus = InProcessBus()
    bus.create_topics([TopicSpec("site.anomaly-events", 2), TopicSpec("site.verified-events", 1)])
    for message in (START, END, OTHER):
        bus.publisher().publish(OutRecord("site.anomaly-events", message.partitionkey, encode_message(message)))

    @contextmanager
    def opened(kafka: KafkaSection) -> Iterator[InProcessBus]:
        yield bus

    monkeypatch.setattr(archive, "open_bus", opened)
    home = {"ENGRAM_HOME": str(tmp_path), "ENGRAM_KAFKA__TOPIC_PREFIX": "site."}
    environment = {"COLUMNS": "250", "TERM": "dumb", "NO_COLOR": "1", **home}
    yield lambda *words: CliRunner(env=environment).invoke(app, ["archive", *map(str, words)])
    bus.close()


def test_events_are_archived_then_listed_shown_and_exported(call: Call, tmp_path: Path) -> None:
    for _ in range(2):
        done = call("run", "--once")
        assert done.exit_code == 0, done.output
    assert (tmp_path / "events.db").is_file()

    listed = [json.loads(line) for line in call("list", "-o", "json").stdout.splitlines()]
    assert [(one["event_id"], one["phase"]) for one in listed] == [("gate:s1:7", "start"), ("cam1:s1:5", "end")]
    assert call("list", "--camera", "gate").stdout.count("gate:s1:7") == 1
    assert "cam1:s1:5" not in call("list", "--camera", "ga*").stdout
    assert "0 events" in call("list", "--since", "2h").stdout
    assert "2 events" in call("list", "--since", "2026-03-01").stdout

    shown = call("show", "cam1:s1:5")
    assert shown.exit_code == 0, shown.output
    assert "cleared" in shown.stdout
    whole = json.loads(call("show", "cam1:s1:5", "-o", "json").stdout)
    assert AnomalyEvent.model_validate(whole["message"]) == END
    assert [phase["phase"] for phase in whole["phases"]] == ["start", "end"]

    lines = call("export").stdout.splitlines()
    assert [AnomalyEvent.model_validate_json(line) for line in lines] == [OTHER, END]
    table = tmp_path / "week.csv"
    assert call("export", "--format", "csv", "--out", table).exit_code == 0
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [(row["camera_id"], row["ended_at"], row["peak"]) for row in rows] == [
        ("gate", "", "0.97"),
        ("cam1", "2026-03-01T08:00:01.800Z", "0.97"),
    ]
    again = call("export", "--out", table)
    assert again.exit_code == 2
    assert "must be a new file that we may write" in again.stderr


def test_what_is_over_for_too_long_is_deleted(call: Call) -> None:
    assert call("run", "--once", "--keep", "1s").exit_code == 0
    assert call("list", "-o", "json").stdout == ""


def test_another_topic_of_events(call: Call) -> None:
    assert call("run", "--once", "--topic", "verified-events").exit_code == 0
    assert call("list", "-o", "json").stdout == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("list",), "there is none; 'engram archive run' makes it"),
        (("run", "--keep", "long"), "--keep must be a length of time"),
        (("list", "--since", "2h", "--until", "3h"), "--since must be before --until, got '2h' and '3h'"),
        (("list", "--since", "then"), "--since must be a length of time before now"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line(call: Call, words: tuple[str, ...], message: str) -> None:
    done = call(*words)
    assert done.exit_code == 2
    assert message in done.stderr.splitlines()[-1]


def test_an_event_that_is_not_there(call: Call) -> None:
    call("run", "--once")
    done = call("show", "nowhere:s1:1")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "see 'engram archive list'" in done.stderr
