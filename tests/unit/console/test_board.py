"""What the board makes of messages: newest states, what is unusual now, filters, bounds."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from console.board import Board, Bounds, Filter
from console.cameras import CameraFacts, Learning, state_of
from console.verdicts import verdict_of
from consumers.verdicts import Statement
from memory_store.bank import Bank, Change, entry_for, next_epoch, to_wire
from schemas.cameras import CameraView, view_event
from schemas.messages import BankHeader
from tests.unit.console.worlds import NOW, board_at, jpeg, outcome, seen, status
from tests.unit.consumers.samples import DIGEST, at, score
from tests.unit.memory_store.counted import counting_bank, counts


def ids(found: Any) -> list[str]:
    return [listed.card.event_id for listed in found]


def test_the_newest_message_of_an_event_counts_whatever_comes_when() -> None:
    board = board_at()
    board.take_event(seen(10, 20, "update", 1, picture=jpeg()), NOW)
    board.take_event(seen(10, 12, "start", 0), NOW)
    board.take_event(seen(10, 30, "end", 2), NOW)
    shelved = board.event("cam1:s1:10")
    assert shelved is not None
    assert (shelved.card.phase, shelved.card.last_at) == ("end", at(30))
    assert shelved.picture == jpeg(), "the newest picture stays when a message comes without one"
    assert b"jpeg_base64" not in shelved.body


def test_a_repeat_is_no_news() -> None:
    board = board_at()
    board.take_event(seen(), NOW)
    turns = board.turns()
    board.take_event(seen(), NOW)
    assert board.turns() == turns


def test_the_oldest_events_go_first() -> None:
    board = board_at(bounds=Bounds(max_events=3))
    for number in range(5):
        board.take_event(seen(100 * number, 100 * number + 5), NOW)
    found = board.find(Filter("all", newest_first=True))
    assert ids(found) == ["cam1:s1:400", "cam1:s1:300", "cam1:s1:200"]
    assert board.held()["dropped"] == 2
    dropped = {name for name in board.drain().drops if name[0] == "event"}
    assert dropped == {("event", "cam1:s1:0"), ("event", "cam1:s1:100")}


def test_bytes_are_bounded_too() -> None:
    board = board_at(bounds=Bounds(max_events=1000, max_bytes=40_000))
    for number in range(50):
        board.take_event(seen(100 * number, 100 * number + 5, picture=jpeg(200, 150)), NOW)
        assert board.held()["bytes"] <= 40_000
    assert 1 <= board.held()["events"] < 50


def test_an_oversized_message_is_left_out() -> None:
    board = board_at()
    huge = seen(10, 20, heat_map={"rows": 400, "columns": 400, "values": (255,) * 160_000})
    board.take_event(huge, NOW)
    assert board.event("cam1:s1:10") is None


def test_the_wall_has_the_most_unusual_camera_first() -> None:
    board = board_at()
    for camera, value in (("calm", 0.2), ("odd", 0.95), ("worse", 0.99)):
        board.take_score(score(990, value, camera), NOW)
    board.take_event(seen(980, 990, "start", camera_id="odd"), NOW)
    board.take_event(seen(980, 990, "start", camera_id="worse"), NOW)
    wall = board.wall()
    assert [one.camera.camera_id for one in wall.unusual] == ["worse", "odd"]
    assert wall.unusual[0].p < wall.unusual[1].p
    assert wall.num_cameras == 3
    assert wall.newest_at == NOW


def test_the_wall_is_empty_when_all_is_quiet_or_was_spoken_of() -> None:
    board = board_at()
    board.take_score(score(990), NOW)
    assert board.wall().unusual == ()
    message = seen(980, 990, "start")
    board.take_event(message, NOW)
    assert len(board.wall().unusual) == 1
    board.take_verdict(verdict_of(message, Statement("skip", "ann"), NOW))
    assert board.wall().unusual == ()
    board.take_event(seen(980, 995, "update", 1, camera_id="cam1"), NOW)
    assert board.wall().unusual == (), "more of the same event is not unusual anew"


def test_trouble_of_a_camera_is_not_on_the_wall_of_what_it_shows() -> None:
    board = board_at()
    board.take_event(seen(980, 990, "start", trouble="shift"), NOW)
    assert board.wall().unusual == ()
    assert ids(board.find(Filter(about="trouble"))) == ["cam1:s1:980"]
    assert ids(board.find(Filter(about="picture"))) == []


def test_an_open_event_that_nobody_speaks_of_is_unknown_and_comes_last() -> None:
    board = board_at()
    board.take_event(seen(0, 5, "start", camera_id="old"), NOW - timedelta(seconds=300))
    board.take_event(seen(980, 990, "start", camera_id="new", current_score=0.6), NOW)
    wall = board.wall()
    assert [(one.event.camera_id, one.is_unknown) for one in wall.unusual] == [("new", False), ("old", True)]


def test_events_are_found_by_camera_time_severity_and_what_was_said() -> None:
    board = board_at()
    board.take_event(seen(0, 5, camera_id="gate-1", severity="info"), NOW)
    board.take_event(seen(500, 510, camera_id="gate-2", severity="critical"), NOW)
    yard = seen(900, 910, camera_id="yard", severity="warning")
    board.take_event(yard, NOW)
    assert [name[:6] for name in ids(board.find(Filter("all", "gate*")))] == ["gate-2", "gate-1"]
    assert ids(board.find(Filter("all", since=at(600)))) == ["yard:s1:900"]
    assert ids(board.find(Filter("all", until=at(100)))) == ["gate-1:s1:0"]
    assert ids(board.find(Filter("all", severity="warning"))) == ["yard:s1:900"]
    assert [name[:4] for name in ids(board.find(Filter()))] == ["gate", "yard", "gate"], "alerts first"
    board.take_verdict(verdict_of(yard, Statement("normal", "ann"), NOW))
    assert ids(board.find(Filter("normal"))) == ["yard:s1:900"]
    assert "yard:s1:900" not in ids(board.find(Filter()))


@pytest.mark.parametrize(("later", "holds"), [(5, True), (15, False)])
def test_a_verdict_holds_until_it_expires(later: int, holds: bool) -> None:
    board = board_at(NOW + timedelta(seconds=later))
    message = seen()
    saying = Statement("normal", "ann", expires_at=NOW + timedelta(seconds=10))
    board.take_verdict(verdict_of(message, saying, NOW))
    assert (board.said("cam1:s1:10")[1] is not None) == holds


def test_what_was_said_last_holds_and_an_undo_leaves_nothing() -> None:
    board = board_at()
    message = seen()
    said = [
        verdict_of(message, Statement("real", "ann"), at(1001)),
        verdict_of(message, Statement("undo", "ann"), at(1002)),
    ]
    for verdict in reversed(said):  # whatever the order in which they are read
        board.take_verdict(verdict)
    every, holding = board.said("cam1:s1:10")
    assert [one.verdict.judgement for one in every] == ["real", "undo"]
    assert holding is None


def test_an_outcome_finds_its_verdict_even_if_it_comes_first() -> None:
    board = board_at()
    verdict = verdict_of(seen(), Statement("normal", "ann"), NOW)
    board.take_outcome(outcome(verdict, outcome="refused", reason="rate", why="too many"))
    board.take_verdict(verdict)
    (said,), _ = board.said("cam1:s1:10")
    assert said.outcome is not None
    assert said.outcome.why == "too many"


def test_a_verdict_carries_what_the_event_looked_like_only_where_it_teaches() -> None:
    message = seen()
    trace = message.data.heat_map
    message = message.model_copy(update={"data": message.data.model_copy(update={"trace": trace})})
    taught = verdict_of(message, Statement("normal", "ann", "camera"), NOW)
    skipped = verdict_of(message, Statement("skip", "ann", "camera"), NOW)
    assert (taught.regions, taught.trace) == (message.data.regions, trace)
    assert taught.scope == "camera"
    assert (skipped.regions, skipped.trace) == ((), None)
    assert taught.verdict_id != skipped.verdict_id


def test_alarms_of_the_last_day_are_counted_by_the_camera_s_own_time() -> None:
    board = board_at()
    day = 24 * 3600 * 10
    threshold = {"target_false_alarms_per_day": 2.0}
    for first in (0, day, day + 500):
        board.take_event(seen(first, first + 5, threshold=threshold), NOW)
    board.take_event(seen(day + 600, day + 605, trouble="light"), NOW)
    board.take_score(score(day + 1000), NOW)
    (card,) = board.cameras()
    assert (card.alarms, card.wanted) == (2, 2.0)


def test_a_learning_camera_says_how_far_it_is() -> None:
    board = board_at(bounds=Bounds(learn_s=120.0))
    facts = CameraFacts(score=score(990, memory_state="learning"), heard_at=NOW)
    assert state_of(facts, Learning(37.4, 120.0), NOW)[1].startswith("37 of 120 s")
    board.take_score(score(0, memory_state="learning"), NOW)
    assert board.cameras()[0].state == "learning"


def test_a_learning_camera_is_wanted_for_as_long_as_its_bank_says() -> None:
    board = board_at(bounds=Bounds(learn_s=120.0))
    board.take_status(status())
    board.take_score(score(990, memory_state="learning", bank_id="lobby"), NOW)
    bank = replace(counting_bank(), normality=counts(374))

    def announced(bank: Bank) -> str:
        board.take_bank(*to_wire(bank, entry_for(bank, Change("learn", "ann", "", "x"), None, None)))
        return board.cameras()[0].why

    assert announced(bank).startswith("37 of 120 s")
    told = replace(bank, version=1, epoch=next_epoch(bank.epoch), learn_s=600.0)
    assert announced(told).startswith("37 of 600 s")
    assert board.cameras()[0].learning == Learning(37.4, 600.0)
    assert announced(bank).startswith("37 of 600 s"), "what comes late is no newer for that"
    kept = Board(Bounds(learn_s=120.0), lambda: NOW)
    kept.restore([*board.drain().puts.values()])
    assert [version.learn_s for version in kept.versions("lobby")] == [600.0, None]
    assert announced(replace(told, version=2, epoch=next_epoch(told.epoch), learn_s=None)).startswith("37 of 120 s")


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({}, "live", ""),
        ({"state": "offline", "why": "no route"}, "lost", "no route"),
        ({"reported_at": at(0)}, "lost", "last heard of"),
        ({"state": "stale", "why": "no frame for 9 s"}, "stale", "no frame for 9 s"),
        ({"view": "frozen"}, "frozen", "no longer changes"),
        ({"view": "covered"}, "in doubt", "nothing is to be seen"),
    ],
)
def test_a_producer_s_word_makes_a_camera_s_state(changes: dict[str, Any], state: str, words: str) -> None:
    board = board_at()
    board.take_score(score(990), NOW)
    board.take_status(status(**changes))
    (card,) = board.cameras()
    assert card.state == state
    assert words in card.why


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"memory_state": "frozen"}, "frozen"),
        ({"memory_state": "stale"}, "stale"),
        ({"recognition": "differs"}, "in doubt"),
        ({"recognition": "disturbed"}, "in doubt"),
    ],
)
def test_a_score_s_word_makes_a_camera_s_state(changes: dict[str, Any], state: str) -> None:
    board = board_at()
    board.take_score(score(990, **changes), NOW)
    assert board.cameras()[0].state == state


def test_a_camera_without_scores_is_lost() -> None:
    board = board_at()
    board.take_score(score(990), NOW - timedelta(seconds=90))
    (card,) = board.cameras()
    assert (card.state, card.why) == ("lost", "no score for 90 s")


def test_rates_are_of_whole_seconds() -> None:
    board = board_at()
    for index in range(50):
        board.take_score(score(index), NOW - timedelta(seconds=5 - index / 10))
    (card,) = board.cameras()
    assert card.fps == pytest.approx(10, rel=0.25)
    assert card.spark[-1] == 0.25
    assert card.spark[0] is None


def test_who_waits_does_not_hide_who_sends() -> None:
    board = board_at()
    board.take_status(status())
    board.take_status(status(state="waiting", session_id="s2"))
    assert board.statuses()[0].state == "online"
    board.forget_camera("cam1")
    assert board.cameras() == []


def test_what_became_of_a_picture_is_kept_with_its_camera() -> None:
    board = board_at()
    view = CameraView(
        camera_id="cam1",
        session_id="s1",
        kind="tamper",
        phase="start",
        view="covered",
        why="a hand",
        frame_index=5,
        captured_at=at(5),
        started_at=at(4),
    )
    board.take_camera_event(view_event(view))
    found = board.camera("cam1")
    assert found is not None
    assert found[1].view == view


def test_versions_are_listed_newest_first_across_epochs() -> None:
    board = board_at()
    epochs = ("00000001-" + "a" * 16, "00000002-" + "b" * 16)
    for epoch, version in ((epochs[1], 3), (epochs[0], 4), (epochs[0], 5)):
        header = BankHeader(
            bank_id="gate",
            version=version,
            epoch=epoch,
            bundle_digest=DIGEST,
            digest=DIGEST,
            previous_digest=None,
            num_items=0,
            item_dim=0,
            committed_at=NOW,
            audit={"author": "<script>"},
        )
        board.take_bank(header, None)
    assert [version.version for version in board.versions("gate")] == [3, 5, 4]
    assert board.versions("gate")[0].entry is None, "what is no audit entry is left out"
