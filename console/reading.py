"""From topics to the board: one thread, a consumer group of its own, positions behind what the file holds.

A batch goes onto the board, then into the file, then its positions are committed. So after a crash some records come
again, which changes nothing, and none is missed. Scores are too many to be kept: they are read from now on, without a
group, and who cannot keep up passes over the oldest.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

from console.board import Board
from console.keep import Keep
from messaging.ports import Bus, Claim, Intake, Progress, Reader, Record, Subscription
from schemas.cameras import CameraGapEvent, CameraStatus, CameraViewEvent
from schemas.codec import HEADER, decode_header, decode_message
from schemas.errors import BadMessageError, TransientError
from schemas.media import EventMediaEvent
from schemas.messages import AnomalyEvent, BankHeader, FrameScore
from schemas.topics import TopicNames
from schemas.verdicts import OperatorVerdict, VerdictOutcomeEvent

_log = logging.getLogger(__name__)

BATCH, SCORE_BATCH = 500, 2000
POLL_S = 0.2
MAX_FULL_BATCHES = 20
"""So many batches of scores that left more behind mean that this console cannot keep up."""
ASK_S = 5.0


@dataclass(slots=True)
class ReadTally:
    """What became of the records; received = taken + all of bad. ``passed_over`` were never received."""

    received: int = 0
    taken: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    passed_over: int = 0


class Reading:
    """Reads until told to stop.

    Args:
        bus: where the topics are.
        topics: their names.
        board: filled.
        keep: written; its name makes the group's.
        group: beginning of the group's name.
        monotonic: seconds that only grow.
    """

    def __init__(
        self,
        bus: Bus,
        topics: TopicNames,
        board: Board,
        keep: Keep,
        group: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = bus
        self._topics = topics
        self._board = board
        self._keep = keep
        self._monotonic = monotonic
        self.group = f"{group}-{keep.name}"
        self.tally = ReadTally()
        self.turned_at_s = monotonic()
        self.trouble: str | None = None
        self._claims: dict[tuple[str, int], Claim] = {}
        self._handled: dict[Claim, int] = {}
        self._score_ends: dict[int, int] = {}
        self._num_full = 0
        self._takers: Mapping[str, Callable[[Record], None]] = {
            topics.anomaly_events: self._take_event,
            topics.operator_verdicts: self._take_verdict,
            topics.memory_events: self._take_outcome,
            topics.memory_banks: self._take_bank,
            topics.camera_status: self._take_status,
            topics.camera_events: self._take_camera_event,
            topics.frame_scores: self._take_score,
            topics.event_media: self._take_media,
        }
        num_bad = board.restore(list(keep.rows()))
        if num_bad:
            _log.warning("%d things of the console's file could not be read, they are left out", num_bad)
        self._subscription: Subscription | None = None
        self._scores: Reader | None = None

    def open(self) -> None:
        """Join the group, and begin with the scores that come from now on.

        Raises:
            TransientError: the log is away.
            FatalError: a topic is missing.
        """
        self._scores = self._bus.reader([self._topics.frame_scores], from_beginning=False)
        told = [name for name in self._takers if name != self._topics.frame_scores]
        if self._topics.event_media not in self._bus.existing_topics():
            told.remove(self._topics.event_media)
            _log.warning("no clips are shown: make the topic %s, 'engram topics create'", self._topics.event_media)
        self._subscription = self._bus.subscription(told, self.group, begin="oldest")

    def run(self, stop: threading.Event) -> None:
        """Read until ``stop`` is set.

        Raises:
            FatalError: the membership is beyond repair.
        """
        try:
            while not stop.is_set():
                self.step(POLL_S)
        finally:
            self.close()

    def step(self, timeout_s: float) -> int:
        """One turn; how many records came."""
        assert self._subscription is not None, "open comes before step"
        intake = self._subscription.receive(BATCH, timeout_s)
        self._follow(intake)
        for delivery in intake.deliveries:
            self._take(delivery.record)
            self._handled[delivery.claim] = delivery.record.offset + 1
        num_scores = self._read_scores()
        self._settle()
        self.turned_at_s = self._monotonic()
        return len(intake.deliveries) + num_scores

    def close(self) -> None:
        """Leave the group; the file and the bus belong to who gave them."""
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None
        if self._scores is not None:
            self._scores.close()
            self._scores = None

    def num_partitions(self) -> int:
        """Partitions, without those of scores, that are ours; callable from any thread."""
        return len(self._claims)

    def lag(self) -> int:
        """Records, without scores, that wait to be read."""
        return 0 if self._subscription is None else self._subscription.lag()

    def silent_s(self) -> float:
        """Since the last turn."""
        return self._monotonic() - self.turned_at_s

    def _follow(self, intake: Intake) -> None:
        for claim in intake.revoked:
            self._claims.pop((claim.topic, claim.partition), None)
            self._handled.pop(claim, None)
        for assigned in intake.assigned:
            self._claims[assigned.claim.topic, assigned.claim.partition] = assigned.claim
        for lost in intake.lost:
            place = f"{lost.claim.topic}/{lost.claim.partition}@{lost.first_offset}"
            _log.warning("up to %d records from %s on were deleted before they were read", lost.num_records, place)

    def _settle(self) -> None:
        """Write what is new, then move the positions. What fails is told, and tried again at the next turn."""
        assert self._subscription is not None
        changes = self._board.drain()
        try:
            self._keep.write(changes)
        except TransientError as error:
            self._board.take_back(changes)
            self._tell(str(error))
            return
        progress = [Progress(claim, offset, offset) for claim, offset in self._handled.items()]
        try:
            if progress:
                self._subscription.commit(progress)
        except TransientError as error:
            self._tell(f"the position is not durable yet: {error}")
            return
        self._handled.clear()
        self.trouble = None

    def _tell(self, trouble: str) -> None:
        if self.trouble is None:
            _log.warning("%s", trouble)
        self.trouble = trouble

    def _read_scores(self) -> int:
        assert self._scores is not None
        try:
            records = self._scores.read(SCORE_BATCH, 0.0)
        except TransientError as error:
            self._tell(str(error))
            return 0
        for record in records:
            expected = self._score_ends.get(record.partition)
            if expected is not None and self._num_full < 0:
                self.tally.passed_over += record.offset - expected
            self._score_ends[record.partition] = record.offset + 1
            self._take(record)
        self._num_full = self._num_full + 1 if len(records) == SCORE_BATCH else 0
        if self._num_full > MAX_FULL_BATCHES:
            _log.warning("scores come faster than this console reads them: it goes on with the newest")
            self._scores.close()
            self._scores = self._bus.reader([self._topics.frame_scores], from_beginning=False)
            self._num_full = -1
        return len(records)

    def _take(self, record: Record) -> None:
        self.tally.received += 1
        try:
            self._takers[record.topic](record)
        except BadMessageError as error:
            self.tally.bad[error.reason] += 1
            if self.tally.bad[error.reason] == 1:
                place = f"{record.topic}/{record.partition}@{record.offset}"
                _log.warning("skipped %s: %r, and will count more of them", place, str(error)[:300])
        else:
            self.tally.taken += 1

    def _heard_at(self, record: Record) -> datetime:
        """The log's time of a record, which is no later than now whatever its writer's clock says."""
        now = self._board.now()
        at_s = min(max(record.timestamp_ms, 0) / 1000, now.timestamp())
        return datetime.fromtimestamp(at_s, timezone.utc)

    def _take_event(self, record: Record) -> None:
        self._board.take_event(decode_message(AnomalyEvent, record.value), self._heard_at(record))

    def _take_score(self, record: Record) -> None:
        self._board.take_score(decode_message(FrameScore, record.value), self._heard_at(record))

    def _take_verdict(self, record: Record) -> None:
        self._board.take_verdict(decode_message(OperatorVerdict, record.value))

    def _take_outcome(self, record: Record) -> None:
        self._board.take_outcome(decode_message(VerdictOutcomeEvent, record.value).data)

    def _take_bank(self, record: Record) -> None:
        if record.value is None:
            return  # a tombstone; what was announced stays in the list
        header = decode_header(BankHeader, record.header(HEADER), record.key, "bank_id")
        self._board.take_bank(header, record.value)

    def _take_media(self, record: Record) -> None:
        self._board.take_media(decode_message(EventMediaEvent, record.value).data)

    def _take_status(self, record: Record) -> None:
        if record.value is None:
            self._board.forget_camera((record.key or b"").decode("utf-8", "replace"))
        else:
            self._board.take_status(decode_message(CameraStatus, record.value))

    def _take_camera_event(self, record: Record) -> None:
        try:
            self._board.take_camera_event(decode_message(CameraGapEvent, record.value))
        except BadMessageError:
            self._board.take_camera_event(decode_message(CameraViewEvent, record.value))


class Pulse(threading.Thread):
    """Asks the log every few seconds whether it is there, so that pages can say that it is not.

    Args:
        ask: raises TransientError where it does not answer.
        monotonic: seconds that only grow.
    """

    def __init__(self, ask: Callable[[], object], monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name="pulse", daemon=True)
        self._ask = ask
        self._monotonic = monotonic
        self._answered_at_s = monotonic()
        self._ending = threading.Event()

    def run(self) -> None:
        """The thread's body."""
        while not self._ending.wait(ASK_S):
            self.look()

    def look(self) -> None:
        """Ask once."""
        try:
            self._ask()
        except TransientError as error:
            _log.debug("the log does not answer: %s", error)
        else:
            self._answered_at_s = self._monotonic()

    def silent_s(self) -> float:
        """Since it answered last."""
        return self._monotonic() - self._answered_at_s

    def end(self) -> None:
        """Ask no more."""
        self._ending.set()
