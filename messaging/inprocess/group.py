"""Consumer groups in memory: who owns which partition, under which claim, and how far it was handled.

Plain data without locks: ``inprocess`` calls it under its own.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from messaging.ports import Claim, Progress

TopicPartition = tuple[str, int]
Member = TypeVar("Member", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Position:
    """What a group committed on one partition; see ``Progress``."""

    next_offset: int = 0
    replay_from: int = 0


@dataclass(slots=True, eq=False)
class Membership:
    """One member's view: its claims, and what it has not been told yet."""

    topics: tuple[str, ...]
    claims: dict[TopicPartition, Claim] = field(default_factory=dict)
    revoked: list[Claim] = field(default_factory=list)
    fresh: list[Claim] = field(default_factory=list)


def balance(partitions: Sequence[int], owners: Mapping[int, Member], members: Sequence[Member]) -> dict[int, Member]:
    """Spread partitions evenly over members, moving as few as possible.

    Args:
        partitions: all partitions of a topic.
        owners: who has which now; may name members that have left.
        members: who is there, at least one.
    """
    held: dict[Member, list[int]] = {member: [] for member in members}
    for partition in partitions:
        if partition in owners and owners[partition] in held:
            held[owners[partition]].append(partition)
    fair, extra = divmod(len(partitions), len(members))
    by_holding = sorted(members, key=lambda member: -len(held[member]))
    quota = {member: fair + (rank < extra) for rank, member in enumerate(by_holding)}
    result = {partition: member for member in members for partition in held[member][: quota[member]]}
    free = [partition for partition in partitions if partition not in result]
    for member in members:
        missing = quota[member] - min(quota[member], len(held[member]))
        result.update(dict.fromkeys(free[:missing], member))
        free = free[missing:]
    return result


class Group:
    """Members of one consumer group, their claims, and the group's positions."""

    def __init__(self) -> None:
        self.positions: dict[TopicPartition, Position] = {}
        self.partitions: dict[str, int] = {}
        self._members: list[Membership] = []
        self._epochs: dict[TopicPartition, int] = {}

    def join(self, topics: Mapping[str, int]) -> Membership:
        """Become a member on ``topics`` (name to number of partitions)."""
        member = Membership(tuple(topics))
        self.partitions.update(topics)
        self._members.append(member)
        self._rebalance()
        return member

    def leave(self, member: Membership) -> None:
        """Give up membership; the others take over."""
        if member in self._members:
            self._members.remove(member)
            member.claims.clear()
            self._rebalance()

    def rewind(self, member: Membership) -> None:
        """End every claim of ``member`` and give it the same partitions under new ones."""
        for where in list(member.claims):
            self._revoke(member, where)
            self._grant(member, where)

    def commit(self, member: Membership, progress: Sequence[Progress]) -> None:
        """Note positions; claims that have ended are skipped."""
        for item in progress:
            where = (item.claim.topic, item.claim.partition)
            if member.claims.get(where) == item.claim:
                self.positions[where] = Position(item.next_offset, min(item.replay_from, item.next_offset))

    def position(self, where: TopicPartition) -> Position:
        """What was committed on a partition; the beginning if nothing was."""
        return self.positions.get(where, Position())

    def _rebalance(self) -> None:
        for topic, num_partitions in self.partitions.items():
            members = [member for member in self._members if topic in member.topics]
            if members:
                self._rebalance_topic(topic, num_partitions, members)

    def _rebalance_topic(self, topic: str, num_partitions: int, members: Sequence[Membership]) -> None:
        owners = {where[1]: member for member in members for where in member.claims if where[0] == topic}
        moved = {
            (topic, partition): member
            for partition, member in balance(range(num_partitions), owners, members).items()
            if owners.get(partition) is not member
        }
        for where, member in moved.items():
            if where[1] in owners:
                self._revoke(owners[where[1]], where)
            self._grant(member, where)

    def _grant(self, member: Membership, where: TopicPartition) -> None:
        self._epochs[where] = self._epochs.get(where, 0) + 1
        member.claims[where] = Claim(*where, epoch=self._epochs[where])
        member.fresh.append(member.claims[where])

    def _revoke(self, member: Membership, where: TopicPartition) -> None:
        claim = member.claims.pop(where)
        if claim in member.fresh:
            member.fresh.remove(claim)  # the member never heard of it, so it need not hear of its end
        else:
            member.revoked.append(claim)
