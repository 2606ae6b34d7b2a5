"""Event messages: CloudEvents whose ids follow from the data alone."""

import json

import pytest

from schemas.codec import decode_message, encode_message
from schemas.messages import AnomalyEvent
from tests.unit.workers.test_tracker import RULES, run
from workers.events import Scene, event_message
from workers.tracker import Report

SCENE = Scene("cam1", "mnad-prediction", "ab" * 32, "w1")


@pytest.fixture
def reports() -> list[Report]:
    return run([0.1] * 3 + [0.9] * 20 + [0.1] * 20)[0]


def test_ids_name_camera_session_first_frame_and_number(reports: list[Report]) -> None:
    messages = [event_message(report, SCENE, RULES) for report in reports]
    assert [message.id for message in messages] == [f"cam1:s1:3:{number}" for number in range(len(messages))]
    assert {message.data.event_id for message in messages} == {"cam1:s1:3"}
    assert [message.sequence for message in messages] == sorted(message.sequence for message in messages)
    assert {(message.source, message.partitionkey) for message in messages} == {("/engram/cam1", "cam1")}


def test_ids_do_not_depend_on_who_computed_them(reports: list[Report]) -> None:
    other = Scene("cam1", "mnad-prediction", "ab" * 32, "another-worker")
    ours, theirs = (event_message(reports[0], scene, RULES) for scene in (SCENE, other))
    assert (ours.id, ours.source) == (theirs.id, theirs.source)


def test_only_the_end_has_an_end(reports: list[Report]) -> None:
    *earlier, end = [event_message(report, SCENE, RULES) for report in reports]
    assert {(message.data.ended_at, message.data.end_reason) for message in earlier} == {(None, None)}
    assert (end.data.end_reason, end.data.ended_at) == ("cleared", end.data.last_at)
    assert end.type == "dev.engram.anomaly.end.v1"


def test_each_phase_says_what_it_was_computed_with(reports: list[Report]) -> None:
    told = event_message(reports[0], SCENE, RULES).data
    assert (told.provenance.bank_version, told.provenance.memory_state) == (3, "live")
    assert (told.threshold.enter, told.threshold.exit) == (RULES.enter, RULES.exit)
    assert told.peak.anomaly_score == 0.9
    assert (told.frames.first, told.frames.last, told.frames.scored) == (3, 6, 4)


def test_it_is_a_cloud_event_in_json_and_comes_back_the_same(reports: list[Report]) -> None:
    message = event_message(reports[0], SCENE, RULES)
    plain = json.loads(encode_message(message))
    assert {"specversion", "id", "source", "type", "time", "data"} <= plain.keys()
    assert plain["time"].endswith("Z")
    assert decode_message(AnomalyEvent, encode_message(message)) == message
    assert len(encode_message(message)) < 64 * 1024
