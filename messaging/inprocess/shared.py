"""What everything of one in-process bus shares: topics and groups under one lock."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from messaging.dead_letters import is_letter, shortened
from messaging.inprocess.group import Group, Position
from messaging.inprocess.log import NeededFrom, TopicLog
from messaging.ports import OutRecord, TooLargeError
from schemas.errors import BufferFullError, FatalError


@dataclass(slots=True)
class SharedLog:
    """Guarded by ``changed``. ``writers`` has the newest outbox of each writer id."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    topics: dict[str, TopicLog] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=lambda: defaultdict(Group))
    writers: dict[str, Any] = field(default_factory=dict)
    clock: Callable[[], float] = time.time

    def topic(self, name: str) -> TopicLog:
        """The log of a topic that must exist."""
        try:
            return self.topics[name]
        except KeyError:
            text = f"topic '{name}' must exist, there are {sorted(self.topics)}; run `engram topics create`"
            raise FatalError(text) from None

    def begin_at_ends(self, group: str, topics: Sequence[str]) -> None:
        """Let ``group`` begin with what comes from now on, where it has no position."""
        for name in topics:
            for number, log in enumerate(self.topic(name).partitions):
                self.groups[group].positions.setdefault((name, number), Position(log.end, log.end))

    def append(self, records: Sequence[OutRecord]) -> None:
        """Add all records, or none.

        Raises:
            BadMessageError: one is too large.
            BufferFullError: a topic has no room.
        """
        by_topic: dict[str, list[OutRecord]] = defaultdict(list)
        records = [self._fitting(record) for record in records]
        for record in records:
            by_topic[record.topic].append(record)
        for name, group in by_topic.items():
            if not self.topics[name].make_room(group, self._needed_from(name)):
                raise BufferFullError(f"topic '{name}' is full of records that its readers have not handled yet: wait")
        timestamp_ms = int(self.clock() * 1000)
        for record in records:
            self.topics[record.topic].append(record, timestamp_ms, self._needed_from(record.topic))
        self.changed.notify_all()

    def _fitting(self, record: OutRecord) -> OutRecord:
        """The record, or a letter without its value where the topic does not take it whole."""
        topic = self.topic(record.topic)
        try:
            topic.check_size(record)
        except TooLargeError:
            if not is_letter(record):
                raise
            record = shortened(record)
            topic.check_size(record)
        return record

    def _needed_from(self, topic: str) -> NeededFrom:
        groups = [group for group in self.groups.values() if topic in group.partitions]
        ends = [log.end for log in self.topics[topic].partitions]

        def needed_from(partition: int) -> int:
            return min(
                (group.position((topic, partition)).replay_from for group in groups), default=ends[partition] + 1
            )

        return needed_from
