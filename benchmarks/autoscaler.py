"""How many workers a ScaledObject asks for: the rules of KEDA, and of the autoscaler (HPA) beneath it.

From the first worker on it is the HPA that decides, every 15 s: of each trigger ``ceil(value / threshold)``, nothing
while that is within a tenth of what there is; the most of all triggers; held against what was wanted within the
stabilisation windows, and against the policies. From none to one and back KEDA decides itself, each polling interval,
after its cool-down. Any change of these rules is a change of Kubernetes, not of ours.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

SCALED_OBJECT = Path(__file__).parents[1] / "deploy" / "kubernetes" / "keda" / "scaledobject.yaml"
SYNC_S = 15.0
"""How often an HPA looks, unless its controller was told otherwise."""
TOLERANCE = 0.1
RECEIVED = "sum(rate(engram_worker_records_received_total[2m]))"
"""The one question to Prometheus that is understood here."""


@dataclass(frozen=True, slots=True)
class Policy:
    """At most so many pods, or percent of them, come or go within a period."""

    kind: Literal["Pods", "Percent"]
    value: int
    period_s: float


@dataclass(frozen=True, slots=True)
class Direction:
    """How fast it goes up, or down: the window whose most careful wish counts; the most generous of policies."""

    window_s: float
    policies: tuple[Policy, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a ScaledObject says.

    Attributes:
        least: workers; 0 = none while there is nothing to do.
        most: workers, no more than there are partitions.
        polling_s: how often KEDA looks whether the first worker is needed.
        cooldown_s: how long nothing is to be done before the last one goes.
        up: how it grows.
        down: how it shrinks.
        lag: records that may wait for each worker.
        received_per_s: records a second that each worker is to handle; None = not asked.
    """

    least: int
    most: int
    polling_s: float
    cooldown_s: float
    up: Direction
    down: Direction
    lag: float
    received_per_s: float | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What the triggers are told: records that wait over all partitions, records handled a second by all workers."""

    lag: float
    received_per_s: float


def read_rule(path: Path = SCALED_OBJECT) -> Rule:
    """The rule as it is shipped.

    Raises:
        ValueError: it has what the simulation does not know.
    """
    spec = yaml.safe_load(path.read_text("utf-8"))["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    lag = received_per_s = None
    for trigger in spec["triggers"]:
        asked = trigger["metadata"]
        if trigger["type"] == "kafka" and asked["allowIdleConsumers"] == "false":
            lag = float(asked["lagThreshold"])
        elif trigger["type"] == "prometheus" and asked["query"] == RECEIVED:
            received_per_s = float(asked["threshold"])
        else:
            raise ValueError(f"a trigger must be the lag, or {RECEIVED}; got {trigger}; teach this file what it does")
    if lag is None:
        raise ValueError(f"'{path}' must have a trigger of type kafka")
    return Rule(
        least=spec["minReplicaCount"],
        most=spec["maxReplicaCount"],
        polling_s=spec["pollingInterval"],
        cooldown_s=spec["cooldownPeriod"],
        up=_direction(behavior["scaleUp"]),
        down=_direction(behavior["scaleDown"]),
        lag=lag,
        received_per_s=received_per_s,
    )


def _direction(said: Mapping[str, Any]) -> Direction:
    policies = tuple(Policy(one["type"], one["value"], one["periodSeconds"]) for one in said["policies"])
    return Direction(said["stabilizationWindowSeconds"], policies)


class Autoscaler:
    """Follows a rule; ``look`` is to be called every ``SYNC_S`` of simulated time.

    Attributes:
        replicas: workers that there should be now.
    """

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self.replicas = max(1, rule.least)
        self._wishes: deque[tuple[float, int]] = deque()
        self._changes: deque[tuple[float, int]] = deque()
        self._active_at_s = self._polled_at_s = 0.0

    def look(self, now_s: float, seen: Seen) -> int:
        """Decide; returns the workers that there should be from now on."""
        if self._rule.least == 0:
            self._first_and_last(now_s, seen)
        if self.replicas > 0:
            self._become(now_s, self._limited(now_s, self._stabilised(now_s, self._wanted(seen))))
        return self.replicas

    def _first_and_last(self, now_s: float, seen: Seen) -> None:
        if now_s - self._polled_at_s < self._rule.polling_s:
            return
        self._polled_at_s = now_s
        if seen.lag > 0 or (self._rule.received_per_s is not None and seen.received_per_s > 0):
            self._active_at_s = now_s
            self._become(now_s, max(1, self.replicas))
        elif now_s - self._active_at_s >= self._rule.cooldown_s:
            self._become(now_s, 0)

    def _wanted(self, seen: Seen) -> int:
        """The most of what each trigger asks for, within the bounds."""
        rule = self._rule
        wanted = self._of_trigger(min(seen.lag, rule.most * rule.lag), rule.lag)
        if rule.received_per_s is not None:
            wanted = max(wanted, self._of_trigger(seen.received_per_s, rule.received_per_s))
        return min(max(wanted, rule.least, 1), rule.most)

    def _of_trigger(self, value: float, threshold: float) -> int:
        if abs(value / (threshold * self.replicas) - 1) <= TOLERANCE:
            return self.replicas
        return math.ceil(value / threshold)

    def _stabilised(self, now_s: float, wanted: int) -> int:
        """No more than was wanted at any moment of the window up, no fewer than at any of the window down."""
        up_s, down_s = now_s - self._rule.up.window_s, now_s - self._rule.down.window_s
        while self._wishes and self._wishes[0][0] <= min(up_s, down_s):
            self._wishes.popleft()
        least = min([wanted, *(wish for at_s, wish in self._wishes if at_s > up_s)])
        most = max([wanted, *(wish for at_s, wish in self._wishes if at_s > down_s)])
        self._wishes.append((now_s, wanted))
        return min(max(self.replicas, least), most)

    def _limited(self, now_s: float, wanted: int) -> int:
        """As far as the policies go."""
        if wanted > self.replicas:
            begun = [(policy, self._begun_with(now_s, policy)) for policy in self._rule.up.policies]
            limit = max(
                start + policy.value if policy.kind == "Pods" else math.ceil(start * (1 + policy.value / 100))
                for policy, start in begun
            )
            return min(wanted, max(limit, self.replicas))
        begun = [(policy, self._begun_with(now_s, policy)) for policy in self._rule.down.policies]
        limit = min(
            start - policy.value if policy.kind == "Pods" else int(start * (1 - policy.value / 100))
            for policy, start in begun
        )
        return max(wanted, min(limit, self.replicas))

    def _begun_with(self, now_s: float, policy: Policy) -> int:
        """Workers at the beginning of a policy's period."""
        return self.replicas - sum(by for at_s, by in self._changes if at_s > now_s - policy.period_s)

    def _become(self, now_s: float, replicas: int) -> None:
        if replicas != self.replicas:
            self._changes.append((now_s, replicas - self.replicas))
            self.replicas = replicas
        longest_s = max(policy.period_s for way in (self._rule.up, self._rule.down) for policy in way.policies)
        while self._changes and self._changes[0][0] <= now_s - longest_s:
            self._changes.popleft()
