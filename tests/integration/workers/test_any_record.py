"""Whatever is put on a worker's topics becomes a score, a warming, a skip or a dead letter, and the worker lives."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory_store.stores.sqlite import SqliteStore
from messaging.inprocess.bus import InProcessBus
from messaging.ports import OutRecord
from schemas.codec import HEADER, encode_header
from schemas.messages import EARLIEST, LATEST
from schemas.topics import TopicNames
from tests.integration.workers.conftest import Site, at_work, frame_record, header, wait_for
from tests.small_bundle import jpeg, small_bundle

LAST_MOMENT = LATEST - timedelta(microseconds=1)
IDS = st.sampled_from(["a", "b", "s1", "s2", "../..", "", "x" * 65, "é"])
NUMBERS = st.one_of(
    st.integers(-2, 12), st.sampled_from([2**53, 2**63, 10**400, 1e308, 1e-308, 5e-324, -1.0, 0.0, 1000, 1001])
)
TIMES = st.sampled_from(
    [
        "1970-01-01T00:00:00Z",
        "2199-12-31T23:59:59.999999Z",
        "2200-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-01-05T10:00:00Z",
        "2026-01-05T10:00:01Z",
        "2026-01-05T10:00:00",
        0,
        1e300,
    ]
)
JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
DEEP = b"[" * 1100 + b"]" * 1100
FIELDS = {
    "schema_version": st.sampled_from([1, 2, "1", None]),
    "kind": st.sampled_from(["frame", "end_of_session", "other"]),
    "camera_id": IDS,
    "session_id": IDS,
    "frame_index": NUMBERS,
    "captured_at": TIMES,
    "clock": st.sampled_from(["ntp", "camera", "arrival", "media"]),
    "width": NUMBERS,
    "height": NUMBERS,
    "fps": NUMBERS,
}


@st.composite
def near_headers(draw: st.DrawFn) -> bytes:
    """A sound header of which a few fields are something else: most are bad in one way, some are good."""
    told = json.loads(encode_header(header("a", draw(st.integers(0, 12)), "s1"))[0][1])
    for name in draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=3)):
        told[name] = draw(FIELDS[name] | JUNK) if draw(st.integers(0, 3)) == 0 else draw(FIELDS[name])
    return json.dumps(told).encode()


HEADERS = st.one_of(near_headers(), st.just(DEEP), st.binary(max_size=40), JUNK.map(lambda it: json.dumps(it).encode()))
GOOD = jpeg("a", 3)
VALUES = st.one_of(
    st.sampled_from([GOOD, GOOD[:-40], GOOD[:200], b"", b"\xff\xd8\xff", b"GIF89a", b"\xff\xd8" + b"\xff" * 500]),
    st.binary(max_size=60),
    st.tuples(st.integers(20, len(GOOD) - 1), st.integers(0, 255)).map(
        lambda change: GOOD[: change[0]] + bytes([change[1]]) + GOOD[change[0] + 1 :]
    ),
)


@st.composite
def frame_records(draw: st.DrawFn) -> OutRecord:
    name = draw(st.sampled_from([HEADER, HEADER, HEADER, "other", "é" * 40]))
    key = draw(st.sampled_from(["a", "a", "a", "b", "", "x" * 150_000]))
    more = ((name, draw(st.binary(max_size=5))),) if draw(st.booleans()) else ()
    return OutRecord("frames", key, draw(VALUES), ((name, draw(HEADERS)), *more))


@st.composite
def states(draw: st.DrawFn) -> OutRecord:
    cursor = {
        "session_id": draw(IDS),
        "last_frame": draw(NUMBERS),
        "fps": draw(NUMBERS),
        "closed_sessions": draw(st.lists(IDS, max_size=12)),
        "last_at": draw(TIMES | st.none()),
        "began_at": draw(TIMES | st.none()),
    }
    level = {"level": draw(NUMBERS | st.sampled_from(["NaN", "Infinity"]))}
    told: Any = {"schema_version": 1, "cursor": cursor, "smoothing": draw(st.none() | st.just(level))}
    told["offset"] = draw(st.none() | NUMBERS)
    text = json.dumps(draw(st.just(told) | JUNK)).encode()
    value = draw(st.one_of(st.just(text), st.just(DEEP), st.binary(max_size=40)))
    return OutRecord("camera-states", draw(st.sampled_from(["a", "b", "é", "x" * 300])), value)


def site_of(store: SqliteStore) -> Site:
    return Site(InProcessBus(), store, small_bundle(), TopicNames.with_prefix(""))


@pytest.mark.parametrize("max_staleness_s", [None, 1e300])
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(odd=st.lists(frame_records(), min_size=1, max_size=12), forged=st.lists(states(), max_size=3))
def test_every_record_is_accounted_for_and_the_worker_lives(
    store: SqliteStore, max_staleness_s: float | None, odd: list[OutRecord], forged: list[OutRecord]
) -> None:
    site = site_of(store)
    topics = site.topics
    known = {"frames": topics.frames, "camera-states": topics.camera_states}
    site.publish(*(replace(each, topic=known[each.topic]) for each in forged + odd))
    site.frames("z", range(8))
    with at_work(worker := site.worker(max_staleness_s=max_staleness_s, camera_timeout_s=0.2)):
        wait_for(lambda: [worker.snapshot().tally], lambda found: found[0].received >= len(odd) + 8)
    tally = worker.snapshot().tally
    scores, letters = site.scores(), site.records(topics.dead_letters)
    site.bus.close()
    assert tally.received == len(odd) + 8
    assert tally.balances()
    assert len([score for score in scores if score.camera_id == "z"]) == 8
    assert len(scores) == tally.scored + tally.warming
    assert len(letters) == tally.dead_lettered.total()


@pytest.mark.parametrize("fps", [5e-324, 1e-300, 1e-14, 1000.0])
def test_no_rate_is_too_odd(store: SqliteStore, fps: float) -> None:
    site = site_of(store)
    for index in range(6):
        told = header("a", index, "s1").model_copy(update={"fps": fps})
        site.publish(replace(frame_record(site.topics.frames, "a", index), headers=encode_header(told)))
    with at_work(worker := site.worker()):
        site.wait_for_scores(6)
    assert worker.snapshot().tally.balances()


@pytest.mark.parametrize("at", [[EARLIEST, LAST_MOMENT], [LAST_MOMENT, EARLIEST]])
def test_no_time_is_too_far_away(store: SqliteStore, at: list[datetime]) -> None:
    site = site_of(store)
    for index in range(100):
        told = header("a", index, "s1")
        told = told if index < 85 else told.model_copy(update={"captured_at": at[index % 2]})
        site.publish(replace(frame_record(site.topics.frames, "a", index), headers=encode_header(told)))
    with at_work(worker := site.worker(max_staleness_s=1e10)):
        site.wait_for_scores(100)
    assert worker.snapshot().tally.balances()
    for event in site.events():
        assert event.data.last_at >= event.data.started_at
        assert event.data.ended_at is None or event.data.ended_at >= event.data.started_at
