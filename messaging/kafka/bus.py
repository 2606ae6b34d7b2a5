"""Where Kafka publishers, subscriptions, outboxes and readers come from."""

import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack

from messaging.kafka.connection import KafkaConnection, KafkaOptions, quiet_client_logs, try_again_after_refusals
from messaging.kafka.handover import StateTopic
from messaging.kafka.outbox import KafkaOutbox
from messaging.kafka.poller import Membership, group_consumer
from messaging.kafka.publisher import KafkaPublisher
from messaging.kafka.reader import KafkaReader
from messaging.kafka.subscription import KafkaSubscription
from messaging.kafka.topics import GrowthWatch, KafkaTopics
from messaging.ports import Begin, Look, Subscription, TopicSpec, as_it_is
from messaging.topics import check_group, check_state_topic, writer_scope
from schemas.errors import FatalError, TransientError

_PUBLISHER_CLOSE_S = 5.0


class KafkaBus:
    """See ``ports.Bus``. Connects when something is first asked of it."""

    def __init__(self, connection: KafkaConnection, options: KafkaOptions | None = None) -> None:
        quiet_client_logs()
        try_again_after_refusals()
        self._connection = connection
        self._options = options or KafkaOptions()
        self._lock = threading.Lock()
        self._known_topics: KafkaTopics | None = None
        self._open: list[KafkaPublisher | KafkaSubscription | KafkaOutbox | KafkaReader] = []

    def publisher(self) -> KafkaPublisher:
        """See ``ports.Bus``. TransientError: broker away."""
        publisher = KafkaPublisher(self._connection, self._options, self._require_one, self._limit_of)
        self._open.append(publisher)
        return publisher

    def subscription(
        self,
        topics: Sequence[str],
        group: str,
        state_topic: str | None = None,
        begin: Begin = "oldest",
        look: Look = as_it_is,
    ) -> KafkaSubscription:
        """See ``ports.Bus``."""
        check_group(group)
        wanted = [*topics, state_topic] if state_topic is not None else list(topics)
        began_with = self._require(wanted)
        if state_topic is not None:
            check_state_topic(state_topic, began_with[state_topic], {name: began_with[name] for name in topics})
        membership = Membership(
            consumer=group_consumer(self._connection, self._options, group),
            topics=tuple(topics),
            scope=writer_scope(topics, group),
            states=StateTopic(self._connection, state_topic, self._topics(), look) if state_topic else None,
            is_broker_there=self._is_broker_there,
            growth=GrowthWatch(self._topics(), began_with),
            begin=begin,
        )
        subscription = KafkaSubscription(membership, self._options)
        self._open.append(subscription)
        return subscription

    def outbox(self, subscription: Subscription, writer_id: str) -> KafkaOutbox:
        """See ``ports.Bus``. TransientError: broker away."""
        if not isinstance(subscription, KafkaSubscription):
            raise FatalError(f"an outbox needs a subscription of the same bus, got {type(subscription).__name__}")
        outbox = KafkaOutbox(self._connection, self._options, subscription, f"{subscription.scope}/{writer_id}")
        self._open.append(outbox)
        return outbox

    def reader(
        self, topics: Sequence[str], from_beginning: bool, partitions: Collection[int] | None = None
    ) -> KafkaReader:
        """See ``ports.Bus``. FatalError: a topic does not exist; TransientError: broker away."""
        began_with = self._require(topics)
        growth = GrowthWatch(self._topics(), began_with)
        reader = KafkaReader(self._connection, began_with, from_beginning, growth, partitions)
        self._open.append(reader)
        return reader

    def create_topics(self, specs: Sequence[TopicSpec]) -> Sequence[str]:
        """See ``ports.Bus``."""
        return self._topics().create(specs)

    def existing_topics(self) -> Mapping[str, int]:
        """See ``ports.Bus``."""
        return self._topics().existing()

    def close(self) -> None:
        """See ``ports.Bus``."""
        with ExitStack() as last_first:  # all are closed, even if one raises
            if self._known_topics is not None:
                last_first.callback(self._known_topics.close)
            for item in self._open:
                if isinstance(item, KafkaPublisher):
                    last_first.callback(item.close, _PUBLISHER_CLOSE_S)
                else:
                    last_first.callback(item.close)
        self._open.clear()

    def _topics(self) -> KafkaTopics:
        with self._lock:
            if self._known_topics is None:
                self._known_topics = KafkaTopics(self._connection, self._options.replication_factor)
            return self._known_topics

    def _require(self, names: Sequence[str]) -> Mapping[str, int]:
        return self._topics().require(names)

    def _require_one(self, name: str) -> None:
        self._require([name])

    def _limit_of(self, name: str) -> int | None:
        return self._topics().max_message_bytes(name)

    def _is_broker_there(self) -> bool:
        try:
            return bool(self.existing_topics())
        except TransientError:
            return False
