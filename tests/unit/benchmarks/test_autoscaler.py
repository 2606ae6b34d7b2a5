"""The rules of KEDA and of the autoscaler beneath it, one by one."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from benchmarks.autoscaler import SCALED_OBJECT, SYNC_S, Autoscaler, Direction, Policy, Rule, Seen, read_rule

AT_ONCE = Direction(0.0, (Policy("Pods", 100, 15.0),))
RULE = Rule(1, 20, 15.0, 300.0, AT_ONCE, AT_ONCE, lag=100.0, received_per_s=None)


def lag(records: float) -> Seen:
    return Seen(records, 0.0)


def after(rule: Rule, *seen: Seen) -> list[int]:
    """Workers after each look, of which there is one before the first."""
    scaler = Autoscaler(rule)
    return [scaler.look((place + 1) * SYNC_S, each) for place, each in enumerate(seen)]


@pytest.mark.parametrize(("records", "workers"), [(0, 1), (100, 1), (109, 1), (111, 2), (200, 2), (201, 3), (5000, 20)])
def test_so_many_that_no_more_than_the_threshold_waits_for_each(records: float, workers: int) -> None:
    assert after(RULE, lag(records)) == [workers]


def test_a_tenth_more_or_less_changes_nothing() -> None:
    assert after(RULE, lag(1000), lag(1090), lag(910), lag(890)) == [10, 10, 10, 9]


def test_lag_never_asks_for_more_than_there_are_partitions() -> None:
    assert after(replace(RULE, most=4), lag(1e9)) == [4]


def test_the_trigger_that_wants_more_counts() -> None:
    both = replace(RULE, received_per_s=30.0)
    assert after(both, Seen(0, 300), Seen(1500, 300), Seen(0, 300)) == [10, 15, 10]


def test_it_grows_only_by_what_was_wanted_all_the_window() -> None:
    careful = replace(RULE, up=replace(AT_ONCE, window_s=30.0))
    assert after(careful, lag(100), lag(900), lag(500), lag(700), lag(900)) == [1, 1, 5, 5, 7]


def test_it_shrinks_only_to_what_was_enough_all_the_window() -> None:
    patient = replace(RULE, down=replace(AT_ONCE, window_s=30.0))
    assert after(patient, lag(900), lag(300), lag(500), lag(100), lag(100), lag(100)) == [9, 9, 5, 5, 1, 1]


def test_pods_a_period() -> None:
    slow = replace(RULE, up=Direction(0.0, (Policy("Pods", 2, 30.0),)))
    assert after(slow, *[lag(2000)] * 5) == [3, 3, 5, 5, 7]


def test_percent_a_period_of_those_at_its_beginning() -> None:
    doubling = replace(RULE, up=Direction(0.0, (Policy("Percent", 100, 30.0),)))
    assert after(doubling, *[lag(2000)] * 5) == [2, 2, 4, 4, 8]
    halving = replace(RULE, down=Direction(0.0, (Policy("Percent", 50, 30.0),)))
    assert after(halving, *[lag(1000)] * 3, *[lag(0)] * 4) == [10, 10, 10, 5, 5, 2, 2]


def test_the_most_generous_policy_counts() -> None:
    policies = Policy("Percent", 100, 30.0), Policy("Pods", 4, 30.0)
    assert after(replace(RULE, up=Direction(0.0, policies)), *[lag(2000)] * 3) == [5, 5, 10]
    by_both = replace(RULE, down=Direction(0.0, (policies[0], replace(policies[1], value=6))))
    assert after(by_both, *[lag(1000)] * 3, lag(0)) == [10, 10, 10, 1]
    by_pods = replace(RULE, down=Direction(0.0, policies[1:]))
    assert after(by_pods, *[lag(1000)] * 3, *[lag(0)] * 3) == [10, 10, 10, 6, 6, 2]


def test_what_came_within_the_period_may_go_at_once() -> None:
    slow = replace(RULE, down=Direction(0.0, (Policy("Pods", 1, 30.0),)))
    assert after(slow, lag(1000), lag(0)) == [10, 1]


def test_none_while_nothing_waits_where_that_is_allowed() -> None:
    to_zero = replace(RULE, least=0, cooldown_s=60.0)
    assert after(to_zero, *[lag(0)] * 5, lag(5), lag(5)) == [1, 1, 1, 0, 0, 1, 1]
    assert after(RULE, *[lag(0)] * 10) == [1] * 10


def test_what_is_shipped_is_read() -> None:
    spec = yaml.safe_load(SCALED_OBJECT.read_text())["spec"]
    rule = read_rule()
    assert (rule.least, rule.most) == (spec["minReplicaCount"], spec["maxReplicaCount"])
    assert rule.received_per_s is not None
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert rule.down.window_s == behavior["scaleDown"]["stabilizationWindowSeconds"]
    assert rule.up.policies[0].value == behavior["scaleUp"]["policies"][0]["value"]


def test_a_trigger_that_is_not_understood_is_no_silence(tmp_path: Path) -> None:
    document = yaml.safe_load(SCALED_OBJECT.read_text())
    lag_trigger = document["spec"]["triggers"].pop(0)
    path = tmp_path / "scaledobject.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ValueError, match="must have a trigger of type kafka"):
        read_rule(path)
    document["spec"]["triggers"] = [lag_trigger, {"type": "cpu", "metadata": {"value": "60"}}]
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ValueError, match="cpu"):
        read_rule(path)
