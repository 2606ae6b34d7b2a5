"""Workers as the simulation has them, and a day with the shipped ScaledObject: it follows without flapping."""

from dataclasses import replace

import pytest

from benchmarks.autoscaler import Rule, read_rule
from benchmarks.scaling import HOUR_S, STEP_S, Camera, Day, Death, Fleet, Habits, Outcome, simulate, usual_day

HABITS = Habits(frames_per_s=60.0, start_s=60.0, rebalance_s=3.0, unheard_s=10.0)
RULE = read_rule()


def fleet(workers: int, partitions: int) -> Fleet:
    """Whose workers have joined already."""
    made = Fleet(HABITS, partitions)
    made.resize(workers, -HABITS.start_s - STEP_S)
    made.step(-STEP_S, [0.0] * partitions)
    return made


def waits(made: Fleet) -> float:
    return sum(number for waiting in made._waiting for _, number in waiting)


def test_workers_keep_up_with_what_they_can() -> None:
    made = fleet(2, 2)
    for step in range(20):
        made.step(step * STEP_S, [60.0, 60.0])
    assert waits(made) == 0
    assert made.oldest_s(100.0) == 0
    made.step(100.0, [90.0, 30.0])
    assert waits(made) == pytest.approx(30 * STEP_S), "a partition has one reader, and the other cannot help"


def test_what_waits_is_handled_oldest_first_and_none_is_lost() -> None:
    made, arrived = fleet(1, 2), 0.0
    for step in range(12):
        made.step(step * STEP_S, [50.0, 40.0])
        arrived += 90 * STEP_S
    handled = sum(number for _, number in made._handled)
    assert handled + waits(made) == pytest.approx(arrived)
    assert handled == pytest.approx(60 * 60)
    assert made.oldest_s(60.0) == pytest.approx(20.0, abs=STEP_S)


def test_a_rebalance_stops_everybody() -> None:
    made = fleet(1, 2)
    made.resize(2, 0.0)
    made.step(0.0, [20.0, 20.0])
    assert len(made.rebalances) == 1, "the new one is not there yet"
    made.step(60.0, [60.0, 60.0])
    assert len(made.rebalances) == 2
    assert waits(made) == pytest.approx(2 * 60 * HABITS.rebalance_s)


def test_a_dead_worker_holds_its_partitions_until_it_is_missed() -> None:
    made = fleet(2, 2)
    made.kill(1, 0.0, away_s=100.0)
    made.step(0.0, [10.0, 10.0])
    made.step(5.0, [10.0, 10.0])
    assert waits(made) == pytest.approx(10 * 10)
    assert len(made.rebalances) == 1
    made.step(10.0, [10.0, 10.0])
    made.step(15.0, [10.0, 10.0])
    assert waits(made) == 0
    assert len(made.rebalances) == 2
    made.step(100.0, [10.0, 10.0])
    assert len(made.rebalances) == 3, "it is back"


def test_what_the_triggers_are_told() -> None:
    made = fleet(1, 1)
    for step in range(40):
        made.step(step * STEP_S, [30.0])
    seen = made.seen(40 * STEP_S)
    assert seen.received_per_s == pytest.approx(30.0)
    assert seen.lag == pytest.approx(30 * HABITS.in_flight_s)


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return simulate(RULE, usual_day(1, RULE.most), HABITS, RULE.most)


def test_the_shipped_rule_follows_the_day(outcome: Outcome) -> None:
    assert outcome.latest_s < 150
    assert outcome.late_share < 0.02
    by_hour = dict.fromkeys(range(24), 0)
    for at_s, workers in outcome.replicas:
        by_hour[int(at_s // HOUR_S) % 24] = workers
    assert max(by_hour[hour] for hour in (0, 1, 2, 3)) <= 3, "a quiet night takes few"
    assert max(workers for _, workers in outcome.replicas) <= RULE.most


def test_the_shipped_rule_leaves_the_group_in_peace(outcome: Outcome) -> None:
    assert outcome.flaps == 0
    assert outcome.most_rebalances <= 12
    assert outcome.worker_h < 2.5 * outcome.ideal_h


def steady(rule: Rule, deaths: tuple[Death, ...] = ()) -> Outcome:
    """Six hours of 48 cameras, spread evenly, that never go."""
    cameras = [Camera(each % rule.most, 0.0, 6 * HOUR_S) for each in range(48)]
    return simulate(rule, Day(6 * HOUR_S, tuple(cameras), deaths=deaths), HABITS, rule.most)


def changes_after(outcome: Outcome, at_s: float) -> int:
    return sum(when > at_s for when, _ in outcome.replicas)


def test_a_steady_load_is_left_alone_once_it_is_followed() -> None:
    came = steady(RULE)
    assert changes_after(came, 3 * HOUR_S) == 0
    _, workers = came.replicas[-1]
    assert 240 / 60 < workers < 2.5 * 240 / 60
    assert came.flaps == 0


def test_by_lag_alone_a_steady_load_makes_it_flap() -> None:
    """What the second trigger is for: without it the test above would fail."""
    came = steady(replace(RULE, received_per_s=None))
    assert changes_after(came, 3 * HOUR_S) > 2


def test_a_death_is_no_reason_to_shrink_or_to_storm() -> None:
    deaths = Death(4 * HOUR_S, 0, 60.0), Death(5 * HOUR_S, 1, 600.0)
    calm, came = steady(RULE), steady(RULE, deaths)
    assert came.flaps == 0
    assert came.rebalances == calm.rebalances + 2 * len(deaths), "missed, and back"
    assert came.latest_s == calm.latest_s, "the first minutes, with one worker, are worse than any death"


def test_the_same_seed_is_the_same_day() -> None:
    assert usual_day(4, 24) == usual_day(4, 24) != usual_day(5, 24)
    assert sum(camera.on_s == 0 for camera in usual_day(4, 24).cameras) == 12
