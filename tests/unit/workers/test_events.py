"""Event messages: CloudEvents whose ids follow from the data alone."""

import json
from dataclasses import replace

import pytest

from inference.rarity import Rate
from schemas.codec import decode_message, encode_message
from schemas.messages import AnomalyEvent, EndReason, EventData, EventPhase, FrameGap, Region, Thumbnail
from tests.unit.workers.test_tracker import BANK, RULES, run
from workers.events import Scene, event_message
from workers.severity import rarity_of
from workers.tracker import Happening, Report

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


def test_a_trace_is_an_attribute_of_the_envelope_where_there_is_one(reports: list[Report]) -> None:
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    happening = replace(reports[0].happening, traceparent=traceparent)
    with_one = event_message(replace(reports[0], happening=happening), SCENE, RULES)
    without = event_message(reports[0], SCENE, RULES)
    assert json.loads(encode_message(with_one)) == json.loads(encode_message(without)) | {"traceparent": traceparent}


def test_it_is_a_cloud_event_in_json_and_comes_back_the_same(reports: list[Report]) -> None:
    message = event_message(reports[0], SCENE, RULES)
    plain = json.loads(encode_message(message))
    assert {"specversion", "id", "source", "type", "time", "data"} <= plain.keys()
    assert plain["time"].endswith("Z")
    assert decode_message(AnomalyEvent, encode_message(message)) == message
    assert len(encode_message(message)) < 64 * 1024


def told(happening: Happening, phase: EventPhase = "update", shows_peak: bool = True) -> EventData:
    reason: EndReason | None = "cleared" if phase == "end" else None
    return event_message(Report(phase, happening, happening.last_at, reason, shows_peak), SCENE, RULES).data


def test_frames_without_a_score_are_counted_and_the_gaps_within_the_event_named(reports: list[Report]) -> None:
    gaps = (FrameGap(first=10, last=11), FrameGap(first=14, last=16), FrameGap(first=40, last=49))
    happening = replace(reports[0].happening, first_frame=3, last_frame=30, num_scored=23, gaps=gaps)
    data = told(happening)
    assert (data.frames.scored, data.frames.missing) == (23, 5)
    assert data.gaps == gaps[:2], "what is missing behind the last anomalous frame is not of the event"


def test_the_picture_is_left_out_of_an_update_of_the_same_peak(reports: list[Report]) -> None:
    picture = Thumbnail(width=4, height=3, jpeg_base64="AAAA")
    happening = replace(reports[0].happening, thumbnail=picture)
    assert told(happening).thumbnail == picture
    assert told(happening, shows_peak=False).thumbnail is None


def test_an_event_is_as_severe_as_its_peak_is_rare(reports: list[Report]) -> None:
    rarity = rarity_of(Rate(1e-9, 1e-3), 1.0)
    peak = reports[0].happening.peak.model_copy(update={"rarity": rarity})
    data = told(replace(reports[0].happening, peak=peak, clock="ntp", stretches=2))
    assert (data.severity, data.peak.rarity, data.clock, data.stretches) == ("critical", rarity, "ntp", 2)
    assert told(reports[0].happening).severity is None, "of a state by an older Engram nobody knows"


def test_an_event_says_in_which_zones_it_is_and_a_camera_may_say_how_much_it_matters(reports: list[Report]) -> None:
    boxes = (Region(box=(0.1, 0.1, 0.2, 0.2), score=0.9), Region(box=(0.7, 0.7, 0.2, 0.2), score=0.5))
    happening = replace(reports[0].happening, regions=boxes)
    left = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
    scene = replace(SCENE, zones={"left": left}, severity="info")
    data = event_message(Report("update", happening, happening.last_at, None, True), scene, RULES).data
    assert [region.zones for region in data.regions] == [("left",), ()]
    assert data.severity == "info"
    assert [region.zones for region in told(happening).regions] == [(), ()]


def test_an_event_that_a_newer_worker_began_is_told_in_its_words(reports: list[Report]) -> None:
    bank = replace(BANK, memory_state="rebuilding")  # type: ignore[arg-type]
    data = told(replace(reports[0].happening, bank=bank, clock="ptp"), "end")
    assert (data.provenance.memory_state, data.clock) == ("rebuilding", "ptp")
