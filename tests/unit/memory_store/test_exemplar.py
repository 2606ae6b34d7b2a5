"""What an event that somebody called normal covers, and what it never covers; how exemplars are written down."""

import base64
import json
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.error_map import PATCH_STEP as MAP_STEP
from inference.evidence import PATCH_CELLS
from inference.taught import things_of
from memory_store.exemplar import (
    MAX_BYTES,
    MAX_EXEMPLARS,
    PATCH_STEP,
    SAME,
    SLACK,
    Exemplar,
    Shown,
    Taught,
    Thing,
    exemplar_of,
    from_bytes,
    in_order,
    levels_of,
    silenced_by,
    spreads_at,
    to_bytes,
    trace_shape,
)
from memory_store.normality import PLACE_CELLS, Grid
from schemas.arrays import Float64
from schemas.errors import BadMessageError
from schemas.messages import HeatMap
from tests.unit.memory_store.proposals import NOW
from tests.unit.memory_store.said import HALF, MINUTE, WIDE, a_map, exemplar, small_exemplar, verdict_of

PASSING = [a_map((6, column, 2, 3, 5.0)) for column in range(3, 18)]
"""Something two patches high and three wide that goes from left to right."""


def the_thing(*boxes: tuple[int, int, int, int, float]) -> Thing:
    (thing,) = things_of(a_map(*boxes), HALF)
    return thing


def covered(spreads_RS: Float64, *said: Exemplar, camera_id: str = "cam1") -> list[bool]:
    taught = Taught.of(said, camera_id, WIDE)
    return [taught is not None and taught.covers(thing) for thing in things_of(spreads_RS, HALF)]


def test_the_grid_of_traces_is_that_of_maps() -> None:
    assert (PATCH_STEP, PLACE_CELLS) == (MAP_STEP, PATCH_CELLS)
    for rows, columns in ((4, 4), (4, 8), (15, 22), (32, 48)):
        assert np.zeros((rows - 3, columns - 3))[::MAP_STEP, ::MAP_STEP].shape == trace_shape(Grid(rows, columns))


@given(st.floats(0, 200))
def test_levels_say_spreads_the_better_the_fewer_they_are(spreads: float) -> None:
    (back,) = spreads_at(levels_of(np.array([spreads])))
    assert back == pytest.approx(spreads, rel=0.2, abs=0.05)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
@settings(max_examples=50, deadline=None)
def test_things_are_what_is_connected(seed: int, share: float) -> None:
    spreads_RS = np.where(np.random.default_rng(seed).random((9, 13)) < share, 1.0, -1.0)
    count, labels_RS = cv2.connectedComponents((spreads_RS > 0).astype(np.uint8), connectivity=8)
    found = {thing.where_RS.tobytes() for thing in things_of(spreads_RS, HALF)}
    assert found == {(labels_RS == label).tobytes() for label in range(1, count)}


def test_a_thing_is_as_large_as_the_box_of_what_is_half_as_irregular() -> None:
    spreads_RS = a_map((4, 4, 5, 7, 0.5), (5, 5, 2, 3, 6.0), (5, 5, 1, 1, 8.0))
    (thing,) = things_of(spreads_RS, HALF)
    assert (int(thing.where_RS.sum()), thing.size, thing.is_cut) == (35, 6, False)
    assert the_thing((4, 20, 2, 3, 5.0)).is_cut


@pytest.mark.parametrize("scope", ["place", "camera", "bank"])
def test_an_event_that_was_called_normal_is_covered_frame_by_frame(scope: str) -> None:
    said = exemplar(PASSING, scope=scope)
    assert [covered(frame, said) for frame in PASSING] == [[True]] * len(PASSING)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_whatever_an_event_was_it_is_covered_when_it_comes_again(seed: int, num_frames: int) -> None:
    """Also where it grew, touched the edge, or was several things at once."""
    draw = np.random.default_rng(seed)
    frames = [draw.normal(-1, 2.5, trace_shape(WIDE)) for _ in range(num_frames)]
    said = exemplar(frames)
    assert all(all(covered(frame, said)) for frame in frames)


@given(st.integers(0, 14), st.integers(0, 22), st.floats(0.1, 50))
@settings(max_examples=60, deadline=None)
def test_nothing_that_lies_higher_than_all_that_was_seen_is_covered(row: int, column: int, more: float) -> None:
    frame = PASSING[4].copy()
    frame[row, column] = 5.0 + SLACK + SAME + more
    hit = [thing for thing in things_of(frame, HALF) if thing.where_RS[row, column]]
    for scope in ("place", "camera", "bank"):
        shown = Shown.by(exemplar(PASSING, scope=scope))
        assert not any(shown.covers(thing) for thing in hit)


def test_what_is_like_it_and_near_is_covered_what_is_elsewhere_only_at_a_wider_scope() -> None:
    near, elsewhere = a_map((8, 9, 2, 3, 5.5)), a_map((11, 9, 2, 3, 5.5))
    place, camera = exemplar(PASSING), exemplar(PASSING, scope="camera")
    assert (covered(near, place), covered(elsewhere, place)) == ([True], [False])
    assert (covered(near, camera), covered(elsewhere, camera)) == ([True], [True])


def test_what_is_larger_is_not_covered_however_slow() -> None:
    cart = a_map((5, 8, 4, 4, 3.0))
    for scope in ("place", "camera", "bank"):
        assert covered(cart, exemplar(PASSING, scope=scope)) == [False]


def test_what_the_edge_cuts_may_be_larger_than_it_looks() -> None:
    inside, cut = a_map((10, 10, 2, 3, 4.0)), a_map((10, 20, 2, 3, 4.0))
    assert covered(inside, exemplar(PASSING, scope="camera")) == [True]
    assert covered(cut, exemplar(PASSING, scope="camera")) == [False]
    assert covered(a_map((10, 22, 2, 1, 4.0)), exemplar(PASSING, scope="camera")) == [True]


def test_what_goes_on_beside_it_is_judged_by_itself() -> None:
    both = a_map((6, 8, 2, 3, 5.0), (11, 2, 3, 4, 6.0))
    assert sorted(covered(both, exemplar(PASSING))) == [False, True]


def test_an_event_of_an_older_worker_covers_what_is_like_it() -> None:
    said = exemplar(PASSING[4:5], extents=())
    assert covered(PASSING[4], said) == [True]
    assert covered(a_map((5, 6, 4, 5, 5.0)), said) == [False]


@pytest.mark.parametrize(("scope", "other"), [("place", [False]), ("camera", [False]), ("bank", [True])])
def test_another_camera_is_concerned_at_the_scope_of_the_bank_alone(scope: str, other: list[bool]) -> None:
    said = exemplar(PASSING, scope=scope)
    assert covered(PASSING[3], said, camera_id="cam1") == [True]
    assert covered(PASSING[3], said, camera_id="cam2") == other
    assert (Taught.of([said], "cam2", WIDE) is None) == (other == [False])


def test_what_was_called_real_is_never_covered() -> None:
    normal = exemplar(PASSING, scope="camera")
    real = exemplar([a_map((11, 9, 2, 3, 5.0))], "cam1:s1:90", judgement="real")
    assert covered(a_map((11, 9, 2, 3, 5.0)), normal) == [True]
    assert covered(a_map((11, 9, 2, 3, 5.0)), normal, real) == [False]
    assert covered(a_map((6, 9, 2, 3, 5.0)), normal, real) == [True], "elsewhere it was not called real"
    assert covered(a_map((11, 9, 1, 1, 2.0)), normal, real) == [True], "much smaller and slower is another thing"


@pytest.mark.parametrize(("scope", "silences"), [("place", False), ("camera", True), ("bank", True)])
def test_what_would_silence_an_event_called_real_is_found(scope: str, silences: bool) -> None:
    real = exemplar([a_map((11, 9, 2, 3, 4.0))], "cam1:s1:90", judgement="real")
    found = silenced_by(exemplar(PASSING, scope=scope), [exemplar(PASSING, "cam1:s1:70"), real])
    assert found == (real if silences else None)


def test_a_larger_or_a_faster_canary_goes_on_singing() -> None:
    larger = exemplar([a_map((5, 8, 4, 4, 3.0))], "cam1:s1:90", judgement="real")
    faster = exemplar([a_map((6, 8, 2, 3, 9.0))], "cam1:s1:91", judgement="real")
    assert silenced_by(exemplar(PASSING, scope="bank"), [larger, faster]) is None


def test_another_cameras_canary_is_silenced_by_the_scope_of_the_bank_alone() -> None:
    real = exemplar([a_map((6, 9, 2, 3, 4.0))], "cam2:s1:90", judgement="real")
    assert silenced_by(exemplar(PASSING, scope="camera"), [real]) is None
    assert silenced_by(exemplar(PASSING, scope="bank"), [real]) == real


def test_what_is_called_real_silences_nothing() -> None:
    real = exemplar(PASSING, "cam1:s1:90", judgement="real")
    assert silenced_by(exemplar(PASSING, judgement="real"), [real]) is None


def test_exemplars_come_back_as_they_were() -> None:
    said = in_order([exemplar(PASSING, f"cam{n}:s1:5", expires_at=NOW + n * MINUTE if n else None) for n in range(5)])
    assert from_bytes(to_bytes(said)) == said
    assert to_bytes(from_bytes(to_bytes(said))) == to_bytes(said)
    assert (to_bytes(()), from_bytes(b"")) == (b"", ())


@given(st.permutations(range(6)))
def test_the_order_in_which_they_were_said_does_not_show(order: list[int]) -> None:
    said = [small_exemplar(f"cam{n}:s1:5") for n in range(6)]
    assert to_bytes(in_order(said[n] for n in order)) == to_bytes(in_order(said))


def test_of_one_event_the_last_one_stays() -> None:
    first, last = small_exemplar(), small_exemplar(judgement="real")
    assert in_order([first, last]) == (last,)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda said: said[::-1],
        lambda said: [said[0], said[0]],
        lambda said: [said[0] | {"scope": "town"}],
        lambda said: [said[0] | {"judgement": "skip"}],
        lambda said: [said[0] | {"size": -1}],
        lambda said: [said[0] | {"more": 1}],
        lambda said: [{key: value for key, value in said[0].items() if key != "trace"}],
        lambda said: said[0],
        lambda said: [],
    ],
)
def test_what_was_not_written_so_is_refused(spoil: Any) -> None:
    told = json.loads(to_bytes(in_order([small_exemplar("cam1:s1:5"), small_exemplar("cam2:s1:5")])))
    content = json.dumps(spoil(told), sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(BadMessageError, match="exemplars"):
        from_bytes(content)


@given(st.binary(max_size=60))
def test_any_bytes_are_exemplars_or_an_error(content: bytes) -> None:
    try:
        assert to_bytes(from_bytes(content)) == content
    except BadMessageError as error:
        assert error.reason == "bad_payload"


def test_there_is_an_end_to_what_a_bank_holds() -> None:
    many = in_order(small_exemplar(f"cam1:s1:{n}") for n in range(MAX_EXEMPLARS + 1))
    with pytest.raises(BadMessageError, match="at most 64"):
        from_bytes(to_bytes(many))
    with pytest.raises(BadMessageError, match=f"at most {MAX_BYTES} bytes"):
        from_bytes(b"[" + b" " * MAX_BYTES + b"]")


def test_a_full_bank_of_the_usual_size_holds_them_all() -> None:
    full = in_order(
        exemplar(PASSING, f"a-camera-of-the-house:20260301T080000Z-1f2e3d:{n}") for n in range(MAX_EXEMPLARS)
    )
    assert len(to_bytes(full)) < MAX_BYTES


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"trace": None}, "must hold the trace"),
        ({"judgement": "undo"}, "must hold the trace"),
        ({"trace": HeatMap(rows=2, columns=2, values=(1, 2, 3, 4), scale="peak")}, "on the common scale"),
        ({"trace": HeatMap(rows=2, columns=2, values=(1, 2, 3), scale="common")}, "a value for each place"),
        ({"trace": HeatMap(rows=2, columns=2, values=(0, 0, 0, 0), scale="common")}, "not all 0"),
        ({"extents": (1, 2)}, "as many as the places"),
    ],
)
def test_a_verdict_that_shows_no_event_is_refused(changes: dict[str, Any], wanted: str) -> None:
    with pytest.raises(BadMessageError, match=wanted) as refused:
        exemplar_of(verdict_of(PASSING, **changes))
    assert refused.value.reason == "bad_shape"


@pytest.mark.parametrize(
    "spoil",
    [
        {"rows": 14},
        {"columns": 24},
        {"trace": "AAAA"},
        {"trace": "not base64!"},
        {"extents": base64.b64encode(bytes(7)).decode()},
    ],
)
def test_a_trace_of_other_places_is_seen_and_left_out(spoil: dict[str, Any]) -> None:
    said = exemplar(PASSING)
    assert said.flaw(WIDE) is None
    forged = Exemplar(**({name: getattr(said, name) for name in Exemplar.__slots__} | spoil))
    assert forged.flaw(WIDE)
    assert covered(PASSING[0], forged) == [False]
