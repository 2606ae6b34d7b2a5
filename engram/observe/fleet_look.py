"""Asks broker and store how the fleet fares; see ``fleet`` for what comes of it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime

from engram.build.adapters import kafka_connection, open_store_for_worker
from engram.build.options import coordinator_group, worker_group
from engram.observe.fleet import BankRow, Fleet, NewestScores
from memory_store.store import BankReader, all_banks
from messaging.kafka.groups import KafkaGroups
from messaging.kafka.tail import TailReader
from messaging.kafka.topics import GrowthWatch, KafkaTopics
from schemas.errors import EngramError
from schemas.messages import utc_now
from schemas.settings import WorkerSettings
from schemas.topics import TopicNames

NEWEST = 500
"""Scores of each partition that are read at first. A camera whose last score lies farther back is not seen."""
READ_S = 10.0


class FleetLook:
    """Looks again and again; made by ``open_fleet_look``."""

    def __init__(
        self,
        settings: WorkerSettings,
        topics: KafkaTopics,
        groups: KafkaGroups,
        store: BankReader | EngramError,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._kafka = settings.kafka
        self._names = TopicNames.with_prefix(settings.kafka.topic_prefix)
        self._counts = topics.require([self._names.frames, self._names.frame_scores, self._names.memory_updates])
        connection = kafka_connection(settings.kafka)
        scores = {self._names.frame_scores: self._counts[self._names.frame_scores]}
        self._reader = TailReader(connection, scores, NEWEST, GrowthWatch(topics, scores))
        self._groups = groups
        self._store = store
        self._newest = NewestScores()
        self._now = now

    def look(self) -> Fleet:
        """The fleet now.

        Raises:
            TransientError: the broker is away.
        """
        for records in self._reader.batches_to_end(READ_S):
            self._newest.take(records)
        counts, names = self._counts, self._names
        groups = (
            self._groups.look(worker_group(self._kafka), {names.frames: counts[names.frames]}),
            self._groups.look(coordinator_group(self._kafka), {names.memory_updates: counts[names.memory_updates]}),
        )
        banks, trouble = self._banks()
        return Fleet(self._now(), groups, self._newest.rows(), banks, {"store": trouble} if trouble else {})

    def close(self) -> None:
        """Release the reader; the rest belongs to who gave it."""
        self._reader.close()

    def _banks(self) -> tuple[list[BankRow], str]:
        """The store's banks, and why there are not all to be seen."""
        if isinstance(self._store, EngramError):
            return [], str(self._store)
        try:
            found, damaged = all_banks(self._store)
        except EngramError as error:
            return [], str(error)
        rows = [BankRow(bank.bank_id, bank.version, bank.committed_at, bank.frozen) for bank in found]
        return rows, "; ".join(map(str, damaged))


@contextmanager
def open_fleet_look(settings: WorkerSettings) -> Iterator[FleetLook]:
    """All that is asked, opened. A store that cannot be had is told in its place and ends nothing.

    Raises:
        TransientError: no broker answers.
        FatalError: the broker refuses us, or a topic is missing.
    """
    connection = kafka_connection(settings.kafka)
    with ExitStack() as opened:
        store: BankReader | EngramError
        try:
            store = opened.enter_context(open_store_for_worker(settings.store))
        except EngramError as error:
            store = error
        topics = opened.enter_context(closing(KafkaTopics(connection, settings.kafka.replication_factor)))
        groups = opened.enter_context(closing(KafkaGroups(connection)))
        yield opened.enter_context(closing(FleetLook(settings, topics, groups, store)))
