"""The second half of a frame's way, with plain values: what is scored, told, proposed, buried and counted."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from inference.engine import ClipResult
from inference.formats import ClipFormat
from inference.recognition import Recognition
from inference.standard import ByLine, Standards
from memory_store.proposal import ItemSums
from messaging.ports import OutRecord
from schemas.codec import HEADER, decode_message
from schemas.errors import BadMessageError
from schemas.messages import AnomalyEvent, FrameHeader, FrameScore, ProposalHeader
from tests.small_bundle import jpeg, small_bundle
from tests.unit.workers.arriving import START, delivery, header
from workers.assessment import Assessor, Finding
from workers.camera import Camera
from workers.options import EventOptions, WorkerOptions
from workers.output import Output
from workers.partition import Clip, Dead, SessionEnd, Skipped, Warming
from workers.rules import CameraRules
from workers.tracker import BankRef
from workers.windows import Window

BUNDLE = small_bundle()
BANK = BankRef("shared", 3, "ab" * 32, "live")
CALM, WILD = 1e-9, 50.0
VIEWS = ["frozen", "dark", "covered", "blurred", "moved"]


def assessor(threshold: float = 1.0, **changes: object) -> Assessor:
    calibration = BUNDLE.calibration.model_copy(update={"gate_threshold": threshold, "speed_scale": None})
    bundle = replace(BUNDLE, calibration=calibration)
    events = EventOptions(enter=0.5, exit=0.4, min_duration_s=0.2, merge_gap_s=1.0)
    options = replace(WorkerOptions("w1", events=events, proposal_interval_s=1.0), **changes)  # type: ignore[arg-type]
    return Assessor(options, bundle, Standards(calibration), CameraRules(events, {}), lambda: START)


def result(regular_score: float = 0.5, error: float = CALM, finite: bool = True) -> ClipResult:
    shape = BUNDLE.items_MC.shape
    sums = ItemSums(np.ones(shape[0], np.float32), np.ones(shape, np.float32), np.ones(shape[0], np.float32))
    cells = np.full((6, 8), error, np.float32)
    return ClipResult(
        30.0, regular_score, 0.1, 0.1, cells, np.zeros_like(cells), np.zeros((1, 2), np.float32), sums, finite
    )


def camera() -> Camera:
    return Camera("cam1", Window(ClipFormat(1)))


def clip(of: Camera, told: FrameHeader, continues: bool = True) -> Clip:
    return Clip(delivery(told.frame_index, told), of, told, np.zeros((1, 3, 4, 1), np.uint8), continues)


def play(
    judge: Assessor, of: Camera, results: Sequence[tuple[FrameHeader, ClipResult]], bank: BankRef = BANK
) -> Output:
    output = Output()
    for told, measured in results:
        judge.assess(clip(of, told), measured, bank, output)
    return output


def of_topic(output: Output, topic: str) -> list[OutRecord]:
    return [record for record in output.records if record.topic == topic]


def events(output: Output) -> list[AnomalyEvent]:
    return [decode_message(AnomalyEvent, record.value) for record in of_topic(output, "anomaly-events")]


def scores(output: Output) -> list[FrameScore]:
    return [decode_message(FrameScore, record.value) for record in of_topic(output, "frame-scores")]


def proposed(output: Output) -> list[bool]:
    return [score.proposed for score in scores(output)]


@pytest.mark.parametrize(
    ("regular_score", "threshold", "passes"),
    [
        (0.5, 0.6, True),
        (0.6, 0.6, False),
        (0.7, 0.6, False),
        (0.0, 0.0, False),
        (0.5, 0.0, False),
        (float("nan"), 0.6, False),
        (0.5, float("nan"), False),
    ],
)
def test_the_gate_lets_pass_what_is_below_its_threshold_only(
    regular_score: float, threshold: float, passes: bool
) -> None:
    of = camera()
    calibration = BUNDLE.calibration.model_copy(update={"gate_threshold": threshold, "speed_scale": None})
    judge = replace(assessor(), bundle=replace(BUNDLE, calibration=calibration))
    found = Finding(header(0), result(regular_score), BANK, ByLine(calibration), 60.0, None, None, None)
    untaught = judge._untaught(of, found, found.standard.look(result()))
    assert untaught == (None if passes else "gate")


def test_normal_frames_teach_and_the_score_says_so() -> None:
    of = camera()
    output = play(assessor(), of, [(header(index), result()) for index in range(12)])
    assert proposed(output) == [True] * 12
    (record,) = of_topic(output, "memory-updates")
    told = decode_message(ProposalHeader, dict(record.headers)[HEADER])
    assert (told.first_frame, told.last_frame, told.num_frames) == (0, 10, 11)
    assert output.tally.proposals == {"published": 1}


@pytest.mark.parametrize("state", ["frozen", "stale", "none"])
def test_nothing_is_taught_to_a_bank_that_is_not_ours_to_teach(state: str) -> None:
    output = play(assessor(), camera(), [(header(0), result())], replace(BANK, memory_state=state))  # type: ignore[arg-type]
    assert proposed(output) == [False]


def test_updates_can_be_switched_off() -> None:
    assert proposed(play(assessor(updates=False), camera(), [(header(0), result())])) == [False]


@pytest.mark.parametrize("view", [*VIEWS, "smeared"])
def test_a_view_that_is_not_clear_teaches_nothing_and_is_counted(view: str) -> None:
    """Also one that a later producer knows of."""
    of = camera()
    shown = [None] * 5 + [view] * 10 + ["clear"] * 12
    told = [header(index).model_copy(update={"view": each}) for index, each in enumerate(shown)]
    output = play(assessor(), of, [(each, result()) for each in told])
    assert proposed(output) == [each in (None, "clear") for each in shown]
    assert output.tally.untaught == {f"view_{view}": 10}
    assert output.tally.proposals == {"withdrawn": 1, "published": 1}, "what came right before may hold some of it"
    (record,) = of_topic(output, "memory-updates")
    taught = decode_message(ProposalHeader, dict(record.headers)[HEADER])
    assert (taught.first_frame, taught.last_frame, taught.num_frames) == (15, 25, 11)


def test_why_a_frame_taught_nothing_is_counted() -> None:
    frames = [(header(index), result(error=WILD if index >= 5 else CALM)) for index in range(12)]
    output = play(assessor(), camera(), frames)
    assert output.tally.untaught == {"event": proposed(output).count(False)} != {"event": 0}
    assert play(assessor(threshold=0.1), camera(), frames[:5]).tally.untaught == {"gate": 5}
    assert play(assessor(updates=False), camera(), frames[:5]).tally.untaught == {"frozen_memory": 5}
    other = Camera("cam1", Window(ClipFormat(1)), recognition=Recognition("differs", quick=2.0))
    assert play(assessor(), other, frames[:5]).tally.untaught == {"differs": 5}


def test_an_event_withdraws_the_second_before_it() -> None:
    of = camera()
    frames = [(header(index), result(error=WILD if index >= 5 else CALM)) for index in range(12)]
    output = play(assessor(), of, frames)
    assert output.tally.proposals["withdrawn"] == 1
    assert not of_topic(output, "memory-updates")
    assert events(output)[0].data.phase == "start"


def test_an_event_ends_at_silence_and_its_end_is_not_before_its_start() -> None:
    for pause_s in (60.0, -60.0):
        of, judge = camera(), assessor()
        output = play(judge, of, [(header(index), result(error=WILD)) for index in range(8)])
        judge.assess(clip(of, header(8, pause_s=pause_s), continues=False), result(), BANK, output)
        last = events(output)[-1].data
        assert (last.phase, last.end_reason) == ("end", "camera_lost")
        assert last.ended_at is not None
        assert last.ended_at >= last.started_at
        assert last.ended_at - last.started_at < timedelta(seconds=1)


def test_smoothing_does_not_reach_over_a_break() -> None:
    judge, wild, fresh = assessor(), camera(), camera()
    play(judge, wild, [(header(index), result(error=WILD)) for index in range(3)])
    outputs = Output(), Output()
    judge.assess(clip(wild, header(9), continues=False), result(), BANK, outputs[0])
    judge.assess(clip(fresh, header(9), continues=False), result(), BANK, outputs[1])
    assert scores(outputs[0])[0].anomaly_score == scores(outputs[1])[0].anomaly_score


def test_a_warming_frame_ends_smoothing_and_publishes_the_draft() -> None:
    of, judge = camera(), assessor()
    output = play(judge, of, [(header(0), result())])
    judge.assess(Warming(delivery(5, header(5)), of, header(5)), None, BANK, output)
    assert of.smoothing is None
    assert of.draft is None
    assert len(of_topic(output, "memory-updates")) == 1
    assert [score.status for score in scores(output)] == ["scored", "warming"]


def test_the_end_of_a_session_ends_its_event_and_publishes_its_draft() -> None:
    of, judge = camera(), assessor()
    output = play(judge, of, [(header(index), result(error=WILD)) for index in range(5)])
    end = header(5, kind="end_of_session")
    judge.assess(SessionEnd(delivery(5, end), of, end), None, None, output)
    assert events(output)[-1].data.end_reason == "session_ended"
    assert of.happening is None
    assert output.tally.session_ends == 1


def test_a_new_session_ends_the_event_of_the_one_before() -> None:
    of, judge = camera(), assessor()
    output = play(judge, of, [(header(index), result(error=WILD)) for index in range(5)])
    judge.assess(clip(of, header(0, session="s2", pause_s=0.6), continues=False), result(), BANK, output)
    assert events(output)[-1].data.end_reason == "session_ended"


def test_numbers_that_are_none_are_buried() -> None:
    output = play(assessor(), camera(), [(header(0), result(finite=False))])
    (letter,) = of_topic(output, "dead-letters")
    assert dict(letter.headers)["engram-reason"] == b"not_finite"
    assert output.tally.dead_lettered == {"not_finite": 1}


def test_every_record_is_counted_once_for_the_worker_and_for_its_camera() -> None:
    of, judge, output = camera(), assessor(), Output()
    error = BadMessageError("undecodable", "no")
    judge.assess(clip(of, header(0)), result(), BANK, output)
    judge.assess(Skipped(delivery(1, header(0)), of, header(0), "duplicate"), None, None, output)
    judge.assess(Dead(delivery(2, header(2)), of, error), None, None, output)
    judge.assess(Dead(delivery(3, header(3)), None, error), None, None, output)
    assert output.tally.received == 4
    assert output.tally.balances()
    assert (of.counts.received, of.counts.scored, of.counts.skipped["duplicate"]) == (3, 1, 1)
    assert of.counts.balances()
    assert {camera_id for _, camera_id in output.dirty} == {"cam1"}


def test_what_is_replayed_leaves_no_trace() -> None:
    of, output = camera(), Output()
    assessor().assess(Skipped(delivery(0, header(0), replay=True), of, header(0), "replayed"), None, None, output)
    assert output.is_empty()
    assert of.counts.received == 0


def test_what_may_become_an_event_withdraws_the_draft_before_anybody_is_told() -> None:
    of, judge = camera(), assessor()
    output = play(judge, of, [(header(0), result()), (header(1), result())])
    index = 1
    while of.happening is None:  # the score is smoothed, so it takes a frame or two
        index += 1
        assert of.draft is not None
        judge.assess(clip(of, header(index)), result(error=WILD), BANK, output)
    assert not of.happening.is_open
    assert (of.draft, output.tally.proposals, events(output)) == (None, {"withdrawn": 1}, [])
    assert proposed(output) == [True] * index + [False]
    again = play(judge, of, [(header(index + 1), result(error=WILD))])
    assert again.tally.proposals == {}, "what is not there cannot be withdrawn"


def drafts(output: Output) -> list[tuple[int, int, int, int]]:
    """First frame, last frame, frames and base version of each proposal."""
    told = [decode_message(ProposalHeader, dict(r.headers)[HEADER]) for r in of_topic(output, "memory-updates")]
    return [(each.first_frame, each.last_frame, each.num_frames, each.base_version) for each in told]


def test_a_new_version_of_the_bank_closes_the_draft_on_the_old_one() -> None:
    of, judge, output = camera(), assessor(), Output()
    newer = replace(BANK, version=4, digest="cd" * 32)
    for index in range(4):
        judge.assess(clip(of, header(index)), result(), BANK if index < 3 else newer, output)
    judge.flush_draft(of, output)
    judge.flush_draft(of, output)
    assert drafts(output) == [(0, 2, 3, 3), (3, 3, 1, 4)]
    assert output.tally.proposals == {"published": 2}


def test_a_frame_that_does_not_pass_leaves_the_draft_and_is_not_in_it() -> None:
    of, judge = camera(), assessor(threshold=0.6)
    output = play(judge, of, [(header(index), result(0.7 if index == 1 else 0.5)) for index in range(3)])
    judge.flush_draft(of, output)
    assert drafts(output) == [(0, 2, 2, 3)]
    assert proposed(output) == [True, False, True]


def test_a_draft_does_not_reach_over_a_gap() -> None:
    of, judge = camera(), assessor()
    output = play(judge, of, [(header(index), result()) for index in range(3)])
    judge.assess(clip(of, header(5), continues=False), result(), BANK, output)
    judge.flush_draft(of, output)
    assert drafts(output) == [(0, 2, 3, 3), (5, 5, 1, 3)]


def test_the_bundles_own_bank_may_be_taught_before_any_store_has_it() -> None:
    assert proposed(play(assessor(), camera(), [(header(0), result())], replace(BANK, memory_state="initial"))) == [
        True
    ]


def test_an_end_that_comes_late_is_the_sessions_and_not_the_cameras() -> None:
    of, judge = camera(), assessor()
    output = play(judge, of, [(header(index), result(error=WILD)) for index in range(5)])
    end = header(5, kind="end_of_session", pause_s=3600.0)
    judge.assess(SessionEnd(delivery(5, end), of, end), None, None, output)
    assert [event.data.end_reason for event in events(output)] == [None, "session_ended"]
    judge.end_event(of, "shutdown", output)
    assert len(events(output)) == 2, "what has ended cannot end again"


def test_every_message_of_an_event_is_counted_under_its_phase() -> None:
    of, judge = camera(), assessor()
    output = play(judge, of, [(header(index), result(error=WILD)) for index in range(60)])
    judge.end_event(of, "shutdown", output)
    phases = [event.data.phase for event in events(output)]
    assert phases[0] == "start"
    assert phases[-1] == "end"
    assert {phase: phases.count(phase) for phase in set(phases)} == output.tally.events
    assert {record.key for record in of_topic(output, "anomaly-events")} == {"cam1"}


def test_numbers_that_are_none_change_nothing_that_goes_on() -> None:
    of, judge = camera(), assessor()
    play(judge, of, [(header(index), result()) for index in range(3)])
    smoothing, draft = of.smoothing, of.draft
    output = play(judge, of, [(header(3), result(finite=False))])
    assert (of.smoothing, of.draft, of.happening) == (smoothing, draft, None)
    assert (scores(output), output.tally.scored) == ([], 0)
    assert output.tally.balances()


def test_a_warming_score_says_what_it_would_have_been_read_from_and_no_number() -> None:
    of, output = camera(), Output()
    assessor().assess(Warming(delivery(5, header(5)), of, header(5)), None, BANK, output)
    (score,) = scores(output)
    assert (score.bank_id, score.bank_version, score.bank_digest) == (BANK.bank_id, BANK.version, BANK.digest)
    assert (score.anomaly_score, score.psnr_db, score.regular_score, score.proposed) == (None, None, None, False)
    assert (score.frame_index, score.worker_id, score.bundle_digest) == (5, "w1", BUNDLE.digest)


def wild_event(jpeg: bytes, longest_px: int = 320) -> AnomalyEvent:
    of, judge, output = camera(), assessor(), Output()
    judge = replace(
        judge, options=replace(judge.options, events=replace(judge.options.events, thumbnail_px=longest_px))
    )
    for index in range(8):
        told = header(index, size=(64, 48))
        record = replace(delivery(index, told).record, value=jpeg)
        admitted = replace(clip(of, told), delivery=replace(delivery(index, told), record=record))
        judge.assess(admitted, result(error=WILD), BANK, output)
    return events(output)[0]


def test_an_event_shows_its_peak_frame_and_says_how_rare_it_is() -> None:
    data = wild_event(jpeg("cam1", 3)).data
    assert data.thumbnail is not None
    assert (data.thumbnail.width, data.thumbnail.height) == (64, 48)
    assert base64.b64decode(data.thumbnail.jpeg_base64).startswith(b"\xff\xd8\xff")
    assert data.peak.rarity is not None
    assert data.peak.rarity.extrapolated
    assert "here" in data.peak.rarity.words
    assert (data.severity, data.clock, data.heat_map.scale) == ("critical", "media", "common")
    assert max(data.heat_map.values) > 200
    assert data.regions[0].score == pytest.approx(max(data.heat_map.values) / 255, abs=0.01)


def test_no_picture_leaves_where_pictures_are_off_or_cannot_be_made() -> None:
    assert wild_event(jpeg("cam1", 3), longest_px=0).data.thumbnail is None
    broken = wild_event(b"no JPEG").data
    assert broken.thumbnail is None
    assert broken.regions, "the rest is told all the same"


def test_an_event_of_a_recording_says_where_in_it_its_peak_is() -> None:
    of, judge = camera(), assessor()
    told = [header(index).model_copy(update={"offset_s": 60 + index / 8}) for index in range(8)]
    output = play(judge, of, [(one, result(error=WILD)) for one in told])
    peak = events(output)[0].data.peak
    assert peak.offset_s == 60 + peak.frame_index / 8
