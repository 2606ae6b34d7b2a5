"""The fleet as it is shown: newest scores, who owns what, what is late or silent, and a screen of it."""

import io
import json
import threading
from datetime import timedelta

import pytest
from rich.console import Console

from engram.cli.output import print_json_line
from engram.cli.status import looks, screen
from engram.observe import fleet as module
from engram.observe.fleet import BankRow, CameraRow, Fleet, NewestScores, spoken
from messaging.kafka.groups import GroupMember, GroupView, Offsets, group_view
from messaging.ports import Record
from schemas.codec import encode_message
from schemas.errors import TransientError
from schemas.messages import FrameScore
from tests.unit.consumers.samples import ORIGIN, at, score

NOW = at(100)


def record(told: FrameScore | bytes, partition: int = 0) -> Record:
    value = told if isinstance(told, bytes) else encode_message(told)
    return Record("frame-scores", partition, 0, None, value, (), 0)


def row_of(told: FrameScore) -> CameraRow:
    newest = NewestScores()
    newest.take([record(told)])
    (row,) = newest.rows()
    return row


def test_each_camera_has_its_newest_score_whatever_the_order() -> None:
    newest = NewestScores()
    scores = [score(5, camera_id="b"), score(9, camera_id="a", worker_id="w2"), score(3, camera_id="a")]
    newest.take([record(each, partition=number) for number, each in enumerate(scores)])
    newest.take([record(b"no score"), record(score(7, camera_id="b", anomaly_score=None))])
    first, second = newest.rows()
    assert (first.camera_id, first.worker_id, first.partition, first.anomaly_score) == ("a", "w2", 1, 0.25)
    assert (second.camera_id, second.anomaly_score, second.bank) == ("b", None, ("shared", 3))


def test_made_up_cameras_push_out_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CAMERAS", 2)
    newest = NewestScores()
    newest.take([record(score(number, camera_id=f"c{number}")) for number in (3, 1, 2)])
    assert [row.camera_id for row in newest.rows()] == ["c2", "c3"]


@pytest.mark.parametrize(
    ("late_s", "silent_s", "state"),
    [
        (0.4, 3, "ok"),
        (10, 30, "ok"),
        (224, 3, "late by 4 min"),
        (0.4, 31, "no score for 31 s"),
        (224, 7200, "no score for 2 h"),
        (-5, -5, "ok"),
    ],
)
def test_a_camera_that_is_late_or_silent_says_so(late_s: float, silent_s: float, state: str) -> None:
    scored_at = NOW - timedelta(seconds=silent_s)
    row = row_of(score(0, captured_at=scored_at - timedelta(seconds=late_s), scored_at=scored_at))
    assert row.state(NOW) == state


def test_times_are_spoken_in_the_unit_that_matters() -> None:
    seconds = (0.44, 9.9, 11, 119, 120, 7199, 7200, 172_800)
    assert [spoken(each) for each in seconds] == ["0.4 s", "9.9 s", "11 s", "119 s", "2 min", "120 min", "2 h", "2 d"]


def a_group() -> GroupView:
    members = [
        GroupMember("engram.w2", "10.0.0.2", (("frames", 1),)),
        GroupMember("engram.w1", "10.0.0.1", (("frames", 0),)),
    ]
    begins = {("frames", 0): 100, ("frames", 1): 0, ("frames", 2): 40}
    ends = {("frames", 0): 150, ("frames", 1): 30, ("frames", 2): 50}
    return group_view("workers", "Stable", members, Offsets(begins, ends, {("frames", 0): 90, ("frames", 1): 30}))


def test_what_waits_is_between_what_was_handled_and_the_end() -> None:
    group = a_group()
    assert [(each.owner, each.committed, each.lag) for each in group.partitions] == [
        ("engram.w1", 90, 50),  # ten of them the log has deleted
        ("engram.w2", 30, 0),
        (None, None, 10),
    ]
    assert group.lag == 60
    assert [member.client_id for member in group.members] == ["engram.w1", "engram.w2"]


def a_fleet(**changes: object) -> Fleet:
    hostile = row_of(score(1, camera_id="gate", worker_id="w1"))
    banks = [BankRow("shared", 7, ORIGIN, True)]
    known: dict[str, object] = {"at": NOW, "groups": [a_group()], "cameras": [hostile], "banks": banks}
    return Fleet(**known | changes)  # type: ignore[arg-type]


def shown(fleet: Fleet) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(screen(fleet))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_screen_has_lag_owners_cameras_and_banks() -> None:
    text = shown(a_fleet())
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "│ workers │ Stable │ engram.w1, engram.w2 │ 60 │" in lines
    assert "│ frames/0 │ engram.w1 │ 90 │ 150 │ 50 │ gate │" in lines
    assert "│ frames/2 │ nobody │ - │ 50 │ 10 │ │" in lines
    assert "│ gate │ ok │ 0.250 │ 9.9 s ago │ 0.0 s │ w1 │ shared v3 │ live │" in lines
    assert "│ shared │ 7 │ 10 s ago │ frozen │" in lines


def test_a_store_that_cannot_be_asked_is_told_and_hides_nothing_else() -> None:
    text = shown(a_fleet(banks=[], trouble={"store": "nobody answers at [red]h:1[/red]"}))
    assert "store: nobody answers at [red]h:1[/red]" in text
    assert "gate" in text


def test_programs_get_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    print_json_line(a_fleet().as_json())
    told = json.loads(capsys.readouterr().out)
    assert told["groups"]["workers"]["lag"] == 60
    assert told["groups"]["workers"]["partitions"][0]["owner"] == "engram.w1"
    assert (told["cameras"]["gate"]["state"], told["cameras"]["gate"]["silent_s"]) == ("ok", 9.9)
    assert (told["banks"]["shared"]["version"], told["banks"]["shared"]["frozen"]) == (7, True)


class Look:
    """Fails once, then tells, and stops who looks after the third time."""

    def __init__(self, stop: threading.Event) -> None:
        self.stop, self.num = stop, 0

    def look(self) -> Fleet:
        self.num += 1
        if self.num == 2:
            raise TransientError("the broker is away")
        if self.num == 4:
            self.stop.set()
        return a_fleet()


def test_who_watches_waits_for_a_broker_that_is_away() -> None:
    stop = threading.Event()
    assert len(list(looks(Look(stop), stop, 0.0))) == 3  # type: ignore[arg-type]


def test_who_looks_once_is_told_that_it_is_away() -> None:
    look = Look(threading.Event())
    assert len(list(looks(look, threading.Event(), None))) == 1  # type: ignore[arg-type]
    with pytest.raises(TransientError):
        list(looks(look, threading.Event(), None))  # type: ignore[arg-type]
