"""Membership of a consumer group, as seen by its user."""

from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError

from kafka import TopicPartition
from kafka.structs import ConsumerGroupMetadata

from messaging.kafka.connection import KafkaOptions
from messaging.kafka.inbox import CommitRequest, Inbox
from messaging.kafka.marks import Mark, Partition
from messaging.kafka.poller import Membership, PollThread
from messaging.ports import Intake, OutRecord, Progress, Record
from schemas.errors import FatalError, TransientError

_JOIN_S = 15.0


class KafkaSubscription:
    """See ``ports.Subscription``. Thread-safe.

    Attributes:
        scope: within which the ids of its outboxes are told apart.
        group: its name.
        unread: a partition that nobody of the group reads, see ``outbox``; None without a state topic.
    """

    def __init__(self, membership: Membership, options: KafkaOptions) -> None:
        self.scope = membership.scope
        self.group = str(membership.consumer.config["group_id"])
        self.unread = None if membership.states is None else TopicPartition(membership.states.topic, 0)
        self._options = options
        # Who has states commits soon after each record; others (a coordinator's rounds) need many before they can.
        has_states = membership.states is not None
        self._inbox = Inbox(stuck_after_s=options.max_poll_interval_s, counts_attempts=has_states)
        self._poller = PollThread(membership, options, self._inbox)
        self._poller.start()

    def receive(self, max_records: int, timeout_s: float) -> Intake:
        """See ``ports.Subscription``."""
        return self._inbox.take(max_records, timeout_s)

    def commit(self, progress: Sequence[Progress]) -> None:
        """See ``ports.Subscription``. Carried out by the poll thread, so it may take a fifth of a second."""
        request = CommitRequest(tuple(self.kept(progress)))
        self._inbox.ask_commit(request)
        try:
            request.done.result(timeout=self._options.commit_timeout_s)
        except FutureTimeoutError as error:
            raise TransientError(
                f"positions were not committed within {self._options.commit_timeout_s:.0f} s; the broker is away or "
                f"the group is rebalancing, and the records will come again"
            ) from error

    def kept(self, progress: Sequence[Progress]) -> Sequence[Progress]:
        """As it is to be committed: a replay that is still being read is not cut short; for the outbox, too."""
        return self._inbox.kept(progress)

    def membership_for(self, progress: Sequence[Progress]) -> ConsumerGroupMetadata | None:
        """The group generation that all these claims belong to; for the outbox.

        Raises:
            OwnershipLostError: a claim has ended.
        """
        return self._inbox.membership_for(progress)

    def marks(self, progress: Sequence[Progress]) -> dict[Partition, Mark]:
        """What to commit for ``progress``; for the outbox."""
        return self._inbox.marks(progress)

    def far_behind(self, records: Sequence[OutRecord], progress: Sequence[Progress]) -> list[OutRecord]:
        """States that the outbox is to write again together with ``records``, see ``states``."""
        return self._inbox.far_behind(records, progress)

    def committed(self, progress: Sequence[Progress], written: Sequence[Record]) -> None:
        """These positions and records are durable; the outbox tells."""
        self._inbox.committed(progress, written)

    def distrust_states(self) -> None:
        """The outbox does not know what became of states that it wrote."""
        self._inbox.distrust_states()

    def abandon(self) -> None:
        """See ``ports.Subscription``."""
        self._inbox.abandon()

    def rewind(self) -> None:
        """See ``ports.Subscription``."""
        self._inbox.rewind()

    def lag(self) -> int:
        """See ``ports.Subscription``. Counts transaction markers too."""
        return self._poller.lag + self._inbox.queued()[0]

    @property
    def num_skipped(self) -> int:
        """Offsets that could not be read and were stepped over."""
        return self._poller.corrupt.num_skipped

    def close(self) -> None:
        """See ``ports.Subscription``."""
        self._inbox.close()
        self._poller.join(_JOIN_S)
        if self._poller.is_alive():
            raise FatalError(
                f"the poll thread must end within {_JOIN_S:.0f} s of closing, it has not; kill the process"
            )
