"""What an operator says of an event, as a record to write; the event it is about, and the answer that it gets.

A verdict carries what the event looked like, so that whoever applies it (``memory_store.coordinator.verdicts``) needs
nothing else. It is made of an event's message, the newest that is at hand.
"""

import secrets
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime

from consumers.sieve import Sieve
from messaging.ports import OutRecord, Reader
from schemas.codec import decode_message, encode_message
from schemas.errors import BadMessageError, FatalError, SettingsError
from schemas.messages import AnomalyEvent, EventData, HeatMap
from schemas.verdicts import MAX_REGIONS, Judgement, OperatorVerdict, Scope, VerdictOutcome, VerdictOutcomeEvent

MAX_OPERATOR, MAX_REASON = 100, 300
"""Letters: both stand in the bank's log, which travels in a record's header."""
SHOWING = ("normal", "real")
"""Judgements that say what an event looked like."""
POLL_S = 0.2
BATCH = 500


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said, and by whom.

    Attributes:
        judgement, scope: see ``schemas.verdicts``.
        operator: as in ``ann@desk2``.
        reason: in words; may be empty.
        expires_at: from then on as if nothing had been said; None = it stays.

    Raises:
        SettingsError: operator or reason cannot be.
    """

    judgement: Judgement
    operator: str
    scope: Scope = "place"
    reason: str = ""
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        for what, text, longest in (("operator", self.operator, MAX_OPERATOR), ("reason", self.reason, MAX_REASON)):
            if len(text) > longest or not text.isprintable():
                raise SettingsError(f"the {what} must be one line of at most {longest} letters, got {text[:60]!r}")
        if not self.operator.strip():
            raise SettingsError("the operator must say who speaks, got nothing; as in ann@desk2")


def new_verdict_id() -> str:
    """An id that no other verdict has."""
    return secrets.token_hex(16)


def verdict_on(event: EventData, said: Statement, given_at: datetime, verdict_id: str) -> OperatorVerdict:
    """What is said of an event, with what it looked like.

    Args:
        event: its newest state that is at hand.
        said: of it.
        given_at: UTC.
        verdict_id: the same for the same verdict, however often it is sent, see ``new_verdict_id``.

    Raises:
        SettingsError: nothing can be said of such an event, or not for so long.
    """
    if said.expires_at is not None and said.expires_at <= given_at:
        raise SettingsError(f"a verdict must end after it was given, {said.expires_at:%Y-%m-%dT%H:%M:%SZ} is over")
    if event.trouble is not None:
        text = f"a verdict must be on what a camera shows, '{event.event_id}' says that the camera itself is in trouble"
        raise SettingsError(f"{text} ({event.trouble}); put the camera right, or let it learn anew")
    shows = said.judgement in SHOWING
    return OperatorVerdict(
        verdict_id=verdict_id,
        event_id=event.event_id,
        camera_id=event.camera_id,
        bank_id=event.provenance.bank_id,
        bundle_digest=event.provenance.bundle_digest,
        judgement=said.judgement,
        scope=said.scope,
        operator=said.operator,
        reason=said.reason,
        given_at=given_at,
        expires_at=said.expires_at,
        trace=_trace(event) if shows else None,
        extents=event.extents if shows and event.trace is not None else (),
        regions=event.regions[:MAX_REGIONS] if shows else (),
    )


def verdict_record(verdict: OperatorVerdict, topic: str) -> OutRecord:
    """For the topic of verdicts; the key is the bank, so those on one bank are decided in their order."""
    return OutRecord(topic, verdict.bank_id, encode_message(verdict))


def find_event(reader: Reader, event_id: str, timeout_s: float) -> EventData:
    """The newest message of an event among all that the topic of events holds.

    Args:
        reader: of that topic, from its beginning.
        event_id: ``<camera>:<session>:<first frame>``.
        timeout_s: longest wait for the end of the topic.

    Raises:
        FatalError: there is none.
        TransientError: the end was not reached in time.
    """
    found: AnomalyEvent | None = None
    named = event_id.encode()
    for records in reader.batches_to_end(timeout_s):
        for record in records:
            if record.value is None or named not in record.value:
                continue
            try:
                event = decode_message(AnomalyEvent, record.value)
            except BadMessageError:
                continue  # the one that is looked for may still come
            if event.data.event_id == event_id and (found is None or event.sequence > found.sequence):
                found = event
    if found is None:
        text = f"an event must be one that the topic still holds, there is no '{event_id}'"
        raise FatalError(f"{text}; see 'engram events', or name the archive it was kept in with --archive")
    return found.data


class OutcomeSieve(Sieve[VerdictOutcomeEvent]):
    """Of the topic of what came of verdicts; a repeat has the same CloudEvents ``source`` and ``id``."""

    def __init__(self) -> None:
        super().__init__(VerdictOutcomeEvent)

    def camera_of(self, message: VerdictOutcomeEvent) -> str:
        """See ``Sieve``."""
        return message.data.camera_id

    def identity_of(self, message: VerdictOutcomeEvent) -> Hashable:
        """See ``Sieve``."""
        return message.source, message.id


def awaited_outcome(
    reader: Reader, verdict_id: str, timeout_s: float, clock: Callable[[], float] = time.monotonic
) -> VerdictOutcome | None:
    """What came of a verdict; None if nobody has answered in time.

    Args:
        reader: of the topic of outcomes, opened before the verdict was written.
        verdict_id: of it.
        timeout_s: longest wait.
        clock: seconds, monotonic.
    """
    sieve, deadline = OutcomeSieve(), clock() + timeout_s
    while (left_s := deadline - clock()) > 0:
        for record in reader.read(BATCH, min(POLL_S, left_s)):
            outcome = sieve.take(record)
            if outcome is not None and outcome.data.verdict_id == verdict_id:
                return outcome.data
    return None


def _trace(event: EventData) -> HeatMap:
    """The most unusual that each place was; of an event that was told before 1.3 its peak's heat map."""
    trace = event.trace or event.heat_map
    if trace.scale != "common" or not trace.values:
        text = (
            f"a verdict must say what an event looked like, '{event.event_id}' does not on a scale that is known here"
        )
        raise SettingsError(f"{text} (an Engram before events 1.1 told of it); wait for the next of its kind")
    return trace
