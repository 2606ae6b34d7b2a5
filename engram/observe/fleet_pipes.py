"""What flows through the pipes of a fleet, for the console: asked of the broker."""

import threading
import time
from collections import Counter
from collections.abc import Callable

from console.board import Board
from console.plumbing import Lag, Plumbing, producer_account, reading_account
from console.reading import ReadTally
from engram.build.adapters import kafka_connection
from engram.build.options import coordinator_group, worker_group
from messaging.kafka.connection import quiet_client_logs
from messaging.kafka.groups import GroupView, KafkaGroups
from messaging.kafka.topics import KafkaTopics
from schemas.errors import EngramError
from schemas.settings.connections import KafkaSection
from schemas.topics import TopicNames

KEPT_S = 4.0
"""So long an answer is given again, however many ask."""


class FleetPipes:
    """Asks the broker how far the groups are, at most every ``KEPT_S``. From any thread."""

    def __init__(
        self,
        kafka: KafkaSection,
        board: Board,
        tally: ReadTally,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kafka = kafka
        self._board = board
        self._tally = tally
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: _Groups | None = None
        self._kept: tuple[float, tuple[Lag, ...], tuple[str, ...]] | None = None

    def __call__(self) -> Plumbing:
        """All of it now; what could not be asked is told in words."""
        with self._lock:
            if self._kept is None or self._clock() - self._kept[0] > KEPT_S:
                self._kept = (self._clock(), *self._look())
            _, lags, trouble = self._kept
        accounts = (*map(producer_account, self._board.statuses()), reading_account(self._tally))
        return Plumbing(lags, accounts, trouble)

    def close(self) -> None:
        """Release the connections."""
        with self._lock:
            if self._asked is not None:
                self._asked.close()
                self._asked = None

    def _look(self) -> tuple[tuple[Lag, ...], tuple[str, ...]]:
        try:
            if self._asked is None:
                self._asked = _Groups(self._kafka)
            return self._asked.look(), ()
        except EngramError as error:
            if self._asked is not None:
                self._asked.close()
                self._asked = None
            return (), (f"the groups could not be asked: {error}",)


class _Groups:
    """Connections to ask with; for one thread at a time."""

    def __init__(self, kafka: KafkaSection) -> None:
        quiet_client_logs()
        names = TopicNames.with_prefix(kafka.topic_prefix)
        connection = kafka_connection(kafka)
        self._topics = KafkaTopics(connection, kafka.replication_factor)
        try:
            counts = self._topics.require([names.frames, names.memory_updates])
            self._groups = KafkaGroups(connection)
        except BaseException:
            self._topics.close()
            raise
        self._asked = {
            worker_group(kafka): {names.frames: counts[names.frames]},
            coordinator_group(kafka): {names.memory_updates: counts[names.memory_updates]},
        }

    def look(self) -> tuple[Lag, ...]:
        return tuple(_lag(self._groups.look(group, topics)) for group, topics in self._asked.items())

    def close(self) -> None:
        self._groups.close()
        self._topics.close()


def _lag(view: GroupView) -> Lag:
    waiting: Counter[str] = Counter()
    for partition in view.partitions:
        waiting[partition.owner or "nobody"] += partition.lag
    return Lag(view.name, view.state, view.lag, tuple(member.client_id for member in view.members), +waiting)
