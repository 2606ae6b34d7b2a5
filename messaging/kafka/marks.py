"""What is committed for a partition: the offset, and in its metadata string what else a new owner must know.

The string reads ``40``, ``40;2`` or ``40;2;1900@6f1c…``: where to replay from, attempts, from where to read states.
Each field is believed by itself. One that is missing or senseless, because another program or an older Engram has
committed, says nothing: no replay, no attempts, states from the beginning.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kafka import OffsetAndMetadata, TopicPartition

Partition = tuple[str, int]

_NUMBER = re.compile("[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """From ``offset`` on a state partition has the newest record of each live key.

    Attributes:
        offset: in the state partition.
        topic_id: the broker's name for the topic, which tells it from one that is made again under its name.
    """

    offset: int
    topic_id: str


@dataclass(frozen=True, slots=True)
class Mark:
    """One commit of one partition.

    Attributes:
        next_offset: first offset not handled yet.
        replay_from: oldest offset that windows need; at most ``next_offset``.
        attempts: at the record at ``next_offset``, see ``attempts``.
        checkpoint: of the states; None = they are read from the beginning.
    """

    next_offset: int
    replay_from: int
    attempts: int = 0
    checkpoint: Checkpoint | None = None


def offsets_of(marks: Mapping[Partition, Mark]) -> dict[TopicPartition, OffsetAndMetadata]:
    """``marks`` as the client commits them."""
    return {TopicPartition(*partition): committed_as(mark) for partition, mark in marks.items()}


def committed_as(mark: Mark) -> OffsetAndMetadata:
    """The offset with its string; fields at the end that say nothing are left out."""
    told = [str(mark.replay_from)]
    if mark.attempts or mark.checkpoint:
        told.append(str(mark.attempts))
    if mark.checkpoint:
        told.append(f"{mark.checkpoint.offset}@{mark.checkpoint.topic_id}")
    return OffsetAndMetadata(mark.next_offset, ";".join(told), -1)


def read_mark(committed: OffsetAndMetadata) -> Mark:
    """The inverse of ``committed_as``, for whatever string is found; see the module's docstring."""
    told: str = committed.metadata or ""
    replay_from, attempts, states = [*told.split(";"), "", ""][:3]
    from_offset, _, topic_id = states.partition("@")
    return Mark(
        committed.offset,
        min(int(replay_from), committed.offset) if _is_number(replay_from) else committed.offset,
        int(attempts) if _is_number(attempts) else 0,
        Checkpoint(int(from_offset), topic_id) if _is_number(from_offset) and topic_id else None,
    )


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None
