"""A worker that judges by what the bank has counted, and adds to it: it learns first, and its thresholds follow."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from bundles.calibration import Calibration
from inference.engine import ClipResult
from inference.formats import ClipFormat
from inference.rarity import level_for, trust
from inference.standard import Stage, Standards
from memory_store.bank import Bank
from memory_store.coordinator.guards import implausible_counts
from memory_store.normality import Normality, merge_all
from schemas.codec import HEADER, decode_message, decode_proposal_arrays
from schemas.messages import AnomalyEvent, FrameHeader, FrameScore, ProposalHeader
from tests.looks import FPS, odd, remembered, results
from tests.small_bundle import small_bundle
from tests.unit.workers.arriving import START, delivery, header
from workers.assessment import LEARNING_PATIENCE, Assessor
from workers.camera import Camera, view_of
from workers.options import EventOptions, WorkerOptions
from workers.output import Output
from workers.partition import Clip
from workers.proposals import Block, block_after
from workers.rules import CameraRules
from workers.tracker import BankRef
from workers.windows import Window

LEARN_S = 10.0
BANK = BankRef("cam1", 1, "ab" * 32, "live", "cd" * 32)


@pytest.fixture(scope="module")
def parent() -> Calibration:
    """Of other cameras: it stands for two seconds behind what a camera's own bank has counted."""
    return remembered().model_copy(update={"memory_frames": 2 * FPS})


def assessor(calibration: Calibration, **changed: object) -> Assessor:
    events = EventOptions(min_duration_s=0.2, merge_gap_s=1.0)
    options = WorkerOptions("w1", events=events, proposal_interval_s=1.0, learn_s=LEARN_S)
    options = replace(options, **changed)  # type: ignore[arg-type]
    bundle = replace(small_bundle(), calibration=calibration)
    return Assessor(options, bundle, Standards(calibration), CameraRules(events, {}), lambda: START)


def play(
    judge: Assessor,
    of: Camera,
    seen: Sequence[ClipResult],
    counted: Normality | None,
    bank: BankRef = BANK,
    first: int = 0,
    learn_s: float | None = None,
    epoch: str = "e1",
) -> Output:
    memory = None
    if counted is not None:
        bank = replace(bank, digest=hashlib.sha256(counted.values_N.tobytes()).hexdigest())
        none = np.zeros((0, 0), np.float32)
        memory = Bank(bank.bank_id, bank.version, epoch, "bb" * 32, none, START, normality=counted, learn_s=learn_s)
    output = Output()
    for index, result in enumerate(seen, first):
        told = header(index)
        clip = Clip(delivery(index, told), of, told, np.zeros((1, 3, 4, 1), np.uint8), continues=index > 0)
        judge.assess(clip, result, bank, output, memory)
    return output


def camera() -> Camera:
    return Camera("cam1", Window(ClipFormat(1)))


def of_topic(output: Output, topic: str) -> list[bytes | None]:
    return [record.value for record in output.records if record.topic == topic]


def states(output: Output) -> list[str]:
    return [decode_message(FrameScore, value).memory_state for value in of_topic(output, "frame-scores")]


def events(output: Output) -> list[AnomalyEvent]:
    return [decode_message(AnomalyEvent, value) for value in of_topic(output, "anomaly-events")]


def proposals(output: Output) -> list[tuple[ProposalHeader, Normality]]:
    found = []
    for record in output.records:
        if record.topic == "memory-updates":
            told = decode_message(ProposalHeader, dict(record.headers)[HEADER])
            assert told.normality is not None
            found.append((told, Normality.from_wire(told.normality, decode_proposal_arrays(told, record.value)[3])))
    return found


def learned(judge: Assessor, num_rounds: int = 4) -> Normality:
    """What a bank has counted after some rounds of five seconds, each scored by what was known before it."""
    counted = nothing(judge)
    for number in range(num_rounds):
        output = play(judge, camera(), results(50, seed=70 + number), counted)
        counted = merge_all([counted, *(counts for _, counts in proposals(output))], float("inf"))
    return counted


def nothing(judge: Assessor) -> Normality:
    assert judge.standards.grid is not None
    return Normality.empty(judge.standards.grid)


WILD = [odd(result, speed=30.0, error=50.0, grey=80.0) for result in results(20, seed=9)]


def test_a_new_camera_is_learned_before_it_is_judged(parent: Calibration) -> None:
    judge = assessor(parent)
    output = play(judge, camera(), WILD, nothing(judge))
    assert set(states(output)) == {"learning"}
    assert not events(output)
    assert proposals(output)[0][0].num_frames > 0


def test_once_learned_the_same_frames_are_an_event(parent: Calibration) -> None:
    judge = assessor(parent)
    counted = learned(judge)
    of = camera()
    calm = play(judge, of, results(30, seed=8), counted)
    assert set(states(calm)) == {"live"}
    assert not events(calm)
    wild = play(judge, of, WILD, counted, first=30)
    assert [event.data.phase for event in events(wild)][:1] == ["start"]
    assert events(wild)[0].data.provenance.bank_digest == hashlib.sha256(counted.values_N.tobytes()).hexdigest()


def test_a_bundle_of_the_camera_itself_needs_no_learning() -> None:
    own = remembered()
    judge = assessor(own)
    output = play(judge, camera(), results(5, seed=8), nothing(judge))
    assert set(states(output)) == {"live"}


@pytest.mark.parametrize("state", ["frozen", "stale"])
def test_where_nothing_can_be_learned_the_camera_is_judged_by_what_there_is(parent: Calibration, state: str) -> None:
    judge = assessor(parent)
    bank = replace(BANK, memory_state=state)  # type: ignore[arg-type]
    output = play(judge, camera(), WILD, nothing(judge), bank)
    assert set(states(output)) == {state}
    assert events(output)
    assert not proposals(output)


def test_without_updates_nothing_is_learned_either(parent: Calibration) -> None:
    judge = assessor(parent, updates=False)
    output = play(judge, camera(), results(5, seed=8), nothing(judge))
    assert set(states(output)) == {"live"}
    assert not proposals(output)


def test_who_waits_in_vain_for_a_coordinator_is_told_once_and_judged(
    parent: Calibration, caplog: pytest.LogCaptureFixture
) -> None:
    judge, of = assessor(parent), camera()
    last = round(LEARNING_PATIENCE * LEARN_S * FPS)
    play(judge, of, results(2, seed=8), nothing(judge), first=0)
    output = play(judge, of, results(5, seed=8), nothing(judge), first=last - 1)
    assert states(output) == ["learning"] * 2 + ["live"] * 3
    told = [record for record in caplog.records if "does a coordinator run" in record.message]
    assert len(told) == 1


def test_a_bank_with_a_time_of_its_own_is_learned_for_so_long(parent: Calibration) -> None:
    judge = assessor(parent)
    counted = learned(judge)
    one = camera()
    assert set(states(play(judge, one, results(5, seed=8), counted))) == {"live"}
    assert view_of(one, 0).wanted_s == LEARN_S
    output = play(judge, one, [*results(5, seed=8), *WILD], counted, first=5, learn_s=10 * LEARN_S)
    assert set(states(output)) == {"learning"}
    assert (events(output), output.num_learning, view_of(one, 0).wanted_s) == ([], 25, 10 * LEARN_S)
    early = learned(judge, 1)
    assert set(states(play(judge, camera(), results(5, seed=8), early))) == {"learning"}
    assert set(states(play(judge, camera(), results(5, seed=8), early, learn_s=0.2 * LEARN_S))) == {"live"}


def test_what_it_has_counted_by_then_is_counted_by_its_own_stages(parent: Calibration) -> None:
    judge = assessor(parent)
    counted = learned(judge, 1)

    def num_evidence(learn_s: float | None = None) -> float:
        told = proposals(play(judge, camera(), results(40, seed=7), counted, learn_s=learn_s))
        return sum(float(counts.field("evidence")[:, 0].sum()) for _, counts in told)

    assert num_evidence() > 0, "a third of ten seconds is known"
    assert num_evidence(learn_s=60.0) == 0, "and not a third of sixty"


def test_patience_is_of_the_bank_s_own_time_and_the_warning_says_it(
    parent: Calibration, caplog: pytest.LogCaptureFixture
) -> None:
    judge, of = assessor(parent), camera()
    last = round(LEARNING_PATIENCE * LEARN_S * FPS)
    output = play(judge, of, results(2, seed=8), nothing(judge), learn_s=2 * LEARN_S)
    output = play(judge, of, results(5, seed=8), nothing(judge), first=last - 1, learn_s=2 * LEARN_S)
    assert states(output) == ["learning"] * 5
    output = play(judge, of, results(5, seed=8), nothing(judge), first=2 * last - 1, learn_s=2 * LEARN_S)
    assert states(output) == ["learning"] * 2 + ["live"] * 3
    (told,) = [record.message for record in caplog.records if "does a coordinator run" in record.message]
    assert "knows 2 s of the 20 s it should learn" in told


def test_a_camera_that_was_known_for_long_learns_anew_when_its_bank_does(
    parent: Calibration, caplog: pytest.LogCaptureFixture
) -> None:
    judge, of = assessor(parent), camera()
    later = round(10 * LEARNING_PATIENCE * LEARN_S * FPS)
    assert states(play(judge, of, results(2, seed=8), nothing(judge)))[0] == "learning"
    assert set(states(play(judge, of, results(2, seed=8), learned(judge), first=2))) == {"live"}
    output = play(judge, of, results(5, seed=8), nothing(judge), first=later, epoch="e2")
    assert set(states(output)) == {"learning"}
    assert not [record for record in caplog.records if "does a coordinator run" in record.message]


def test_a_camera_that_was_learned_in_vain_is_waited_for_again_when_its_bank_learns_anew(parent: Calibration) -> None:
    judge, of = assessor(parent), camera()
    later = round(10 * LEARNING_PATIENCE * LEARN_S * FPS)
    play(judge, of, results(2, seed=8), nothing(judge))
    assert set(states(play(judge, of, results(2, seed=8), nothing(judge), first=later))) == {"live"}
    assert set(states(play(judge, of, results(2, seed=8), nothing(judge), first=later + 2, epoch="e2"))) == {"learning"}


def stages(judge: Assessor) -> list[Stage]:
    return [judge.standards.of(str(number), learned(judge, number)).stage(LEARN_S) for number in range(4)]


def test_a_camera_is_learned_in_stages_each_by_what_the_one_before_has_taught(parent: Calibration) -> None:
    assert stages(assessor(parent)) == [Stage.COUNTS, Stage.EVIDENCE, Stage.LEVELS, Stage.KNOWN]


@pytest.mark.parametrize(("num_rounds", "num_evidence", "num_levels"), [(0, 0.0, 0.0), (1, 1.0, 0.0), (2, 1.0, 1.0)])
def test_a_contribution_counts_its_frames_as_far_as_their_scores_can_be_trusted(
    parent: Calibration, num_rounds: int, num_evidence: float, num_levels: float
) -> None:
    judge = assessor(parent)
    counted = learned(judge, num_rounds)
    trusted = trust(judge.standards.of(f"{num_rounds}", counted).seconds_seen)
    for told, counts in proposals(play(judge, camera(), results(40, seed=7), counted)):
        assert counts.num_frames == told.num_frames
        assert counts.at_s == told.captured_to.timestamp()
        assert counts.field("levels").sum() == pytest.approx(num_levels * trusted * told.num_frames)
        assert counts.field("evidence")[:, 0] == pytest.approx(num_evidence * trusted * told.num_frames)
        assert told.base_digest == BANK.items_digest
        assert implausible_counts(told, counts) is None


def test_what_is_scored_when_little_is_known_weighs_little() -> None:
    assert [trust(seconds) for seconds in (0.0, 60.0, 600.0, 6000.0)] == [0.0, 0.1, 1.0, 1.0]


def test_frames_around_an_event_are_not_counted(parent: Calibration) -> None:
    judge = assessor(parent)
    counted, of = learned(judge), camera()
    before = play(judge, of, results(5, seed=8), counted)
    wild = play(judge, of, WILD, counted, first=5)
    assert not proposals(before)
    assert wild.tally.proposals["withdrawn"] == 1
    assert not any(decode_message(FrameScore, value).proposed for value in of_topic(wild, "frame-scores")[5:])


def test_scores_and_thresholds_follow_what_was_counted(parent: Calibration) -> None:
    judge = assessor(parent)
    calm = learned(judge)
    restless = Normality(calm.grid, calm.at_s, calm.values_N.copy())
    restless.field("levels")[...] = np.roll(calm.field("levels"), 20)  # each level more than a spread higher
    seen = results(30, seed=8)

    def highest(counts: Normality) -> float:
        told = of_topic(play(judge, camera(), seen, counts), "frame-scores")
        return max(decode_message(FrameScore, value).anomaly_score or 0.0 for value in told)

    assert highest(restless) < highest(calm)
    assert level_for(1.0, restless) > level_for(1.0, calm)


def test_standards_are_made_once_for_each_content(parent: Calibration) -> None:
    standards = Standards(parent)
    grid = standards.grid
    assert grid is not None
    empty = Normality.empty(grid)
    assert standards.of("a", empty) is standards.of("a", empty)
    assert standards.of("b", empty) is not standards.of("a", empty)
    assert standards.of("a", empty).seconds_seen == pytest.approx(2.0)


def feed(levels: Sequence[float], calm: Sequence[bool] | None = None, pause_s: float = 0.0) -> list[float | None]:
    block: Block | None = None
    peaks = []
    for index, level in enumerate(levels):
        told: FrameHeader = header(index, pause_s=pause_s)
        block, peak = block_after(block, told, level, calm[index] if calm else True)
        peaks.append(peak)
    return peaks


def test_each_block_of_ten_seconds_gives_its_highest_level_once() -> None:
    levels = np.random.default_rng(0).normal(size=250)
    found = feed(levels.tolist())
    assert [peak for peak in found if peak is not None] == [levels[:100].max(), levels[100:200].max()]
    assert found[100] is not None and found[200] is not None


def test_a_block_with_an_event_or_a_gap_in_it_counts_for_nothing() -> None:
    calm = [index != 50 for index in range(101)]
    assert feed([0.0] * 101, calm)[100] is None
    assert feed([0.0] * 51, pause_s=5.1)[-1] is None  # begins in the middle of a block


def test_blocks_lie_where_capture_time_puts_them() -> None:
    begun = header(0, pause_s=9.95)
    block, peak = block_after(None, begun, 1.0, True)
    assert (block.number, peak) == (int((START + timedelta(seconds=9.95)).timestamp() // 10), None)


def test_frames_scored_while_learning_are_counted(parent: Calibration) -> None:
    judge, one = assessor(parent), camera()
    early = play(judge, one, results(20, seed=3), nothing(judge))
    assert early.num_learning == states(early).count("learning") > 0
    assert len(early.captured) == early.tally.scored == 20
    late = play(judge, one, results(20, seed=4), learned(judge), first=20)
    assert late.num_learning == states(late).count("learning")
    seen = view_of(one, 3)
    assert seen.known_s is not None and seen.known_s > LEARN_S
    assert (seen.partition, seen.counts["scored"]) == (3, 40)
