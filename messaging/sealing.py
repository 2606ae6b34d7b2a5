"""Records with a MAC by whoever may write their topic, put on and looked at by a bus around another bus.

A broker's access rules say who may write a topic, but two may share a user, and somebody else may run the broker. So
header ``engram-mac`` has the id of a key and an HMAC-SHA-256 by it over topic, key, header ``engram`` and value. Each
role has keys of its own. Who holds keys of a role writes with the first of them, believes all of them, and refuses
records of its topics without a MAC by one; who holds none neither writes nor looks. What is repeated word for word
passes: that it has no second effect is the business of who reads it.
"""

import hmac
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from messaging.ports import (
    Begin,
    Bus,
    Intake,
    Look,
    Outbox,
    OutRecord,
    Places,
    Progress,
    Publisher,
    Reader,
    Record,
    Subscription,
    TooLargeError,
    TopicSpec,
    as_it_is,
)
from schemas.codec import HEADER
from schemas.errors import BadMessageError, FatalError, SettingsError

MAC = "engram-mac"
NO_MAC, BAD_MAC = "no_mac", "bad_mac"
SHORTEST_KEY_BYTES = 16
LOOK_S = 1.0
"""How often it is asked whether the keys are others by now."""
_PURPOSE = b"engram-mac-1"
_LINE = re.compile(r"(?P<role>[a-z]{1,32})\s+(?P<id>[A-Za-z0-9._-]{1,64})\s+(?P<secret>(?:[0-9a-fA-F]{2})+)")
_MAC = re.compile(rb"([A-Za-z0-9._-]{1,64}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Key:
    """A secret and what it is called on the wire."""

    id: str
    secret: bytes = field(repr=False)


def read_keys(text: str, roles: Sequence[str]) -> Mapping[str, tuple[Key, ...]]:
    """Keys by role from lines ``role id secret-in-hex``; the first of a role is the one to write with.

    Empty lines and what follows a # say nothing; a semicolon divides lines too, for environment variables.

    Raises:
        SettingsError: a line is something else; shows no secret.
    """
    keys: dict[str, list[Key]] = {}
    for number, line in enumerate(re.split(r"[\n;]", text), 1):
        told = line.partition("#")[0].strip()
        if not told:
            continue
        found = _LINE.fullmatch(told)
        if found is None or len(found["secret"]) < 2 * SHORTEST_KEY_BYTES or found["role"] not in roles:
            text = f"line {number} of the keys must be a role ({', '.join(roles)}), an id and at least"
            raise SettingsError(f"{text} {2 * SHORTEST_KEY_BYTES} hex digits; `openssl rand -hex 32` makes some")
        of_role = keys.setdefault(found["role"], [])
        if any(key.id == found["id"] for key in of_role):
            raise SettingsError(f"line {number} of the keys must have an id of its own, '{found['id']}' was there")
        of_role.append(Key(found["id"], bytes.fromhex(found["secret"])))
    return {role: tuple(of_role) for role, of_role in keys.items()}


class Seals:
    """Puts MACs on and looks at them. Thread-safe: what is replaced is replaced as a whole.

    Args:
        source: the keys as they are now, see ``read_keys``.
        writers: topic to the role that writes it; other topics have no MACs.
        clock: seconds, monotonic.

    Raises:
        SettingsError: the keys cannot be read at the start. Later the last good ones stay.
    """

    def __init__(
        self, source: Callable[[], str], writers: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._writers = writers
        self._clock = clock
        self._text = source()
        self._keys = self._read(self._text)
        self._looked_at = clock()

    def keys_of(self, topic: str) -> tuple[Key, ...]:
        """Those of the role that writes ``topic``, the one to write with first; empty = it has no MACs here."""
        if topic not in self._writers:
            return ()
        if self._clock() - self._looked_at >= LOOK_S:
            self._look()
        return self._keys.get(self._writers[topic], ())

    def sealed(self, record: OutRecord) -> OutRecord:
        """The record with its MAC, if its topic has MACs here."""
        keys = self.keys_of(record.topic)
        if not keys:
            return record
        header = next((value for name, value in record.headers if name == HEADER), None)
        mac = _mac(keys[0], record.topic, record.key.encode(), header, record.value)
        others = tuple((name, value) for name, value in record.headers if name != MAC)
        return replace(record, headers=(*others, (MAC, f"{keys[0].id}:{mac}".encode())))

    def looked_at(self, record: Record) -> Record:
        """The record, with what speaks against believing it."""
        keys = self.keys_of(record.topic)
        flaw = _flaw(record, keys) if keys else None
        return record if flaw is None else replace(record, flaw=flaw)

    def _look(self) -> None:
        self._looked_at = self._clock()
        text = self._source()
        if text == self._text:
            return
        self._text = text
        try:
            self._keys = self._read(text)
        except SettingsError:
            return  # half a file, or a slip of whoever is changing it: the next look is a second away

    def _read(self, text: str) -> Mapping[str, tuple[Key, ...]]:
        return read_keys(text, sorted(set(self._writers.values())))


def _flaw(record: Record, keys: Sequence[Key]) -> BadMessageError | None:
    told = record.header(MAC)
    if told is None:
        text = f"records of '{record.topic}' must have a MAC, this one has none"
        return BadMessageError(NO_MAC, f"{text}; its writer needs a key, or is not who it should be")
    found = _MAC.fullmatch(told)
    key = next((key for key in keys if found and key.id.encode() == found[1]), None)
    if found is None or key is None:
        text = f"the MAC must be by one of the keys {[key.id for key in keys]}, it is by {told[:64]!r}"
        return BadMessageError(BAD_MAC, f"{text}; give this process the new key before its writers have it")
    mac = _mac(key, record.topic, record.key or b"", record.header(HEADER), record.value)
    if hmac.compare_digest(mac.encode(), found[2]):
        return None
    text = f"the MAC by key '{key.id}' must be of this topic, key, header and value, it is not"
    return BadMessageError(BAD_MAC, f"{text}; the record was changed or forged, or came from another topic")


def _mac(key: Key, topic: str, record_key: bytes, header: bytes | None, value: bytes | None) -> str:
    parts = (topic.encode(), record_key, header, value)
    told = [b"-" if part is None else b"%d:%b" % (len(part), part) for part in parts]
    return hmac.digest(key.secret, b"".join((_PURPOSE, *told)), "sha256").hex()


class SealedBus:
    """See ``ports.Bus``: the one within, whose records have MACs."""

    def __init__(self, bus: Bus, seals: Seals) -> None:
        self._bus = bus
        self._seals = seals

    def publisher(self) -> "SealedPublisher":
        """See ``ports.Bus``."""
        return SealedPublisher(self._bus.publisher(), self._seals)

    def subscription(
        self,
        topics: Sequence[str],
        group: str,
        state_topic: str | None = None,
        begin: Begin = "oldest",
        look: Look = as_it_is,
    ) -> "SealedSubscription":
        """See ``ports.Bus``."""
        seals = self._seals
        within = self._bus.subscription(topics, group, state_topic, begin, lambda record: look(seals.looked_at(record)))
        return SealedSubscription(within, seals)

    def outbox(self, subscription: Subscription, writer_id: str) -> "SealedOutbox":
        """See ``ports.Bus``."""
        if not isinstance(subscription, SealedSubscription):
            raise FatalError(f"an outbox needs a subscription of the same bus, got {type(subscription).__name__}")
        return SealedOutbox(self._bus.outbox(subscription.within, writer_id), self._seals)

    def reader(
        self, topics: Sequence[str], from_beginning: bool, partitions: Collection[int] | None = None
    ) -> "SealedReader":
        """See ``ports.Bus``."""
        return SealedReader(self._bus.reader(topics, from_beginning, partitions), self._seals)

    def create_topics(self, specs: Sequence[TopicSpec]) -> Sequence[str]:
        """See ``ports.Bus``."""
        return self._bus.create_topics(specs)

    def existing_topics(self) -> Mapping[str, int]:
        """See ``ports.Bus``."""
        return self._bus.existing_topics()

    def close(self) -> None:
        """See ``ports.Bus``."""
        self._bus.close()


class SealedPublisher:
    """See ``ports.Publisher``."""

    def __init__(self, publisher: Publisher, seals: Seals) -> None:
        self._publisher = publisher
        self._seals = seals
        self.flush, self.close = publisher.flush, publisher.close

    def publish(self, record: OutRecord, on_done: Callable[[Exception | None], None] | None = None) -> None:
        """See ``ports.Publisher``."""
        self._publisher.publish(self._seals.sealed(record), on_done)


class SealedSubscription:
    """See ``ports.Subscription``. ``within`` is the one of the bus within."""

    def __init__(self, within: Subscription, seals: Seals) -> None:
        self.within = within
        self._seals = seals
        self.commit, self.rewind, self.lag = within.commit, within.rewind, within.lag
        self.abandon, self.close = within.abandon, within.close

    def receive(self, max_records: int, timeout_s: float) -> Intake:
        """See ``ports.Subscription``."""
        intake = self.within.receive(max_records, timeout_s)
        looked_at = (replace(each, record=self._seals.looked_at(each.record)) for each in intake.deliveries)
        return replace(intake, deliveries=tuple(looked_at))


class SealedOutbox:
    """See ``ports.Outbox``."""

    def __init__(self, outbox: Outbox, seals: Seals) -> None:
        self._outbox = outbox
        self._seals = seals
        self.close = outbox.close

    def commit(self, records: Sequence[OutRecord], progress: Sequence[Progress]) -> None:
        """See ``ports.Outbox``."""
        sealed = [self._seals.sealed(record) for record in records]
        try:
            self._outbox.commit(sealed, progress)
        except TooLargeError as error:
            given = (record for record, each in zip(records, sealed, strict=True) if each is error.record)
            raise TooLargeError(next(given, error.record), str(error)) from error


class SealedReader:
    """See ``ports.Reader``."""

    def __init__(self, reader: Reader, seals: Seals) -> None:
        self._reader = reader
        self._seals = seals
        self.seek_time, self.close = reader.seek_time, reader.close

    def read(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """See ``ports.Reader``."""
        return self._looked_at(self._reader.read(max_records, timeout_s))

    def read_to_end(self, timeout_s: float) -> Sequence[Record]:
        """See ``ports.Reader``."""
        return self._looked_at(self._reader.read_to_end(timeout_s))

    def batches_to_end(self, timeout_s: float) -> Iterator[Sequence[Record]]:
        """See ``ports.Reader``."""
        return map(self._looked_at, self._reader.batches_to_end(timeout_s))

    def lag(self) -> int:
        """See ``ports.Reader``."""
        return self._reader.lag()

    def partitions(self) -> Collection[tuple[str, int]]:
        """See ``ports.Reader``."""
        return self._reader.partitions()

    def seek(self, places: Places) -> Places:
        """See ``ports.Reader``."""
        return self._reader.seek(places)

    def _looked_at(self, records: Sequence[Record]) -> Sequence[Record]:
        return [self._seals.looked_at(record) for record in records]
