"""What is known of a camera: which records are new to it, and what its next owner inherits."""

from dataclasses import replace
from datetime import timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.formats import ClipFormat
from inference.scoring import FrameMeasures, Smoothing, fit_calibration, live_score
from tests.unit.workers.arriving import START, header
from tests.unit.workers.test_tracker import run
from workers.camera import (
    REMEMBERED_SESSIONS,
    Camera,
    CameraState,
    Cursor,
    advanced,
    begins_session,
    decode_states,
    encode_state,
    restored,
    skip_reason,
)
from workers.windows import Window

NOW = START + timedelta(hours=1)

CALIBRATION = fit_calibration(
    [[FrameMeasures(30 + index % 7, 0.1 + index % 5 / 100, 0.02, 0.01 + index % 11 / 1000) for index in range(200)]],
    fps=10,
)


def at(index: int, session: str = "s1", closed: tuple[str, ...] = ()) -> Cursor:
    return Cursor(session, index, 10.0, closed)


@pytest.mark.parametrize(
    ("cursor", "index", "session", "reason"),
    [
        (None, 0, "s1", None),
        (None, 57, "s1", None),
        (at(4), 5, "s1", None),
        (at(4), 9, "s1", None),
        (at(4), 4, "s1", "duplicate"),
        (at(4), 0, "s1", "duplicate"),
        (at(4), 0, "s2", None),
        (at(4, closed=("s0",)), 99, "s0", "old_session"),
        (at(4, closed=("s1",)), 5, "s1", "old_session"),
    ],
)
def test_only_what_is_new_is_handled(cursor: Cursor | None, index: int, session: str, reason: str | None) -> None:
    assert skip_reason(cursor, header(index, session=session)) == reason


def test_a_new_session_closes_the_one_before() -> None:
    cursor = advanced(at(4), header(0, session="s2"))
    assert (cursor.session_id, cursor.last_frame, cursor.closed_sessions) == ("s2", 0, ("s1",))
    assert begins_session(at(4), header(0, session="s2"))
    assert not begins_session(at(4), header(5))
    assert not begins_session(None, header(0))


def test_the_end_record_closes_its_own_session() -> None:
    assert advanced(at(4), header(5, kind="end_of_session")).closed_sessions == ("s1",)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9), st.sampled_from(["frame", "end_of_session"]))))
def test_no_frame_is_ever_new_twice_and_memory_is_bounded(
    records: list[tuple[int, int, Literal["frame", "end_of_session"]]],
) -> None:
    cursor: Cursor | None = None
    taken: set[tuple[str, int]] = set()
    order: list[str] = []
    for index, number, kind in records:
        told = header(index, session=f"s{number}", kind=kind)
        if told.session_id in order[:-REMEMBERED_SESSIONS]:
            continue  # a session forgotten may be taken for a new one; that takes nine restarts of the camera
        if skip_reason(cursor, told) is not None:
            continue
        assert (told.session_id, index) not in taken
        taken.add((told.session_id, index))
        cursor = advanced(cursor, told)
        if told.session_id not in order:
            order.append(told.session_id)
        assert len(cursor.closed_sessions) <= REMEMBERED_SESSIONS


def test_a_state_with_an_open_event_travels_whole() -> None:
    _, happening = run([0.9] * 30)
    state = CameraState(at(29), Smoothing(1.25), happening)
    states, unreadable = decode_states({"cam1": encode_state(state)}, 100, NOW)
    assert states["cam1"] == replace(state, cursor=replace(state.cursor, last_at=NOW))
    assert not unreadable


def test_what_is_restored_is_what_was_handed_over() -> None:
    _, happening = run([0.9] * 10)
    camera = Camera("cam1", Window(ClipFormat(5)), at(9), Smoothing(0.5), happening)
    state = camera.state()
    assert state is not None
    heir = restored("cam1", state, Window(ClipFormat(5)), now_s=7.0)
    assert heir.state() == state
    assert (heir.seen_at_s, heir.draft) == (7.0, None)


def test_a_camera_that_was_never_seen_has_nothing_to_hand_over() -> None:
    assert Camera("cam1", Window(ClipFormat(5))).state() is None


def test_the_score_goes_on_from_the_state_as_if_nothing_had_happened() -> None:
    frames = [FrameMeasures(30, 0.1, 0.02, 0.01 + index / 100) for index in range(20)]
    smoothing: Smoothing | None = None
    straight: list[float] = []
    for frame in frames:
        live = live_score(frame, smoothing, CALIBRATION)
        smoothing, straight = live.smoothing, [*straight, live.anomaly_score]
        handed = decode_states({"c": encode_state(CameraState(at(0), smoothing))}, 100, NOW)[0]["c"]
        smoothing = handed.smoothing
    again: Smoothing | None = None
    once: list[float] = []
    for frame in frames:
        live = live_score(frame, again, CALIBRATION)
        again, once = live.smoothing, [*once, live.anomaly_score]
    assert once == straight
