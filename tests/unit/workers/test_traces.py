"""What an event looked like over all its frames; and frames that an operator's word keeps from teaching."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.engine import ClipResult
from inference.standard import Standards
from memory_store.bank import Bank
from memory_store.exemplar import exemplar_of
from schemas.codec import decode_message
from schemas.messages import AnomalyEvent, FrameScore, HeatMap
from schemas.verdicts import OperatorVerdict
from tests.looks import odd, remembered, results
from tests.unit.workers.arriving import START, header
from tests.unit.workers.test_assessment import BANK, BUNDLE, camera, clip
from tests.unit.workers.test_tracker import RULES, seen
from workers.assessment import Assessor
from workers.camera import CameraState, Cursor, decode_states, encode_state
from workers.options import EventOptions, WorkerOptions
from workers.output import Output
from workers.rules import CameraRules
from workers.tracker import Happening, Trace, step

EVENTS = EventOptions(enter=0.5, exit=0.4, min_duration_s=0.2, merge_gap_s=1.0)
CALIBRATION = remembered()
LEVELS = st.lists(st.integers(0, 255), min_size=4, max_size=4)


def trace(*values: int, extents: tuple[int, ...] | None = None) -> Trace:
    told = extents if extents is not None else tuple(value // 50 for value in values)
    return Trace(HeatMap(rows=1, columns=len(values), values=values, scale="common"), told)


@given(st.lists(LEVELS, min_size=1, max_size=6))
def test_a_trace_is_the_most_of_each_place_in_whatever_order(frames: list[list[int]]) -> None:
    whole = trace(*frames[0])
    for values in frames[1:]:
        whole = whole.with_(trace(*values))
    backwards = trace(*frames[-1])
    for values in frames[-2::-1]:
        backwards = backwards.with_(trace(*values))
    assert whole == backwards == trace(*(max(column) for column in zip(*frames, strict=True)))


def test_of_another_shape_the_newer_stays() -> None:
    assert trace(1, 2).with_(trace(1, 2, 3)) == trace(1, 2, 3)
    assert trace(1, 2, extents=()).with_(trace(3, 0)) == trace(3, 0)


def run(scores: list[float], traces: list[Trace | None]) -> Happening:
    state: Happening | None = None
    for index, (score, told) in enumerate(zip(scores, traces, strict=True)):
        state = step(state, replace(seen(index, score), trace=told), RULES).state
    assert state is not None
    return state


def test_an_event_gathers_its_anomalous_frames_and_no_calm_ones() -> None:
    shown: list[Trace | None] = [trace(9, 0), trace(0, 8), trace(1, 1), trace(1, 1), trace(255, 255), trace(10, 1)]
    told = run([0.7, 0.9, 0.7, 0.7, 0.1, 0.7], shown)
    assert told.trace == trace(10, 8)


def test_an_event_that_an_older_worker_began_goes_on_without() -> None:
    assert run([0.7, 0.9], [None, trace(9, 9)]).trace is None


def test_the_trace_is_handed_on_with_the_event() -> None:
    happening = run([0.7, 0.9], [trace(9, 0), trace(0, 8)])
    state = CameraState(Cursor("s1", 1, 10.0, (), START, START), happening=happening, offset=1)
    read, bad = decode_states({"cam1": encode_state(state)}, 2, seen(9, 0.1).captured_at)
    assert not bad
    assert read["cam1"].happening == happening


def judged(video: list[ClipResult], said: tuple[OperatorVerdict, ...] = ()) -> tuple[list[AnomalyEvent], list[bool]]:
    """Events, and which frames were proposed."""
    bundle = replace(BUNDLE, calibration=CALIBRATION)
    judge = Assessor(
        WorkerOptions("w1", events=EVENTS, learn_s=1.0),
        bundle,
        Standards(CALIBRATION),
        CameraRules(EVENTS, {}),
        lambda: START,
    )
    exemplars = tuple(exemplar_of(verdict) for verdict in said)
    taught = Bank("lobby", 1, "e1", "bb" * 32, np.zeros((0, 0), np.float32), START, exemplars=exemplars)
    of, output = camera(), Output()
    for index, result in enumerate(video):
        judge.assess(clip(of, header(index)), result, BANK, output, taught)
    topics = {
        record.topic: [each for each in output.records if each.topic == record.topic] for record in output.records
    }
    events = [decode_message(AnomalyEvent, record.value) for record in topics.get("anomaly-events", [])]
    scores = [decode_message(FrameScore, record.value) for record in topics["frame-scores"]]
    return events, [score.proposed for score in scores]


@pytest.fixture(scope="module")
def video() -> list[ClipResult]:
    """Calm, then somebody too fast in the corner, then calm."""
    calm = results(40, 8)
    return [odd(each, speed=6.0) if 15 <= index < 27 else each for index, each in enumerate(calm)]


def test_what_an_event_tells_covers_it_and_its_frames_do_not_teach(video: list[ClipResult]) -> None:
    events, _ = judged(video)
    data = events[-1].data
    assert data.trace is not None
    assert len(data.extents) == len(data.trace.values) == data.trace.rows * data.trace.columns
    assert all(now <= most for now, most in zip(data.heat_map.values, data.trace.values, strict=True))
    assert np.count_nonzero(data.extents) >= np.count_nonzero(data.trace.values) > 0
    verdict = OperatorVerdict(
        verdict_id="v1",
        event_id=data.event_id,
        camera_id=data.camera_id,
        bank_id="shared",
        bundle_digest=BUNDLE.digest,
        judgement="normal",
        operator="ann",
        given_at=START,
        trace=data.trace,
        extents=data.extents,
        regions=data.regions[:1],
    )
    after, proposed = judged(video, (verdict,))
    assert after == []
    assert not any(proposed[16:27]), "what was covered does not teach"
    assert all(proposed[:15]) and all(proposed[28:])
