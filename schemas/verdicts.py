"""What people say of events, and what came of it: ``operator-verdicts`` and ``memory-events``, key = bank.

An operator who says *normal* teaches the memory of a camera what the counts of its video do not know; one who says
*real* guards it against being taught that. A verdict carries what the event looked like, so that whoever applies it
needs nothing else. The coordinator answers each with a ``VerdictOutcome``.
"""

from typing import Annotated, Literal

from pydantic import Field

from schemas.envelope import Envelope
from schemas.messages import Count, DerivedId, Digest, Extents, Growing, HeatMap, Id, Message, Region, UtcTime, Word

Judgement = Annotated[Literal["normal", "real", "skip", "undo"], Growing()]
"""normal: it is no news; real: never take it for normal; skip: seen, no more; undo: as if nothing had been said."""

Scope = Literal["place", "camera", "bank"]
"""Where the like of it is normal: where it was seen, anywhere at this camera, at every camera that shares the bank."""

MAX_REGIONS = 5


class OperatorVerdict(Message):
    """What somebody says of one event. Of several on one event the one given last counts."""

    schema_version: Literal[1] = 1
    verdict_id: Id = Field(description="made anew for each; a repeated record has no second effect")
    event_id: DerivedId
    camera_id: Id
    bank_id: Id = Field(description="that the event was judged by")
    bundle_digest: Digest = Field(description="what the event looked like is known on the scale of its bundle alone")
    judgement: Judgement
    scope: Scope = "place"
    operator: str = Field(min_length=1, max_length=128)
    reason: str = Field(default="", max_length=500)
    given_at: UtcTime
    expires_at: UtcTime | None = Field(default=None, description="from then on as if undone; null = it stays")
    trace: HeatMap | None = Field(
        default=None, description="of the event: the most unusual that each place was; none for skip and undo"
    )
    extents: Extents = Field(default=(), description="of the event, by place of the trace; none before events 1.3")
    regions: tuple[Region, ...] = Field(default=(), max_length=MAX_REGIONS, description="of the event's peak")


class VerdictOutcome(Message):
    """What the coordinator made of a verdict."""

    schema_version: Literal[1] = 1
    verdict_id: Id
    event_id: DerivedId
    camera_id: Id
    bank_id: Id
    judgement: Judgement
    operator: str = Field(min_length=1, max_length=128)
    outcome: Annotated[Literal["applied", "refused", "noted"], Growing()] = Field(
        description="applied: a version was written; noted: nothing to write; refused: see reason"
    )
    reason: Word | None = Field(default=None, description="of a refusal, one word")
    why: str = Field(default="", max_length=500, description="the same for a person, with what to do")
    bank_version: Count | None = Field(default=None, description="that it led to, or that was there")
    bank_digest: Digest | None = None
    decided_at: UtcTime


class VerdictOutcomeEvent(Envelope):
    """``VerdictOutcome`` as CloudEvents 1.0."""

    source: str = Field(description="/engram/banks/<bank_id>")
    subject: Id
    type: Literal["dev.engram.memory.verdict.v1"] = "dev.engram.memory.verdict.v1"
    dataschema: str = "urn:engram:schema:verdict-outcome:1"
    data: VerdictOutcome


def outcome_event(outcome: VerdictOutcome) -> VerdictOutcomeEvent:
    """In its envelope; the same outcome gives the same id."""
    return VerdictOutcomeEvent(
        id=f"{outcome.bank_id}:verdict:{outcome.verdict_id}",
        source=f"/engram/banks/{outcome.bank_id}",
        subject=outcome.camera_id,
        time=outcome.decided_at,
        partitionkey=outcome.bank_id,
        data=outcome,
    )
