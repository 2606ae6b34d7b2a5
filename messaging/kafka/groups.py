"""What an operator sees of consumer groups: who is in them, who has which partition, how far each has come."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec

from messaging.kafka.connection import KafkaConnection, quiet_client_logs
from messaging.kafka.diagnosis import reaching
from messaging.kafka.errors import translated

_log = logging.getLogger(__name__)

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class GroupMember:
    """One process of a group.

    Attributes:
        client_id: how it names itself.
        host: where it connects from.
        places: partitions that are its own, as topic and number.
    """

    client_id: str
    host: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class PartitionView:
    """How far a group has come with one partition.

    Attributes:
        owner: client id of the member that has it; None = nobody.
        committed: first offset not handled; None = the group has not begun.
        end: where the next record goes.
        lag: records that wait; marks of transactions among them count too.
    """

    topic: str
    partition: int
    owner: str | None
    committed: int | None
    end: int
    lag: int


@dataclass(frozen=True, slots=True)
class GroupView:
    """One group. ``state`` in the broker's words: Stable, Empty, Dead (there is no such group), …Rebalance."""

    name: str
    state: str
    members: tuple[GroupMember, ...]
    partitions: tuple[PartitionView, ...]

    @property
    def lag(self) -> int:
        """Records that wait, over all partitions."""
        return sum(each.lag for each in self.partitions)


class KafkaGroups:
    """Looks at groups without joining them. Connects at construction; for one thread.

    Raises:
        TransientError: no broker answers.
        FatalError: the broker refuses us.
    """

    def __init__(self, connection: KafkaConnection) -> None:
        quiet_client_logs()
        timeout_ms = int(connection.timeout_s * 1000)
        with reaching(connection, "connecting to Kafka"):
            self._admin = KafkaAdminClient(**connection.client_settings(), request_timeout_ms=timeout_ms)

    def look(self, group: str, topics: Mapping[str, int]) -> GroupView:
        """A group's members and how far they are.

        Args:
            group: its id.
            topics: that it reads, with their partitions.
        """
        with translated(f"asking about group '{group}'"):
            told = self._admin.describe_groups([group])[group]
            committed = self._admin.list_group_offsets({group: None})[group]
            places = [TopicPartition(name, number) for name, count in topics.items() for number in range(count)]
            begins, ends = (self._offsets(places, spec) for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST))
        members = tuple(_member(each) for each in told["members"])
        done = {
            place: committed[place].offset for place in places if place in committed and committed[place].offset >= 0
        }
        return group_view(group, str(told["group_state"]), members, Offsets(begins, ends, done))

    def close(self) -> None:
        """Release the connection."""
        self._admin.close()

    def _offsets(self, places: Sequence[TopicPartition], spec: Any) -> dict[Place, int]:
        found = self._admin.list_partition_offsets(dict.fromkeys(places, spec))
        return {(place.topic, place.partition): answer.offset for place, answer in found.items()}


@dataclass(frozen=True, slots=True)
class Offsets:
    """Of partitions: the first record there is, the next that will be, the first that the group has not handled."""

    begins: Mapping[Place, int]
    ends: Mapping[Place, int]
    committed: Mapping[Place, int]


def group_view(name: str, state: str, members: Sequence[GroupMember], offsets: Offsets) -> GroupView:
    """Put together who owns what and how much of it waits. What retention has deleted waits for nobody."""
    owners = {place: member.client_id for member in members for place in member.places}
    partitions = []
    for place, end in sorted(offsets.ends.items()):
        committed = offsets.committed.get(place)
        first = max(offsets.begins.get(place, 0), committed or 0)
        partitions.append(PartitionView(*place, owners.get(place), committed, end, max(0, end - first)))
    return GroupView(name, state, tuple(sorted(members, key=lambda one: one.client_id)), tuple(partitions))


def _member(told: Mapping[str, Any]) -> GroupMember:
    assignment = told["member_assignment"]
    places: list[Place] = []
    if isinstance(assignment, Mapping):
        places = [
            (each["topic"], number) for each in assignment["assigned_partitions"] for number in each["partitions"]
        ]
    return GroupMember(told["client_id"], told["client_host"].removeprefix("/"), tuple(sorted(places)))
