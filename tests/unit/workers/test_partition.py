"""From arrival to window: order, repeats, gaps, sessions, and what a new owner needs."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from inference.formats import ClipFormat
from messaging.ports import Assigned
from schemas.errors import BadMessageError
from tests.unit.workers.arriving import CLAIM, START, arrival, header
from workers.arrivals import Arrival
from workers.camera import CameraState, decode_states, encode_state
from workers.partition import Admitted, Partition, oldest_wanted

LENGTH = 5


def fresh(committed: int = 0, states: dict[str, CameraState] | None = None) -> Partition:
    return Partition.from_assignment(Assigned(CLAIM, committed), states or {}, ClipFormat(LENGTH), 0.0)


def admit(partition: Partition, *arrivals: Arrival) -> list[Admitted]:
    return [partition.admit(each, None, 0.0) for each in arrivals]


def outcomes(partition: Partition, *arrivals: Arrival) -> list[str]:
    return [each.skip or each.outcome for each in admit(partition, *arrivals)]


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
    arrivals += [arrival(5, header(0, session="s2")), arrival(6, header(5)), arrival(7, header(1, session="s2"))]
    assert outcomes(fresh(), *arrivals)[5:] == ["warming", "old_session", "warming"]


def test_an_ended_session_stays_ended() -> None:
    arrivals = [arrival(0, header(0)), arrival(1, header(1, kind="end_of_session")), arrival(2, header(2))]
    assert outcomes(fresh(), *arrivals) == ["warming", "session_end", "old_session"]


def test_what_is_too_old_is_skipped_for_live_use_only() -> None:
    partition = fresh()
    not_before = oldest_wanted(START + timedelta(seconds=10), max_staleness_s=9.95)
    assert partition.admit(arrival(0, header(0)), not_before, 0.0).skip == "stale"
    assert partition.admit(arrival(1, header(1)), not_before, 0.0).outcome == "warming"
    assert oldest_wanted(START, None) is None


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
    states, unreadable = decode_states(payloads)
    assert not unreadable
    return dict(states)


@given(st.lists(st.integers(0, 3), max_size=40), st.data())
def test_a_new_owner_goes_on_exactly_where_the_old_one_stopped(steps: list[int], data: st.DataObject) -> None:
    """Steps: 0 next frame, 1 a gap, 2 a repeat, 3 a new session. A take-over anywhere changes no outcome."""
    log, index, session = [], -1, 0
    for offset, kind in enumerate(steps):
        session, index = (session + 1, 0) if kind == 3 else (session, max(0, index + (1, 2, 0, 0)[kind]))
        log.append((offset, header(index, session=f"s{session}")))
    undisturbed = outcomes(fresh(), *(arrival(*each) for each in log))

    cut = data.draw(st.integers(0, len(log)))
    first = fresh()
    before = outcomes(first, *(arrival(*each) for each in log[:cut]))
    progress = first.progress()
    second = fresh(progress.next_offset, states_of(first))
    replayed = log[progress.replay_from : cut]
    assert set(outcomes(second, *(arrival(*each, replay=True) for each in replayed))) <= {"replayed"}
    after = outcomes(second, *(arrival(*each) for each in log[cut:]))
    assert before + after == undisturbed


def test_a_frame_that_came_twice_does_not_empty_the_next_owners_window() -> None:
    first = fresh()
    admit(first, *(arrival(index, header(index)) for index in range(7)), arrival(7, header(6)))
    second = fresh(8, states_of(first))
    log = [*(arrival(index, header(index), replay=True) for index in range(3, 7)), arrival(7, header(6), replay=True)]
    assert set(outcomes(second, *log)) == {"replayed"}
    assert outcomes(second, arrival(8, header(7))) == ["clip"]


def test_an_unreadable_state_starts_the_camera_anew() -> None:
    states, unreadable = decode_states({"cam1": b'{"schema_version": 9}', "cam2": b"junk"})
    assert not states
    assert {error.reason for error in unreadable.values()} == {"bad_state"}
