"""How late a worker says it is, and when it warns."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import pytest

from messaging.ports import Claim
from workers.output import LATEST_MS, Output
from workers.pace import TOLD_EVERY_S, Histogram, LateWarning, Pace

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=timezone.utc)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def pace(**known: object) -> Pace:
    return Pace(began_at_s=100.0, turned_at_s=100.0, **known)  # type: ignore[arg-type]


def test_values_on_a_bound_count_below_it() -> None:
    histogram = Histogram((1, 2, 4))
    for value in (0, 1, 1.5, 4, 9):
        histogram.add(value)
    assert histogram.counts == (2, 1, 1, 1)
    assert histogram.total == 15.5


def test_a_quantile_is_told_by_the_end_of_its_bin() -> None:
    histogram = Histogram((1, 2, 4))
    assert histogram.quantile(0.5) is None
    for value in [0.5] * 50 + [3.0] * 49 + [100.0]:
        histogram.add(value)
    assert [histogram.quantile(share) for share in (0.0, 0.5, 0.51, 0.99, 1.0)] == [1, 1, 4, 4, float("inf")]


def test_nothing_that_waits_is_not_behind() -> None:
    assert pace(oldest_at=ago(50)).behind_s(0, NOW, 200.0) == 0.0


def test_what_waits_is_as_late_as_what_was_handled_last() -> None:
    assert pace(oldest_at=ago(224)).behind_s(13_037, NOW, 500.0) == 224.0


def test_a_worker_that_has_handled_nothing_is_behind_since_it_began() -> None:
    assert pace().behind_s(7, NOW, 130.0) == 30.0


def test_what_comes_after_a_silence_does_not_inherit_its_length() -> None:
    seen = pace()
    seen.committed(Output(oldest_ms=ms(ago(3600))), ago(3599), 400.0)
    seen.caught_up_at_s = 498.0
    assert seen.behind_s(40, NOW, 500.0) == 2.0


def test_what_is_known_of_the_log_before_the_first_commit_bounds_nothing_later() -> None:
    """A subscription that was just assigned may not know yet that anything waits."""
    seen = pace(caught_up_at_s=130.0)
    assert seen.behind_s(177, NOW, 131.0) == 1.0
    seen.committed(Output(oldest_ms=ms(ago(180))), NOW, 132.0)
    assert seen.behind_s(177, NOW, 132.0) == 180.0


def test_a_log_whose_clock_is_ahead_is_no_negative_time() -> None:
    assert pace(oldest_at=ago(-5)).behind_s(1, NOW, 200.0) == 0.0


def test_latency_is_counted_for_each_score_that_is_durable() -> None:
    seen = pace()
    seen.committed(Output(captured=[ago(0.2), ago(7), ago(-60)], num_learning=2, oldest_ms=ms(ago(9))), NOW, 1.0)
    assert seen.num_learning == 2
    assert sum(seen.capture_to_score_s.counts) == 3
    assert seen.capture_to_score_s.total == pytest.approx(7.2)
    assert seen.capture_to_score_s.counts[0] == 1, "a camera whose clock is ahead counts as no time"
    seen.committed(Output(), NOW, 2.0)
    assert (seen.oldest_at, seen.committed_at_s) == (ago(9), 1.0), "a commit of silence alone tells no age"


def test_the_oldest_record_of_a_commit_is_its_age() -> None:
    output = Output()
    assert output.oldest_at is None
    for timestamp_ms in (5_000, 3_000, 4_000):
        output.note_arrival(timestamp_ms)
    assert output.oldest_at == datetime.fromtimestamp(3, timezone.utc)


@pytest.mark.parametrize("timestamp_ms", [-1, 0, LATEST_MS, 10**18])
def test_a_time_that_cannot_be_is_passed_over(timestamp_ms: int) -> None:
    output = Output(claims={Claim("frames", 0, 1)})
    output.note_arrival(timestamp_ms)
    assert output.oldest_at is None


def test_lateness_is_told_once_a_minute_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    late = LateWarning(10.0)
    for now_s, behind_s in (
        (0, 9.9),
        (1, 10.1),
        (2, 100.0),
        (1 + TOLD_EVERY_S, 200.0),
        (70, 6.0),
        (71, 4.9),
        (72, 0.0),
    ):
        late.look(behind_s, 13_037, float(now_s))
    levels = [(record.levelname, record.getMessage().partition(",")[0]) for record in caplog.records]
    assert levels == [
        ("WARNING", "scores are 10 s late"),
        ("WARNING", "scores are 200 s late"),
        ("INFO", "scores are no longer late: 4.9 s"),
    ]


def told_at(looks: Sequence[tuple[float, float]], caplog: pytest.LogCaptureFixture) -> list[float]:
    """When a warning came of a worker that is late by so much at such times."""
    late, found = LateWarning(10.0), []
    for now_s, behind_s in looks:
        caplog.clear()
        late.look(behind_s, 9, now_s)
        if any(record.levelname == "WARNING" for record in caplog.records):
            found.append(now_s)
    return found


@pytest.mark.parametrize(
    ("grows_by", "told"),
    [(1.0, 7.6), (0.66, 8.8), (0.1, 30.1)],
    ids=["nothing is handled", "a third of it is", "nearly all of it is"],
)
def test_who_falls_behind_is_told_before_it_is_too_late(
    grows_by: float, told: float, caplog: pytest.LogCaptureFixture
) -> None:
    looks = [(now / 10, grows_by * now / 10) for now in range(400)]
    first = told_at(looks, caplog)[0]
    assert first == pytest.approx(told, abs=0.2)
    assert grows_by * first < 10, "it is not too late yet"


def test_who_catches_up_or_is_a_little_late_is_not(caplog: pytest.LogCaptureFixture) -> None:
    assert told_at([(now / 10, 9.9 - now / 50) for now in range(490)], caplog) == []
    assert told_at([(now / 10, 2.5) for now in range(900)], caplog) == []
    assert told_at([(now / 10, 6.0) for now in range(900)], caplog) == [], "late, and no later"


def test_who_asked_for_no_warning_gets_none(caplog: pytest.LogCaptureFixture) -> None:
    LateWarning(None).look(1e9, 1, 0.0)
    assert caplog.text == ""
