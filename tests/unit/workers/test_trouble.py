"""A camera that is not as its memory knows it: said, held from learning, and one event in place of a storm."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from bundles.calibration import Calibration
from engram.cli.event_lines import event_line
from inference.engine import ClipResult
from inference.standard import Standards
from inference.steadiness import Change
from schemas.codec import decode_message
from schemas.messages import AnomalyEvent, FrameScore
from tests.looks import R, S, odd, remembered, results
from tests.small_bundle import small_bundle
from tests.unit.workers.arriving import START, delivery, header
from tests.unit.workers.test_learning import BANK, camera, events, of_topic, play, proposals
from workers import trouble
from workers.assessment import Assessor
from workers.camera import Camera, decode_states, encode_state
from workers.options import EventOptions, WorkerOptions
from workers.output import Output
from workers.partition import SessionEnd, Warming
from workers.rules import CameraRules

PICTURE = np.random.default_rng(1).normal(0.0, 30.0, (R // 4, S // 4)).astype(np.float32)
TOLD = round(10 * trouble.RULES.min_duration_s)
OVER = round(10 * trouble.RULES.merge_gap_s)


@pytest.fixture(scope="module")
def judge() -> Assessor:
    events_wanted = EventOptions(min_duration_s=0.2, merge_gap_s=1.0)
    options = WorkerOptions("w1", events=events_wanted, proposal_interval_s=1.0, learn_s=0.0)
    calibration: Calibration = remembered()
    bundle = replace(small_bundle(), calibration=calibration)
    return Assessor(options, bundle, Standards(calibration), CameraRules(events_wanted, {}), lambda: START)


def calm(count: int, seed: int = 7) -> list[ClipResult]:
    return results(count, seed=seed)


def elsewhere(count: int, seed: int = 8) -> list[ClipResult]:
    """Another place, where things are fast and badly foreseen: to this memory all of it is an anomaly."""
    shown = [odd(each, speed=30.0, error=50.0) for each in results(count, seed=seed)]
    return [replace(each, place_grey_PQ=each.place_grey_PQ + PICTURE) for each in shown]


def noisy(count: int) -> list[ClipResult]:
    return [replace(each, cell_errors_RS=each.cell_errors_RS * 30) for each in results(count, seed=9)]


def shaken(count: int) -> list[ClipResult]:
    return [replace(each, change=Change(1.0, -1.0, 0.0)) for each in results(count, seed=10)]


def told(output: Output) -> list[tuple[str, str | None]]:
    """Type of each event message without its prefix, and the trouble it names."""
    return [(each.type.removeprefix("dev.engram.").removesuffix(".v1"), each.data.trouble) for each in events(output)]


def states(output: Output) -> list[str | None]:
    return [decode_message(FrameScore, value).recognition for value in of_topic(output, "frame-scores")]


def journey(judge: Assessor, of: Camera, parts: Sequence[Sequence[ClipResult]]) -> list[Output]:
    outputs, first = [], 0
    for part in parts:
        outputs.append(play(judge, of, part, None, first=first))
        first += len(part)
    return outputs


def test_what_happens_at_a_known_camera_is_an_event_of_its_own(judge: Assessor) -> None:
    wild = [odd(each, speed=30.0, error=50.0, grey=80.0) for each in results(20, seed=9)]
    before, during = journey(judge, camera(), [calm(20), wild])
    assert set(states(before) + states(during)) == {"known"}
    assert told(during)[:1] == [("anomaly.start", None)]


def test_a_camera_that_was_turned_is_one_event_and_teaches_nothing(judge: Assessor, caplog) -> None:
    of = camera()
    with caplog.at_level(logging.INFO, logger="workers.trouble"):
        before, during, after = journey(judge, of, [calm(20), elsewhere(220), calm(OVER + 120)])
    assert told(before) == []
    assert told(during) == [("trouble.start", "picture")]
    assert told(after) == [("trouble.end", "picture")]
    assert states(during)[-1] == "differs"
    assert states(after)[-1] == "known"
    assert not proposals(during)
    assert proposals(after)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "camera cam1: differs, it shows another picture" in caplog.text
    (end,) = events(after)
    assert end.data.event_id == f"cam1:s1:{end.data.frames.first}:trouble"
    assert end.data.end_reason == "cleared"
    assert 20 <= end.data.frames.first <= 100
    assert end.data.frames.last >= 240
    assert "end    trouble (picture) frames" in event_line(end)


def test_the_wrong_camera_from_the_start_is_said_within_a_second(judge: Assessor) -> None:
    (output,) = journey(judge, camera(), [elsewhere(TOLD + 20)])
    assert set(states(output)[10:]) == {"differs"}
    assert told(output) == [("trouble.start", "picture")]
    assert events(output)[0].data.frames.last <= TOLD + 10


def test_noise_all_over_is_a_disturbance_and_no_anomaly(judge: Assessor) -> None:
    of = camera()
    _, during = journey(judge, of, [calm(20), noisy(150)])
    assert told(during) == [("trouble.start", "error")]
    assert states(during)[-1] == "disturbed"
    assert not proposals(during)[5:]


def test_a_shake_is_told_and_what_happens_meanwhile_as_well(judge: Assessor) -> None:
    wild = [odd(each, speed=30.0, error=50.0) for each in shaken(30)]
    _, during, meanwhile = journey(judge, camera(), [calm(20), shaken(130), wild])
    assert told(during) == [("trouble.start", "shift")]
    assert told(meanwhile)[:1] == [("anomaly.start", None)]


def test_a_moment_of_it_is_no_event(judge: Assessor) -> None:
    outputs = journey(judge, camera(), [calm(20), elsewhere(5), calm(50)])
    assert [told(output) for output in outputs] == [[], [], []]


def test_an_event_that_is_open_ends_when_the_camera_is_lost(judge: Assessor) -> None:
    wild = [odd(each, speed=30.0, error=50.0) for each in results(20, seed=9)]
    _, during, after = journey(judge, camera(), [calm(20), wild, [*elsewhere(80), *calm(20)]])
    assert told(during)[0] == ("anomaly.start", None)
    assert told(after)[-1] == ("anomaly.end", None)
    assert events(after)[-1].data.end_reason == "camera_lost"
    assert sum(kind == "anomaly.start" for kind, _ in told(after)) == 0


def test_the_trouble_ends_with_its_session_and_the_next_begins_anew(judge: Assessor) -> None:
    of = camera()
    (output,) = journey(judge, of, [elsewhere(TOLD + 20)])
    last = header(TOLD + 20, kind="end_of_session")
    judge.assess(SessionEnd(delivery(TOLD + 20, last), of, last), None, None, output)
    assert told(output) == [("trouble.start", "picture"), ("trouble.end", "picture")]
    assert events(output)[-1].data.end_reason == "session_ended"
    assert (of.trouble, of.recognition) == (None, None)


def test_a_pause_ends_it_and_what_comes_after_tells_anew(judge: Assessor) -> None:
    of = camera()
    (output,) = journey(judge, of, [elsewhere(TOLD + 20)])
    late = header(TOLD + 20, pause_s=60.0)
    judge.assess(Warming(delivery(TOLD + 20, late), of, late), None, BANK, output)
    assert told(output)[-1] == ("trouble.end", "picture")
    assert states(output)[-1] == "differs"


def test_the_next_owner_goes_on_with_the_same_event(judge: Assessor) -> None:
    of = camera()
    (first,) = journey(judge, of, [elsewhere(TOLD + 20)])
    of.cursor = None
    kept = replace(_state(of), offset=None)
    restored, refused = decode_states({"cam1": encode_state(kept)}, 10**6, START + timedelta(hours=1))
    assert not refused
    other = camera()
    other.recognition, other.trouble = restored["cam1"].recognition, restored["cam1"].trouble
    assert other.recognition == of.recognition
    assert other.trouble == of.trouble
    more = play(judge, other, elsewhere(50), None, first=TOLD + 20)
    assert told(first) + told(more) == [("trouble.start", "picture")]


def _state(of: Camera):
    from workers.camera import CameraState, Cursor

    return CameraState(Cursor("s1", 1, 10.0), recognition=of.recognition, trouble=of.trouble)


def test_while_the_bank_learns_nothing_is_said_of_the_camera(judge: Assessor) -> None:
    learning = replace(judge, options=replace(judge.options, learn_s=1e6))
    output = play(learning, camera(), elsewhere(TOLD + 20), None)
    assert set(states(output)) == {"learning"}
    assert told(output) == []
    assert proposals(output)


def test_a_message_names_its_trouble_only_where_it_is_one(judge: Assessor) -> None:
    (output,) = journey(judge, camera(), [elsewhere(TOLD + 20)])
    (start,) = events(output)
    again = decode_message(AnomalyEvent, start.model_dump_json().encode())
    assert (again.type, again.data.trouble) == ("dev.engram.trouble.start.v1", "picture")
    assert output.tally.events == {"trouble start": 1}
    assert start.data.threshold.enter == trouble.ENTER
    assert start.data.current_score >= trouble.ENTER
