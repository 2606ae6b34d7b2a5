"""What each role may do on the broker, and no more: one table, for ``engram topics acls`` and for tests.

Read, Write and Alter imply Describe, so only the console needs that by itself: it shows how far the groups are, which
takes the ends of topics that it must not read.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Literal, get_args

from engram.build.options import coordinator_group, worker_group
from schemas.settings.connections import KafkaSection
from schemas.topics import TopicNames

Role = Literal["edge", "worker", "coordinator", "consumer", "notify", "clips", "replay", "console", "operator"]
ROLES: tuple[Role, ...] = get_args(Role)

Resource = Literal["topic", "group", "transactional-id"]
Operation = Literal["Read", "Write", "Describe", "Create", "Alter", "AlterConfigs", "DescribeConfigs"]


@dataclass(frozen=True, slots=True)
class Right:
    """What may be done with one resource.

    Attributes:
        resource: of what kind it is.
        name: its own, with prefix.
        operations: that are allowed.
        is_prefix: whether ``name`` is how the names of several begin.
    """

    resource: Resource
    name: str
    operations: tuple[Operation, ...]
    is_prefix: bool = False


def rights_of(role: Role, kafka: KafkaSection) -> tuple[Right, ...]:
    """All that ``role`` needs under the prefix and the groups of ``kafka``."""
    topics, prefix = TopicNames.with_prefix(kafka.topic_prefix), kafka.topic_prefix
    if role == "operator":
        allowed: tuple[Operation, ...] = ("Create", "Alter", "AlterConfigs", "DescribeConfigs")
        return tuple(Right("topic", name, allowed) for name in topics.all())
    writes, reads = _topics(topics)[role]
    rights = [Right("topic", name, ("Write",)) for name in writes if name not in reads]
    rights += [Right("topic", name, ("Read", "Write") if name in writes else ("Read",)) for name in reads]
    if role == "worker":
        rights.append(Right("group", worker_group(kafka), ("Read",)))
        rights.append(Right("transactional-id", f"{topics.frames}/", ("Write",), True))
    elif role == "coordinator":
        rights.append(Right("group", coordinator_group(kafka), ("Read",)))
    elif role in ("consumer", "notify", "clips", "console"):
        rights.append(Right("group", f"{prefix}engram-{role}", ("Read",), True))
    if role == "console":
        rights += [Right("topic", name, ("Describe",)) for name in (topics.frames, topics.memory_updates)]
        rights += [Right("group", name, ("Describe",)) for name in (worker_group(kafka), coordinator_group(kafka))]
    return tuple(rights)


def _topics(names: TopicNames) -> Mapping[Role, tuple[Sequence[str], Sequence[str]]]:
    """What each role writes, and what it reads."""
    cameras = (names.camera_status, names.camera_events)
    told = (names.anomaly_events, names.event_media, names.frame_scores, *cameras, names.memory_events)
    return {
        "edge": ((names.frames, names.camera_status, names.camera_events), (names.camera_status,)),
        "worker": (
            (names.frame_scores, names.anomaly_events, names.memory_updates, names.camera_states, names.dead_letters),
            (names.frames, names.camera_states),
        ),
        "coordinator": (
            (names.memory_banks, names.memory_events, names.dead_letters),
            (names.memory_updates, names.operator_verdicts, names.anomaly_events, names.memory_banks),
        ),
        "consumer": ((), (*told, names.dead_letters)),
        "notify": ((names.dead_letters,), (names.anomaly_events,)),
        "clips": ((names.event_media,), (names.anomaly_events, names.frames)),
        "replay": ((), (names.frames,)),
        "console": ((names.operator_verdicts,), (*told, names.operator_verdicts, names.memory_banks)),
    }


def acl_commands(rights: Sequence[Right], user: str, bootstrap_servers: str) -> Iterator[str]:
    """Lines for a shell on a machine of the broker: rights of one kind go into one of them."""
    start = f"kafka-acls.sh --bootstrap-server {quote(bootstrap_servers)} --command-config admin.properties --add"
    alike: dict[tuple[str, tuple[str, ...], bool], list[str]] = {}
    for right in rights:
        alike.setdefault((right.resource, right.operations, right.is_prefix), []).append(right.name)
    for (resource, operations, is_prefix), names in alike.items():
        parts = [start, f"--allow-principal {quote(f'User:{user}')}"]
        parts += [f"--operation {operation}" for operation in operations]
        parts += [f"--{resource} {quote(name)}" for name in names]
        yield " ".join([*parts, *(["--resource-pattern-type prefixed"] if is_prefix else [])])
