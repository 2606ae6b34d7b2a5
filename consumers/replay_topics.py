"""What a replay leaves in topics of its own: scores and events as workers write them, for every reader there is.

They stand under a prefix that no fleet has, in topics that are made for it, so what a fleet told stays as it was. The
same inputs give the same messages, in the same order for each camera.
"""

import threading
from collections.abc import Iterable
from contextlib import closing

from consumers.replay_folder import as_replayed
from messaging.ports import Bus, OutRecord, TopicSpec
from schemas.codec import EVENT_HEADERS, encode_message
from schemas.errors import BufferFullError, EngramError, FatalError
from schemas.messages import AnomalyEvent, FrameScore
from schemas.topics import TopicNames

READ_S = 60.0
ROOM_S = 1.0
END_S = 120.0


class ReplayTopics:
    """Writes while it runs; ``finish`` says whether the log has it all."""

    def __init__(self, bus: Bus, topics: TopicNames, partitions: int) -> None:
        """Make the topics.

        Args:
            bus: where.
            topics: with a prefix of this replay's own.
            partitions: of each topic that is made.

        Raises:
            FatalError: there is something in them.
            TransientError: the log is away.
        """
        self._topics = topics
        own = (topics.frame_scores, topics.anomaly_events)
        bus.create_topics([TopicSpec(name, partitions) for name in own if name not in bus.existing_topics()])
        for name in own:
            with closing(bus.reader([name], from_beginning=True)) as reader:
                if any(reader.batches_to_end(READ_S)):
                    raise FatalError(f"topic '{name}' must be new or empty for a replay, it holds something")
        self._publisher = bus.publisher()
        self._lock = threading.Lock()
        self._failure: Exception | None = None

    def add_scores(self, scores: Iterable[FrameScore]) -> None:
        """Send scores.

        Raises:
            EngramError: the log does not take them.
        """
        for score in scores:
            self._send(OutRecord(self._topics.frame_scores, score.camera_id, encode_message(as_replayed(score))))

    def add_events(self, events: Iterable[AnomalyEvent]) -> None:
        """Send messages of events.

        Raises:
            EngramError: the log does not take them.
        """
        for event in events:
            value = encode_message(event)
            self._send(OutRecord(self._topics.anomaly_events, event.partitionkey, value, EVENT_HEADERS))

    def finish(self) -> None:
        """Wait until the log has all of it.

        Raises:
            FatalError: it has not.
        """
        is_whole = self._publisher.flush(END_S)
        with self._lock:
            if self._failure is not None or not is_whole:
                why = self._failure or f"no answer for {END_S:.0f} s"
                raise FatalError(f"the topics must take all of a replay, they did not: {why}; delete them, try again")

    def close(self) -> None:
        """Release."""
        self._publisher.close(0.0)

    def _send(self, record: OutRecord) -> None:
        while self._failure is None:
            try:
                self._publisher.publish(record, self._done)
            except BufferFullError:
                self._publisher.flush(ROOM_S)
            else:
                return
        raise EngramError(f"a replay stops where its topics take no more: {self._failure}")

    def _done(self, error: Exception | None) -> None:
        if error is not None:
            with self._lock:
                self._failure = self._failure or error
