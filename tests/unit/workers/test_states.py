"""What a camera's state is believed, and what is new to it, to the very moment; and what its sessions leave behind."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.formats import ClipFormat
from inference.sampling import LONGEST_STEP_S, longest_step
from messaging.ports import Assigned, Lost
from schemas.codec import decode_message, encode_message
from schemas.errors import BadMessageError
from schemas.messages import AnomalyEvent, FrameHeader
from tests.unit.workers.arriving import CLAIM, START, arrival, header
from tests.unit.workers.test_events import SCENE
from tests.unit.workers.test_tracker import RULES, run, seen
from workers.camera import (
    CLOCK_SLACK,
    MAX_AHEAD,
    REMEMBERED_SESSIONS,
    REVIVAL,
    CameraState,
    Cursor,
    advanced,
    checked_state,
    decode_states,
    encode_state,
    left_open,
    skip_reason,
)
from workers.continuity import position_of
from workers.events import event_message
from workers.partition import Partition, oldest_wanted
from workers.tracker import close, interrupted, step

NOW = START + timedelta(hours=1)
TICK = timedelta(microseconds=1)
REVIVAL_S = REVIVAL.total_seconds()


def cursor_after(*headers: FrameHeader) -> Cursor:
    cursor: Cursor | None = None
    for each in headers:
        cursor = advanced(cursor, each)
    assert cursor is not None
    return cursor


def at(told: FrameHeader, **changed: object) -> FrameHeader:
    return told.model_copy(update=changed)


@pytest.mark.parametrize("revival", [REVIVAL, timedelta(0)])
def test_what_seems_over_goes_on_once_it_is_newer_by_the_time_of_a_revival(revival: timedelta) -> None:
    cursor = cursor_after(header(0, session="s0"), header(4))
    just = at(header(9, session="s0"), captured_at=header(4).captured_at + revival)
    assert skip_reason(cursor, just, revival) in ("old_session", "twin_session")
    assert skip_reason(cursor, at(just, captured_at=just.captured_at + TICK), revival) is None


@pytest.mark.parametrize("index", [0, 4])
def test_a_repeat_was_captured_when_it_first_came_so_what_is_newer_is_none(index: int) -> None:
    cursor = cursor_after(header(4))
    again = at(header(index), captured_at=header(4).captured_at)
    assert skip_reason(cursor, again) == "duplicate"
    assert skip_reason(cursor, at(again, captured_at=again.captured_at + TICK)) is None


def test_a_session_that_goes_on_is_no_longer_over_and_the_other_is() -> None:
    cursor = cursor_after(header(0, session="s0"), header(1), header(9, session="s0", pause_s=60))
    assert (cursor.session_id, cursor.closed_sessions) == ("s0", ("s1",))
    assert cursor.began_at == header(9, pause_s=60).captured_at, "it begins anew, where it goes on"
    assert skip_reason(cursor, header(10, session="s0", pause_s=60)) is None


def test_an_end_that_was_said_stays_said_and_is_no_twin() -> None:
    cursor = cursor_after(header(0), header(1), header(2, kind="end_of_session"))
    assert cursor.closed_sessions == ("s1",)
    assert skip_reason(cursor, header(3, pause_s=5)) == "old_session", "its own end, not another sender"
    assert skip_reason(cursor, header(3, pause_s=REVIVAL_S + 1)) is None
    revived = advanced(cursor, header(3, pause_s=REVIVAL_S + 1))
    assert revived.closed_sessions == (), "a session that is open is not over"
    assert revived.began_at == START, "nothing came between: it is the same session"


def test_a_twin_is_who_sends_what_was_captured_after_the_other_began() -> None:
    cursor = cursor_after(header(0, session="s0"), header(0, pause_s=1.0), header(1, pause_s=1.0))
    began_at = START + timedelta(seconds=1)
    assert skip_reason(cursor, at(header(8, session="s0"), captured_at=began_at)) == "old_session"
    assert skip_reason(cursor, at(header(8, session="s0"), captured_at=began_at + TICK)) == "twin_session"


@pytest.mark.parametrize("index", [3, 4])
def test_without_times_an_older_engrams_cursor_still_knows_a_repeat(index: int) -> None:
    bare = Cursor("s1", 4, 10.0, ("s0",))
    assert skip_reason(bare, header(index)) == "duplicate"
    assert skip_reason(bare, header(index, session="s0")) == "old_session"
    assert skip_reason(bare, header(5)) is None
    assert advanced(bare, header(5)).began_at is None, "when it began is not made up"


def test_sessions_are_remembered_each_once_up_to_the_bound_the_oldest_go() -> None:
    names = [f"s{number}" for number in range(REMEMBERED_SESSIONS + 3)]
    cursor = cursor_after(*(header(0, session=name, pause_s=float(n)) for n, name in enumerate(names)))
    assert cursor.closed_sessions == tuple(names[2:-1])
    ended = advanced(cursor, header(1, session=names[-1], kind="end_of_session"))
    again = advanced(ended, header(0, session="new", pause_s=99))
    assert again.closed_sessions == tuple(names[3:]), "one that ended, and was then followed, is named once"


def state(**changed: Any) -> CameraState:
    """A state in order, of a camera in an event, as handed on at offset 9."""
    _, happening = run([0.9] * 30)
    assert happening is not None
    cursor = Cursor("s1", 29, 10.0, (), header(29).captured_at, START)
    base = CameraState(cursor, None, happening, position_of(header(29)), 9)
    return replace(base, **changed)


def believed(given_state: CameraState, committed: int = 10) -> bool:
    try:
        found = checked_state(given_state, committed, NOW)
        assert found.cursor.last_at is not None
        assert found.cursor.last_at <= NOW, "nothing was handled before it was captured"
        return replace(found, cursor=given_state.cursor) == given_state
    except BadMessageError as error:
        assert error.reason == "bad_state"
        return False


@pytest.mark.parametrize(("offset", "fine"), [(9, True), (9 + MAX_AHEAD, True), (10 + MAX_AHEAD, False)])
def test_a_state_is_about_records_that_were_handled_or_a_commit_more(offset: int, fine: bool) -> None:
    assert believed(state(offset=offset), committed=10) == fine
    assert believed(state(offset=None), committed=10)


@pytest.mark.parametrize("where", ["last_at", "began_at", "last", "started_at", "happening_last_at"])
@pytest.mark.parametrize(("ahead", "fine"), [(timedelta(0), True), (TICK, False)])
def test_every_time_of_a_state_may_be_ahead_by_the_slack_and_no_more(where: str, ahead: timedelta, fine: bool) -> None:
    when, good = NOW + CLOCK_SLACK + ahead, state()
    assert good.happening is not None
    assert good.last is not None
    changed: dict[str, dict[str, Any]] = {
        "last_at": {"cursor": replace(good.cursor, last_at=when)},
        "began_at": {"cursor": replace(good.cursor, began_at=when)},
        "last": {"last": replace(good.last, captured_at=when)},
        "started_at": {"happening": replace(good.happening, started_at=when)},
        "happening_last_at": {"happening": replace(good.happening, last_at=when)},
    }
    assert believed(state(**changed[where])) == fine


@pytest.mark.parametrize(("count", "fine"), [(REMEMBERED_SESSIONS, True), (REMEMBERED_SESSIONS + 1, False)])
def test_a_state_names_no_more_sessions_than_a_worker_remembers(count: int, fine: bool) -> None:
    cursor = replace(state().cursor, closed_sessions=tuple(f"x{number}" for number in range(count)))
    assert believed(state(cursor=cursor)) == fine


def test_a_bad_state_costs_its_own_camera_alone_and_says_which() -> None:
    payloads = {"good": encode_state(state()), "late": encode_state(state(offset=10 + MAX_AHEAD)), "junk": b"{"}
    states, unreadable = decode_states(payloads, 10, NOW)
    assert states == {"good": state()}
    assert unreadable.keys() == {"late", "junk"}
    assert "state of camera 'late' cannot be used, it starts anew: it must be about records" in str(unreadable["late"])


def fresh(committed: int) -> Partition:
    return Partition.from_assignment(Assigned(CLAIM, committed), {}, ClipFormat(5), 0.0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 50), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=8))
def test_every_offset_is_lost_once_or_handled_whatever_is_told(committed: int, told: Sequence[tuple[int, int]]) -> None:
    """Losses may overlap, come twice and lie behind us; each offset that nobody had handled counts once."""
    partition, handled_to, counted = fresh(committed), committed, 0
    for first, number in told:
        before = partition.next_offset
        num_lost = partition.pass_over(Lost(CLAIM, first, number))
        end = first + number
        assert num_lost == len([offset for offset in range(first, end) if offset >= before])
        assert partition.next_offset == max(before, end)
        counted += num_lost
        handled_to = max(handled_to, end)
    assert partition.progress().next_offset == handled_to
    assert counted <= handled_to - committed


def test_a_window_of_before_the_loss_is_read_again_no_further_than_it_is_needed() -> None:
    partition = fresh(0)
    for index in range(3):
        partition.admit(arrival(index, header(index)), None, 0.0)
    partition.pass_over(Lost(CLAIM, 3, 40))
    progress = partition.progress()
    assert (progress.next_offset, progress.replay_from) == (43, 0)


@pytest.mark.parametrize("fps", [1e-9, 1e-300, 0.0005, 1000.0])
def test_a_step_has_a_length_whatever_the_rate(fps: float) -> None:
    step_s = longest_step(fps).total_seconds()
    assert 0.5 <= step_s <= LONGEST_STEP_S
    assert (step_s == LONGEST_STEP_S) == (3.0 / fps >= LONGEST_STEP_S)


def test_what_is_as_old_as_it_may_be_is_wanted() -> None:
    partition, told = fresh(0), header(0)
    not_before = oldest_wanted(told.captured_at + timedelta(seconds=2), 2.0)
    assert not_before == told.captured_at
    assert type(partition.admit(arrival(0, told), not_before, 0.0)).__name__ == "Warming"
    late = partition.admit(arrival(1, header(1)), header(1).captured_at + TICK, 0.0)
    assert (type(late).__name__, partition.next_offset) == ("Skipped", 2)


def test_a_state_of_a_newer_engram_is_read_as_far_as_it_is_known() -> None:
    """While a fleet is updated, cameras go to and fro between versions."""
    told = json.loads(encode_state(state()))
    for part in (told, told["cursor"], told["happening"], told["happening"]["peak"], told["happening"]["bank"]):
        part["newer"] = [1]
    told["happening"]["bank"]["memory_state"] = "rebuilding"
    states, unreadable = decode_states({"gate": json.dumps(told).encode()}, 10, NOW)
    assert not unreadable
    happening = states["gate"].happening
    assert happening is not None
    assert str(happening.bank.memory_state) == "rebuilding"
    assert replace(states["gate"], happening=None) == state(happening=None)


@pytest.mark.parametrize("told", [None, "", "00-bad", 7, ["x"], "x" * 1_000_000])
def test_a_trace_that_is_none_takes_no_event_from_a_state(told: object) -> None:
    states, unreadable = decode_states({"gate": json.dumps(open_state(traceparent=told)).encode()}, 10, NOW)
    assert not unreadable
    assert states["gate"] == state()


def open_state(**changed: Any) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(encode_state(state()))
    assert told["happening"]["is_open"]
    return told | {"happening": told["happening"] | changed}


def test_an_open_event_is_found_in_a_state_that_cannot_be_used_otherwise() -> None:
    for payload in (
        json.dumps(open_state() | {"schema_version": 9}).encode(),
        json.dumps(open_state() | {"cursor": None}).encode(),
        json.dumps({"happening": open_state(newer=1)["happening"]}).encode(),
    ):
        assert decode_states({"gate": payload}, 10, NOW)[1]
        assert left_open("gate", payload) == state().happening


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 1100 + b"]" * 1100,
        b'{"happening": null}',
        b'{"happening": {"is_open": true}}',
        json.dumps(open_state(is_open=False)).encode(),
        json.dumps(open_state(last_frame=2**53, first_frame=0, num_scored=1)).encode(),
        json.dumps(open_state(first_frame=40)).encode(),
        json.dumps(open_state(num_scored=10**6)).encode(),
        json.dumps(open_state(session_id="../x")).encode(),
    ],
    ids=lambda payload: repr(payload[-30:]),
)
def test_what_no_tracker_can_have_written_is_no_open_event(payload: bytes) -> None:
    assert left_open("gate", payload) is None


def test_an_open_event_of_a_camera_that_can_be_none_is_left_alone() -> None:
    payload = json.dumps(open_state()).encode()
    assert left_open("gate", payload) is not None
    for name in ("../gate", "é", "x" * 300, ""):
        assert left_open(name, payload) is None


@pytest.mark.parametrize("changed", [{"num_scored": 10**6}, {"first_frame": 2**53}, {"last_frame": 2**53 - 1}])
def test_a_state_whose_event_counts_more_than_it_holds_is_not_believed(changed: dict[str, Any]) -> None:
    good = state()
    assert good.happening is not None
    assert not believed(replace(good, happening=replace(good.happening, **changed)))


ODD_COUNTS = st.sampled_from([0, 1, 5, 29, 30, 2**52, 2**53, 2**53 + 1, 10**400, -1, None, "x"])
ODD_TIMES = st.sampled_from(["1970-01-01T00:00:00Z", "2199-12-31T23:59:59Z", START.isoformat(), "2300-01-01T00:00:00Z"])
COUNTED = (
    "first_frame",
    "last_frame",
    "num_scored",
    "num_calm",
    "sequence",
    "told_peak",
    "newest_frame",
    "curve_stride",
)


@given(
    st.dictionaries(st.sampled_from((*COUNTED, "stretches")), ODD_COUNTS, max_size=4),
    st.dictionaries(st.sampled_from(("started_at", "last_at", "told_at", "newest_at")), ODD_TIMES, max_size=3),
    st.sampled_from([[], [{"first": 3, "last": 1}], [{"first": 0, "last": 2**53}] * 40]),
)
@settings(max_examples=200, deadline=None)
def test_whatever_a_state_says_of_an_event_it_can_go_on_and_be_told(
    counts: dict[str, Any], times: dict[str, Any], gaps: list[Any]
) -> None:
    """Anybody may have written it, and the worker must live."""
    payload = json.dumps(open_state(**counts, **times, gaps=gaps)).encode()
    states, _ = decode_states({"gate": payload}, 10, NOW)
    restored = states["gate"].happening if states else None
    for happening in (restored, left_open("gate", payload)):
        if happening is None:
            continue
        outcomes = [
            close(happening, "worker_lost", happening.last_at),
            step(happening, seen(31, 0.95), RULES),
            step(happening, seen(31, 0.0), RULES),
            interrupted(happening, NOW, 10.0, RULES),
        ]
        for outcome in outcomes:
            if outcome is not None and outcome.report is not None:
                message = event_message(outcome.report, SCENE, RULES)
                assert decode_message(AnomalyEvent, encode_message(message)) == message
