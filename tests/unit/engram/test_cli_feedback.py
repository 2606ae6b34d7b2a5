"""``engram feedback``: what must be given, what is found in an archive, and what nobody answers."""

from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from consumers.archive import Archive
from consumers.verdicts import Statement, verdict_on
from engram.cli import feedback
from engram.cli.app import app
from engram.cli.feedback import said_and_answered
from messaging.inprocess.bus import InProcessBus
from messaging.ports import TopicSpec
from schemas.codec import encode_message
from schemas.errors import TransientError
from schemas.topics import TopicNames
from tests.unit.consumers.samples import ORIGIN, event

NAMES = TopicNames.with_prefix("t.")


def call(*words: str) -> Result:
    return CliRunner().invoke(app, ["feedback", *words])


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ((), "an event must be named"),
        (("cam1:s1:5",), "one of --normal, --real and --undo"),
        (("cam1:s1:5", "--normal", "--real"), "one of --normal, --real and --undo"),
        (("cam1:s1:5", "--normal", "--expires", "soon"), "--expires must be a length of time"),
        (("cam1:s1:5", "--normal", "--operator", " "), "must say who speaks"),
        (("cam1:s1:5", "--normal", "--operator", ""), "must say who speaks"),
    ],
)
def test_what_must_be_given_is_said(words: tuple[str, ...], wanted: str) -> None:
    found = call(*words)
    assert (found.exit_code, wanted in found.stderr) == (2, True), found.stderr


def test_an_event_of_an_archive_is_found_there(tmp_path: Path) -> None:
    told = event(5, 20, "end", 2)
    with closing(Archive(tmp_path / "events.db", "write")) as archive:
        archive.add([(told, encode_message(told))], {("t", 0): 1})
    assert feedback._archived(tmp_path / "events.db", "cam1:s1:5") == told.data
    missing = call("cam1:s1:6", "--real", "--archive", str(tmp_path / "events.db"))
    assert (missing.exit_code, "'engram archive list'" in missing.stderr) == (2, True)


def test_where_no_coordinator_answers_it_is_said_and_the_verdict_is_kept() -> None:
    bus = InProcessBus()
    bus.create_topics([TopicSpec(NAMES.operator_verdicts, 1), TopicSpec(NAMES.memory_events, 1)])
    common = event(5, 9).data.model_copy(
        update={"heat_map": event(5, 9).data.heat_map.model_copy(update={"scale": "common"})}
    )
    verdict = verdict_on(common, Statement("real", "ann"), ORIGIN, "v1")
    with pytest.raises(
        TransientError, match=r"no coordinator has answered within 0.1 s; the verdict is on t\.operator"
    ):
        said_and_answered(bus, NAMES, verdict, 0.1)
    (record,) = bus.reader([NAMES.operator_verdicts], from_beginning=True).read_to_end(5.0)
    assert record.value == encode_message(verdict)
    bus.close()
