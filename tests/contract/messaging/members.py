"""A member of a group as tests need it: takes everything, remembers everything, waits with a deadline."""

import time
from collections.abc import Callable

from messaging.ports import Assigned, Claim, Delivery, Outbox, OutRecord, Progress, Subscription

DEADLINE_S = 60.0


class Member:
    """Receives until a condition holds."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.claims: dict[tuple[str, int], Claim] = {}
        self.assigned: list[Assigned] = []
        self.revoked: list[Claim] = []
        self.deliveries: list[Delivery] = []

    def step(self, timeout_s: float = 0.1, max_records: int = 100) -> list[Delivery]:
        intake = self.subscription.receive(max_records, timeout_s)
        for claim in intake.revoked:
            assert self.claims.pop((claim.topic, claim.partition)) == claim
        for assigned in intake.assigned:
            where = (assigned.claim.topic, assigned.claim.partition)
            assert where not in self.claims
            self.claims[where] = assigned.claim
        for delivery in intake.deliveries:
            assert delivery.claim in self.claims.values()
        self.revoked += intake.revoked
        self.assigned += intake.assigned
        self.deliveries += intake.deliveries
        return list(intake.deliveries)

    def until(self, condition: Callable[[], bool], what: str, timeout_s: float = DEADLINE_S) -> "Member":
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"{what} not within {timeout_s} s; {self}"
            self.step()
        return self

    def until_owning(self, num_partitions: int) -> "Member":
        return self.until(lambda: len(self.claims) == num_partitions, f"{num_partitions} claims")

    def until_received(self, num_records: int) -> "Member":
        return self.until(lambda: len(self.deliveries) >= num_records, f"{num_records} records")

    def values(self) -> list[bytes | None]:
        return [delivery.record.value for delivery in self.deliveries]

    def forget(self) -> None:
        self.deliveries.clear()
        self.assigned.clear()
        self.revoked.clear()

    def progress(self) -> list[Progress]:
        """Everything received under claims still held counts as handled."""
        ends = {d.claim: d.record.offset + 1 for d in self.deliveries if d.claim in self.claims.values()}
        return [Progress(claim, end, end) for claim, end in ends.items()]

    def __str__(self) -> str:
        return f"claims {self.claims}, received {len(self.deliveries)}"


def commit_all(outbox: Outbox, member: Member, records: list[OutRecord]) -> None:
    outbox.commit(records, member.progress())


def together(members: list[Member], condition: Callable[[], bool], what: str, timeout_s: float = DEADLINE_S) -> None:
    """All members take turns until the condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} not within {timeout_s} s; {[str(member) for member in members]}"
        for member in members:
            member.step(timeout_s=0.02)
