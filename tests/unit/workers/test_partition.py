"""From arrival to window: order, repeats, gaps, sessions, and what a new owner needs."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from inference.decode import DecodeLimits
from inference.formats import ClipFormat, FrameFormat
from messaging.ports import Assigned
from schemas.errors import BadMessageError
from schemas.messages import EARLIEST, FrameHeader
from tests.unit.workers.arriving import CLAIM, START, arrival, delivery, header
from workers.arrivals import Arrival, Decoder
from workers.camera import REMEMBERED_SESSIONS, CameraState, decode_states, encode_state
from workers.partition import Admitted, Clip, Dead, Partition, SessionEnd, Skipped, Warming, oldest_wanted

LENGTH = 5
NOW = START + timedelta(hours=1)


def fresh(committed: int = 0, states: dict[str, CameraState] | None = None) -> Partition:
    return Partition.from_assignment(Assigned(CLAIM, committed), states or {}, ClipFormat(LENGTH), 0.0, NOW)


def admit(partition: Partition, *arrivals: Arrival) -> list[Admitted]:
    return [partition.admit(each, None, 0.0) for each in arrivals]


def outcomes(partition: Partition, *arrivals: Arrival) -> list[str]:
    return [told(each) for each in admit(partition, *arrivals)]


def told(admitted: Admitted) -> str:
    match admitted:
        case Skipped(reason=reason):
            return reason
        case Clip():
            return "clip"
        case Warming():
            return "warming"
        case SessionEnd():
            return "session_end"
        case Dead():
            return "dead"


def test_frames_warm_the_window_then_give_a_clip_each() -> None:
    found = outcomes(fresh(), *(arrival(index, header(index)) for index in range(7)))
    assert found == ["warming"] * 4 + ["clip"] * 3


def test_cameras_of_a_partition_have_windows_of_their_own() -> None:
    mixed = [
        arrival(2 * index + place, header(index, camera)) for index in range(5) for place, camera in enumerate("ab")
    ]
    assert outcomes(fresh(), *mixed)[-2:] == ["clip", "clip"]


def test_repeats_and_late_frames_are_skipped() -> None:
    indices = [0, 1, 1, 0, 2]
    found = outcomes(fresh(), *(arrival(offset, header(index)) for offset, index in enumerate(indices)))
    assert found == ["warming", "warming", "duplicate", "duplicate", "warming"]


def test_a_gap_warms_anew() -> None:
    indices = [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    found = outcomes(fresh(), *(arrival(offset, header(index)) for offset, index in enumerate(indices)))
    assert found == ["warming"] * 4 + ["clip"] + ["warming"] * 4 + ["clip"]


def test_a_frame_that_cannot_be_decoded_is_a_gap() -> None:
    bad = BadMessageError("undecodable", "no")
    arrivals = [arrival(index, header(index), error=bad if index == 5 else None) for index in range(11)]
    assert outcomes(fresh(), *arrivals) == ["warming"] * 4 + ["clip", "dead"] + ["warming"] * 4 + ["clip"]


def test_a_new_size_warms_anew() -> None:
    arrivals = [arrival(index, header(index, size=(4, 3) if index < 6 else (8, 6))) for index in range(11)]
    assert outcomes(fresh(), *arrivals) == ["warming"] * 4 + ["clip"] * 2 + ["warming"] * 4 + ["clip"]


def test_a_new_session_warms_anew_and_the_old_one_is_over() -> None:
    arrivals = [arrival(index, header(index)) for index in range(5)]
    arrivals += [arrival(5, header(0, session="s2", pause_s=0.5)), arrival(6, header(5))]
    arrivals += [arrival(7, header(1, session="s2", pause_s=0.5))]
    assert outcomes(fresh(), *arrivals)[5:] == ["warming", "old_session", "warming"]


def test_an_ended_session_stays_ended() -> None:
    arrivals = [arrival(0, header(0)), arrival(1, header(1, kind="end_of_session")), arrival(2, header(2))]
    assert outcomes(fresh(), *arrivals) == ["warming", "session_end", "old_session"]


def test_what_is_too_old_is_skipped_for_live_use_only() -> None:
    partition = fresh()
    not_before = oldest_wanted(START + timedelta(seconds=10), max_staleness_s=9.95)
    assert told(partition.admit(arrival(0, header(0)), not_before, 0.0)) == "stale"
    assert told(partition.admit(arrival(1, header(1)), not_before, 0.0)) == "warming"
    assert oldest_wanted(START, None) is None
    assert oldest_wanted(START, 1e12) == EARLIEST


def test_progress_counts_every_record_and_reaches_back_for_the_window() -> None:
    partition = fresh(committed=100)
    assert partition.progress().next_offset == 100
    admit(partition, *(arrival(100 + 3 * index, header(index)) for index in range(7)))
    assert (partition.progress().next_offset, partition.progress().replay_from) == (119, 109)
    admit(partition, arrival(121, header(7, kind="end_of_session")))
    assert (partition.progress().next_offset, partition.progress().replay_from) == (122, 122)


def test_a_slow_neighbour_holds_the_replay_back() -> None:
    partition = fresh()
    admit(partition, arrival(0, header(0, "slow")))
    admit(partition, *(arrival(1 + index, header(index, "quick")) for index in range(50)))
    assert partition.progress().replay_from == 0


def states_of(partition: Partition) -> dict[str, CameraState]:
    payloads = {name: encode_state(state) for name, cam in partition.cameras.items() if (state := cam.state())}
    states, unreadable = decode_states(payloads, partition.next_offset, NOW)
    assert not unreadable
    return dict(states)


def log_of(steps: list[int]) -> list[tuple[int, FrameHeader]]:
    """Records with their offsets.

    Steps: 0 next frame, 1 a gap, 2 a repeat, 3 a new session, 4 a pause, 5 a clock that is set back, 6 an index that
    begins anew, later.
    """
    log, index, session, pause_s = list[tuple[int, FrameHeader]](), -1, 0, 0.0
    for offset, kind in enumerate(steps):
        pause_s += {4: 7.0, 5: -50.0, 6: 7.0 + max(0, index) / 10}.get(kind, 0.0)
        session += kind == 3
        index = 0 if kind in (3, 6) else max(0, index + (1, 2, 0, 0, 1, 1)[kind])
        log.append((offset, header(index, session=f"s{session}", pause_s=pause_s)))
    return log


@settings(max_examples=200)
@given(st.lists(st.integers(0, 6), max_size=40), st.data())
def test_a_new_owner_goes_on_exactly_where_the_old_one_stopped(steps: list[int], data: st.DataObject) -> None:
    """A take-over anywhere changes no outcome, whatever neighbours hold the replay back."""
    log = log_of(steps)
    undisturbed = outcomes(fresh(), *(arrival(*each) for each in log))

    cut = data.draw(st.integers(0, len(log)))
    first = fresh()
    before = outcomes(first, *(arrival(*each) for each in log[:cut]))
    progress = first.progress()
    second = fresh(progress.next_offset, states_of(first))
    replayed = log[data.draw(st.integers(0, progress.replay_from)) : cut]
    assert set(outcomes(second, *(arrival(*each, replay=True) for each in replayed))) <= {"replayed"}
    after = outcomes(second, *(arrival(*each) for each in log[cut:]))
    assert before + after == undisturbed


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.data())
def test_a_position_that_a_broker_lost_makes_nobody_handle_a_frame_twice(steps: list[int], data: st.DataObject) -> None:
    """As above, but the new owner is told a position that lies before what the states account for."""
    log = log_of(steps)
    undisturbed = outcomes(fresh(), *(arrival(*each) for each in log))

    cut = data.draw(st.integers(0, len(log)))
    assume(steps[:cut].count(3) <= REMEMBERED_SESSIONS)
    first = fresh()
    before = outcomes(first, *(arrival(*each) for each in log[:cut]))
    position = data.draw(st.integers(0, cut))
    second = fresh(position, states_of(first))
    read_from = min(first.progress().replay_from, position)
    assert set(outcomes(second, *(arrival(*each, replay=True) for each in log[read_from:position]))) <= {"replayed"}
    assert set(outcomes(second, *(arrival(*each) for each in log[position:cut]))) <= {"replayed"}
    assert second.progress().next_offset == cut
    assert before + outcomes(second, *(arrival(*each) for each in log[cut:])) == undisturbed


@pytest.mark.parametrize("last", [3, 5], ids=["a new session", "the same"])
def test_a_lost_position_repeats_nothing_where_a_clock_was_set_back(last: int) -> None:
    log = log_of([0, 0, 0, 0, last])
    first = fresh()
    admit(first, *(arrival(*each) for each in log))
    assert outcomes(fresh(0, states_of(first)), *(arrival(*each) for each in log)) == ["replayed"] * 5


def test_a_topic_that_was_made_anew_hides_no_frame_behind_the_offsets_of_the_old_one() -> None:
    first = fresh()
    admit(first, *(arrival(index, header(index)) for index in range(50)))
    goes_on = [arrival(index, header(50 + index)) for index in range(6)]
    assert outcomes(fresh(0, states_of(first)), *goes_on) == ["warming"] * 4 + ["clip"] * 2
    begins = [arrival(index, header(index, session="s2", pause_s=-60.0)) for index in range(6)]
    assert outcomes(fresh(0, states_of(first)), *begins) == ["warming"] * 4 + ["clip"] * 2


def test_a_frame_that_came_twice_does_not_empty_the_next_owners_window() -> None:
    first = fresh()
    admit(first, *(arrival(index, header(index)) for index in range(7)), arrival(7, header(6)))
    second = fresh(8, states_of(first))
    log = [*(arrival(index, header(index), replay=True) for index in range(3, 7)), arrival(7, header(6), replay=True)]
    assert set(outcomes(second, *log)) == {"replayed"}
    assert outcomes(second, arrival(8, header(7))) == ["clip"]


def test_a_window_that_was_let_go_of_is_not_filled_again_by_the_next_owner() -> None:
    """Its frames come again where a neighbour's window needs what is older."""
    first = fresh()
    admit(first, *(arrival(index, header(index)) for index in range(7)))
    first.cameras["cam1"].clear_window()
    second = fresh(7, states_of(first))
    assert set(outcomes(second, *(arrival(index, header(index), replay=True) for index in range(7)))) == {"replayed"}
    goes_on = [arrival(index, header(index)) for index in range(7, 12)]
    assert outcomes(second, *goes_on) == ["warming"] * 4 + ["clip"]


def test_frames_of_an_index_that_began_anew_are_no_repeats_to_the_next_owner() -> None:
    log = [(offset, header(offset)) for offset in range(5)]
    log += [(5 + index, header(index, pause_s=20.0)) for index in range(6)]
    first = fresh()
    assert outcomes(first, *(arrival(*each) for each in log[:8])) == ["warming"] * 4 + ["clip"] + ["warming"] * 3
    second = fresh(8, states_of(first))
    assert set(outcomes(second, *(arrival(*each, replay=True) for each in log[:8]))) == {"replayed"}
    assert outcomes(second, *(arrival(*each) for each in log[8:])) == ["warming"] + ["clip"] * 2


def test_what_was_too_old_is_not_in_the_next_owners_window_either() -> None:
    log = [(index, header(index)) for index in range(12)]
    first, not_before = fresh(), header(5).captured_at
    assert [told(first.admit(arrival(*each), not_before, 0.0)) for each in log[:7]] == ["stale"] * 5 + ["warming"] * 2
    second = fresh(7, states_of(first))
    assert set(outcomes(second, *(arrival(*each, replay=True) for each in log[:7]))) == {"replayed"}
    assert outcomes(second, *(arrival(*each) for each in log[7:])) == ["warming"] * 2 + ["clip"] * 3


def test_a_state_that_is_handed_on_before_the_window_is_filled_still_says_from_where() -> None:
    first = fresh()
    admit(first, *(arrival(index, header(index)) for index in range(7)))
    second = fresh(7, states_of(first))
    third = fresh(7, states_of(second))
    assert set(outcomes(third, *(arrival(index, header(index), replay=True) for index in range(3, 7)))) == {"replayed"}
    assert outcomes(third, arrival(7, header(7))) == ["clip"]


def test_what_was_taken_of_a_replay_and_not_handled_is_kept_for_a_next_owner() -> None:
    partition = fresh(committed=7)
    for index in range(3, 6):
        partition.expect(delivery(index, header(index), replay=True))
    assert partition.progress().replay_from == 3
    admit(partition, arrival(3, header(3, session="another"), replay=True), arrival(4, header(4), replay=True))
    admit(partition, arrival(5, header(5, kind="end_of_session"), replay=True))
    partition.expect(delivery(7, header(0, "other")))
    admit(partition, arrival(7, header(0, "other", kind="end_of_session")))
    partition.cameras["cam1"].clear_window()
    assert (partition.progress().next_offset, partition.progress().replay_from) == (8, 8)


def test_a_camera_that_is_known_from_a_replay_alone_was_seen_just_now() -> None:
    """Else it would be taken for one that has been silent since the machine was started, and be forgotten."""
    partition = fresh(committed=7)
    partition.admit(arrival(3, header(3), replay=True), None, 5000.0)
    assert partition.cameras["cam1"].seen_at_s == 5000.0


def test_an_unreadable_state_starts_the_camera_anew() -> None:
    states, unreadable = decode_states({"cam1": b'{"schema_version": 9}', "cam2": b"junk"}, 10, NOW)
    assert not states
    assert {error.reason for error in unreadable.values()} == {"bad_state"}


def test_a_pause_warms_anew_though_session_and_index_go_on() -> None:
    arrivals = [arrival(index, header(index, pause_s=60.0 if index > 5 else 0.0)) for index in range(12)]
    assert outcomes(fresh(), *arrivals) == ["warming"] * 4 + ["clip"] * 2 + ["warming"] * 4 + ["clip"] * 2


def test_a_clock_that_is_set_back_warms_anew() -> None:
    arrivals = [arrival(index, header(index, pause_s=-60.0 if index > 5 else 0.0)) for index in range(12)]
    assert outcomes(fresh(), *arrivals) == ["warming"] * 4 + ["clip"] * 2 + ["warming"] * 4 + ["clip"] * 2


def test_where_one_frame_is_a_clip_a_gap_still_shows() -> None:
    partition = Partition.from_assignment(Assigned(CLAIM, 0), {}, ClipFormat(1), 0.0)
    indices = [0, 1, 3, 4]
    found = admit(partition, *(arrival(offset, header(index)) for offset, index in enumerate(indices)))
    assert [each.continues for each in found if isinstance(each, Clip)] == [False, True, False, True]


def test_the_next_owner_knows_whether_a_frame_continues_even_without_a_window() -> None:
    first = Partition.from_assignment(Assigned(CLAIM, 0), {}, ClipFormat(1), 0.0)
    admit(first, arrival(0, header(0)), arrival(1, header(1)))
    second = Partition.from_assignment(Assigned(CLAIM, 2), states_of(first), ClipFormat(1), 0.0)
    (found,) = admit(second, arrival(2, header(2)))
    assert isinstance(found, Clip)
    assert found.continues


def test_two_senders_of_one_name_are_told_from_a_restart() -> None:
    begun = [arrival(index, header(index)) for index in range(5)]
    other = [arrival(5 + index, header(index, session="s2", pause_s=0.5)) for index in range(3)]
    late, newer = arrival(8, header(5)), arrival(9, header(7))
    found = outcomes(fresh(), *begun, *other, late, newer, arrival(10, header(3, session="s2", pause_s=0.5)))
    assert found[5:] == ["warming"] * 3 + ["old_session", "twin_session", "warming"]


def test_the_older_of_two_senders_goes_on_when_the_newer_has_gone() -> None:
    begun = [arrival(0, header(0)), arrival(1, header(0, session="s2", pause_s=1.0))]
    assert outcomes(fresh(), *begun, arrival(2, header(20)), arrival(3, header(21, pause_s=60.0)))[2:] == [
        "twin_session",
        "warming",
    ]


@pytest.mark.parametrize(
    "forged",
    [
        {"cursor": {"session_id": "s1", "last_frame": 10**9, "fps": 10, "last_at": "2026-01-05T10:00:00Z"}},
        {"cursor": {"session_id": "x", "last_frame": 1, "fps": 10, "closed_sessions": ["s1"]}},
        {"cursor": {"session_id": "x", "last_frame": 1, "fps": 10, "last_at": "2199-01-01T00:00:00Z"}},
        {"cursor": {"session_id": "s1", "last_frame": 10**9, "fps": 10}, "offset": 99},
        {"cursor": {"session_id": "x", "last_frame": 1, "fps": 10, "closed_sessions": [f"s{n}" for n in range(99)]}},
        {"cursor": {"session_id": "../..", "last_frame": 1, "fps": 10}},
        {"cursor": {"session_id": "s1", "last_frame": 1, "fps": 1e300}},
        {"cursor": {"session_id": "s1", "last_frame": 1, "fps": 10}, "smoothing": {"level": 1e300}},
    ],
    ids=str,
)
def test_no_state_silences_a_camera_for_good(forged: dict[str, object]) -> None:
    states, _ = decode_states({"cam1": json.dumps(forged).encode()}, 10, NOW)
    partition = fresh(10, dict(states))
    later = [arrival(10 + index, header(index, pause_s=2 * 3600.0)) for index in range(10)]
    assert outcomes(partition, *later)[-1] == "clip"


S1_FOREVER = {"session_id": "s1", "last_frame": 10**9, "fps": 10}
S1_IS_OVER = {"session_id": "x", "last_frame": 1, "fps": 10, "closed_sessions": ["s1"]}
S1_HAS_ENDED = {"session_id": "s1", "last_frame": 1, "fps": 10, "closed_sessions": ["s1"]}


@pytest.mark.parametrize("cursor", [S1_FOREVER, S1_IS_OVER, S1_HAS_ENDED], ids=str)
@pytest.mark.parametrize("ahead_s", [0, 299])
@pytest.mark.parametrize("offset", [9, 9_999])
def test_a_forged_state_costs_no_frame_that_is_captured_after_the_hand_over(
    cursor: dict[str, object], ahead_s: int, offset: int
) -> None:
    forged = cursor | {"last_at": (NOW + timedelta(seconds=ahead_s)).isoformat()}
    states, _ = decode_states({"cam1": json.dumps({"cursor": forged, "offset": offset}).encode()}, 10, NOW)
    assert states, "it is believed, as far as it is harmless"
    partition = fresh(10, dict(states))
    pause_s = (NOW - START).total_seconds() - 1.0
    replayed = [arrival(6 + index, header(6 + index, pause_s=pause_s), replay=True) for index in range(4)]
    assert header(10, pause_s=pause_s).captured_at == NOW
    later = [arrival(index, header(index, pause_s=pause_s)) for index in range(11, 17)]
    assert outcomes(partition, *replayed, *later) == ["replayed"] * 4 + ["warming"] * 4 + ["clip"] * 2


@pytest.mark.parametrize(
    ("replayed", "outcome"),
    [
        (["old"], "warming"),
        (["old", "new"], "twin_session"),
        (["old", "end of old"], "twin_session"),
        ([], "twin_session"),
    ],
    ids=str,
)
def test_a_session_is_over_unless_its_frames_alone_were_the_last(replayed: list[str], outcome: str) -> None:
    cursor = {
        "session_id": "new",
        "last_frame": 1,
        "fps": 10,
        "closed_sessions": ["old"],
        "began_at": START.isoformat(),
    }
    payload = json.dumps({"cursor": cursor | {"last_at": header(4).captured_at.isoformat()}}).encode()
    partition = fresh(10, dict(decode_states({"cam1": payload}, 10, NOW)[0]))
    for offset, name in enumerate(replayed):
        kind: Literal["frame", "end_of_session"] = "end_of_session" if "end" in name else "frame"
        admit(partition, arrival(offset, header(offset, session=name.split()[-1], kind=kind), replay=True))
    repeat, newer = arrival(10, header(4, session="old")), arrival(11, header(5, session="old"))
    assert outcomes(partition, repeat, newer) == ["twin_session", outcome], "what is no newer is a repeat in any case"


def test_a_record_that_killed_workers_is_buried_undecoded() -> None:
    decoder = Decoder(FrameFormat(4, 3, 1), DecodeLimits(), num_threads=1)
    killer = replace(delivery(0, header(0)), attempts=3)
    (found,) = admit(fresh(), *decoder.begin([killer]))
    decoder.close()
    assert isinstance(found, Dead)
    assert found.error.reason == "poison"
