"""What a coordinator does and how patiently."""

import math
from dataclasses import dataclass, field, replace
from datetime import timedelta

from schemas.topics import TopicNames

CAMERA = "{camera_id}"
LEARNING_ROUND_S = 5.0
CLOCK_SLACK = timedelta(minutes=5)
"""So far ahead of ours a camera's clock may be."""


@dataclass(frozen=True, slots=True)
class RoundRules:
    """How proposals wait.

    Attributes:
        round_s: how much capture time a round holds; 0 = each proposal is its own round.
        quarantine_s: how far its camera must have gone on since; None = 30 s, or not at all where each proposal is its
            own round.
        patience_s: how much longer than round and quarantine, by the clock, a round is waited for whose cameras do not
            go on; None = for as long as it takes, or until ``Coordinator.settle_the_rest``.
        guard_frames: frames before and after an event that must not teach either.
        max_held: proposals held at most; beyond it the camera that holds the most loses its newest.
        kept_share: proposals of one camera that no other camera's arrival drives out.
        event_memory_s: how long an event that has ended is remembered.
        max_event_s: how long an open event is believed without a sign of life.
        max_events: events remembered at most; beyond it the camera with the most loses its oldest.
    """

    round_s: float = 60.0
    quarantine_s: float | None = None
    patience_s: float | None = 30.0
    guard_frames: int = 10
    max_held: int = 10_000
    kept_share: int = 100
    event_memory_s: float = 600.0
    max_event_s: float = 86_400.0
    max_events: int = 10_000

    def while_learning(self) -> "RoundRules":
        """For a bank without which no event opens: nothing can speak against its proposals, and it is waited for."""
        return replace(self, round_s=min(self.round_s, LEARNING_ROUND_S), quarantine_s=0.0)

    @property
    def wait_s(self) -> float:
        """The quarantine in force."""
        if self.quarantine_s is not None:
            return self.quarantine_s
        return 30.0 if self.round_s > 0 else 0.0

    @property
    def longest_s(self) -> float:
        """How long a round is waited for at most, by the clock; a camera silent for longer is not waited for."""
        return math.inf if self.patience_s is None else self.round_s + self.wait_s + self.patience_s


@dataclass(frozen=True, slots=True)
class ChangeLimits:
    """How far a bank may go; each is a bound that must not be reached. ``docs/decisions.md`` says where they come from.

    Attributes:
        moved_per_hour: sum of ``distance_moved`` over the commits of an hour; None = any.
        anchor_distance: ``distance_to_anchor``, of what is restored too; None = any.
        moved_per_round: ``distance_moved`` of one commit; None = any.
    """

    moved_per_hour: float | None = 2.0
    anchor_distance: float | None = 0.05
    moved_per_round: float | None = 0.05

    def after(self, spent: float) -> "ChangeLimits":
        """What is left of the hour's budget once a bank has moved by ``spent``."""
        return self if self.moved_per_hour is None else replace(self, moved_per_hour=self.moved_per_hour - spent)


@dataclass(frozen=True, slots=True)
class CoordinatorOptions:
    """What a coordinator does and how patiently.

    Attributes:
        coordinator_id: name in logs and in the audit.
        topics: names of the topics.
        group: consumer group; the same for the leader and its standbys.
        bank_id: the bank that is made when it is first proposed to; with ``{camera_id}`` in it, one for each camera.
        max_banks: banks known beyond which none is made any more, but by an operator.
        rules: how proposals wait.
        limits: how far a bank may go.
        half_life_s: after so much capture time what was counted weighs half.
        clock_slack: so far ahead of our clock a frame may be captured; None = any, as in a recording that is read as
            fast as may be.
        learn_s: seconds of normal video that are wanted of a camera whose bank has no number of its own; until then
            its rounds are short.
        lease_s: a standby takes over when the leader was silent for so long.
        refresh_s: how often the store is looked at for changes made by others.
        send_timeout_s: longest wait for the broker to confirm.
        restore_timeout_s: longest wait for the archive to be read.
        receive_s: longest wait for records; bounds how late a round is settled.
        max_records: records received at once.
        work_interval_s: shortest time between two looks at what is held, which cost the more the more is held.
        tell_s: how often the counters are logged.
    """

    coordinator_id: str
    topics: TopicNames
    group: str = "engram-coordinators"
    bank_id: str = "shared"
    max_banks: int = 1000
    rules: RoundRules = field(default_factory=RoundRules)
    limits: ChangeLimits = field(default_factory=ChangeLimits)
    half_life_s: float = 604_800.0
    clock_slack: timedelta | None = CLOCK_SLACK
    learn_s: float = 60.0
    lease_s: float = 10.0
    refresh_s: float = 1.0
    send_timeout_s: float = 10.0
    restore_timeout_s: float = 60.0
    receive_s: float = 0.2
    max_records: int = 500
    work_interval_s: float = 0.1
    tell_s: float = 60.0


def is_named(bank_id: str, template: str) -> bool:
    """Whether settings give this bank to some camera, see ``CoordinatorOptions.bank_id``."""
    before, camera, after = template.partition(CAMERA)
    return bank_id == before if not camera else bank_id.startswith(before) and bank_id.endswith(after)
