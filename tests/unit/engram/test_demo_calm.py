"""The stack demo's check against a calm run sees each kind of difference."""

from datetime import datetime, timezone

from engram.demo.checks import check_calm
from engram.demo.recompute import Recomputed, key_of
from schemas.messages import AnomalyEvent, FrameScore
from tests.unit.consumers.samples import event, score


def verdicts(scores: list[FrameScore], events: list[AnomalyEvent], calm: Recomputed) -> list[bool]:
    return [check.ok for check in check_calm(calm, scores, events)]


def calm_of(scores: list[FrameScore], events: list[AnomalyEvent]) -> Recomputed:
    return Recomputed({key_of(each): each for each in scores}, tuple(events))


SCORES = [score(index) for index in range(3)]
EVENTS = [event(1, 5)]


def test_the_same_is_the_same() -> None:
    assert verdicts(SCORES, EVENTS, calm_of(SCORES, EVENTS)) == [True, True]


def test_who_computed_it_and_when_does_not_matter() -> None:
    later = datetime(2027, 1, 1, tzinfo=timezone.utc)
    others = [each.model_copy(update={"worker_id": "other", "scored_at": later}) for each in SCORES]
    assert verdicts(SCORES, EVENTS, calm_of(others, EVENTS)) == [True, True]


def test_a_score_that_differs_shows_from_the_fifth_digit_on() -> None:
    near = [each.model_copy(update={"psnr_db": (each.psnr_db or 0) * (1 + 1e-7)}) for each in SCORES]
    far = [each.model_copy(update={"psnr_db": (each.psnr_db or 0) * (1 + 1e-3)}) for each in SCORES]
    assert verdicts(SCORES, EVENTS, calm_of(near, EVENTS)) == [True, True]
    assert verdicts(SCORES, EVENTS, calm_of(far, EVENTS)) == [False, True]


def test_a_missing_frame_or_event_shows() -> None:
    assert verdicts(SCORES, EVENTS, calm_of(SCORES[1:], EVENTS)) == [False, True]
    assert verdicts(SCORES, EVENTS, calm_of(SCORES, [])) == [True, False]
    assert verdicts(SCORES, [], calm_of(SCORES, EVENTS)) == [True, False]
