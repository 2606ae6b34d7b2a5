"""Everything that travels over a topic, as frozen models. ``codec`` turns them into bytes and back.

Ids are plain text that is safe in topic keys, file names and Redis keys. Times are UTC with a zone.

Every message has a version, major.minor. The major is ``schema_version`` on the wire: a reader refuses one newer than
it knows instead of guessing. The minor is ``Message.minor``: it counts what was added since, which a reader that does
not know it passes over. So a field that is added has a default, nothing is taken away or gets another meaning within
a major, and words of a ``Growing`` list are added freely. Who writes is held to the very fields and words below.
"""

import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.json_schema import JsonSchemaValue

from schemas.traceparent import PATTERN, STATE_PATTERN, TRACEPARENT, TRACESTATE, traceparent_of, tracestate_of

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
DerivedId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,255}$")]
"""Made of several ``Id`` joined by colons, so that it can be taken apart again."""
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Unit = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0, le=2**53)]
"""As far as JSON's numbers are whole in every language."""

MAX_LEARN_S = 7 * 86_400.0
"""Longest that a camera can be asked to learn, in seconds of video: a week has seen every hour of every day."""

EARLIEST = datetime(1970, 1, 1, tzinfo=timezone.utc)
LATEST = datetime(2200, 1, 1, tzinfo=timezone.utc)
"""Times are added to and subtracted from, so they keep away from the ends of what Python can count."""


def in_utc(value: datetime) -> datetime:
    """The same moment in UTC.

    Raises:
        ValueError: it is so far away that nothing can be counted from there.
    """
    try:
        utc = value.astimezone(timezone.utc)
    except OverflowError as error:
        raise ValueError("the time must be a time that can be counted in UTC") from error
    if not EARLIEST <= utc < LATEST:
        raise ValueError(f"the time must lie from {EARLIEST:%Y} to {LATEST:%Y}")
    return utc


UtcTime = Annotated[AwareDatetime, AfterValidator(in_utc)]

READING = "reading"
"""The validation context of a reader."""
WORD = r"^[a-z][a-z0-9_]{0,31}$"
Word = Annotated[str, StringConstraints(pattern=WORD)]


def _known_or_new(value: Any, known: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    try:
        return known(value)
    except ValidationError:
        if info.context == READING and isinstance(value, str) and re.fullmatch(WORD, value):
            return value
        raise


class Growing(WrapValidator):
    """Of a list of words that minor versions add to: a reader may meet one that is not in it, a writer may not."""

    def __init__(self) -> None:
        super().__init__(_known_or_new)

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Tell other readers the same."""
        return {"type": "string", "pattern": WORD, "examples": handler(schema)["enum"]}


def _passed_on(name: str, read: Callable[[str], str | None]) -> BeforeValidator:
    def passed_on(value: Any, info: ValidationInfo) -> str | None:
        found = read(value) if isinstance(value, str) else None
        if found is None and value is not None and info.context != READING:
            raise ValueError(f"{name} must be as W3C Trace Context has it")
        return found

    return BeforeValidator(passed_on)


TraceParent = Annotated[
    Annotated[str, StringConstraints(pattern=PATTERN)] | None, _passed_on(TRACEPARENT, traceparent_of)
]
"""Anybody may have written it, so a reader takes one that is wrong for none."""

TraceState = Annotated[
    Annotated[str, StringConstraints(pattern=STATE_PATTERN)] | None, _passed_on(TRACESTATE, tracestate_of)
]
"""Likewise."""

Clock = Annotated[Literal["ntp", "camera", "arrival", "media"], Growing()]
"""Where ``captured_at`` comes from: a synchronised clock, the camera, the producer on arrival, or a file's timeline."""

ViewState = Annotated[Literal["clear", "frozen", "dark", "covered", "blurred", "moved"], Growing()]
"""clear: nothing is wrong with the picture; frozen: it no longer changes; dark: black; covered: nothing to be seen in
it; blurred: out of focus; moved: the camera looks elsewhere."""

MemoryState = Annotated[Literal["live", "learning", "frozen", "stale", "initial", "none"], Growing()]
"""live: the store's newest; learning: it has not seen enough of the camera yet to judge it by, so no event opens;
frozen: updates switched off; stale: store away, last good copy; initial: as trained; none: there is no bank."""

RecognitionState = Annotated[Literal["learning", "known", "differs", "disturbed"], Growing()]
"""Whether a camera is the one its memory knows, see ``inference.recognition``."""
TroubleCause = Annotated[Literal["picture", "error", "shift", "light"], Growing()]
"""Why it is not: another picture, badly foreseen all over, a shake, light that changes."""

Severity = Annotated[Literal["info", "warning", "critical"], Growing()]
MAX_THUMBNAIL_BYTES = 20 * 1024
"""As base64."""
MAX_GAPS = 16

EventPhase = Literal["start", "update", "end"]
EndReason = Annotated[
    Literal["cleared", "session_ended", "camera_lost", "timeout", "shutdown", "worker_lost"], Growing()
]


class Message(BaseModel):
    """Base of all wire models: frozen, and who makes one may not give it an unknown field; ``codec`` reads more.

    Attributes:
        minor: of its version; raised with each addition.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, json_schema_serialization_defaults_required=True
    )
    minor: ClassVar[int] = 0


class FrameHeader(Message):
    """Metadata of one frame; the JPEG itself is the record's value (empty for ``end_of_session``)."""

    minor: ClassVar[int] = 2

    schema_version: Literal[1] = 1
    kind: Literal["frame", "end_of_session"] = "frame"
    camera_id: Id
    session_id: Id = Field(description="one run of a producer on one camera; frame_index counts within it")
    frame_index: Count
    captured_at: UtcTime
    clock: Clock
    width: int = Field(ge=0, le=65535, description="pixels of the encoded image; 0 for end_of_session")
    height: int = Field(ge=0, le=65535)
    fps: float = Field(gt=0, le=1000, description="frames a second this session means to send")
    offset_s: float | None = Field(
        default=None,
        ge=0,
        description="where in its recording the frame is, as a player shows it; none = no recording; since 1.1",
    )
    view: ViewState | None = Field(
        default=None,
        description="what its producer makes of the picture, from the first doubt on; null = it does not look at it;"
        " since 1.2",
    )


class FrameScore(Message):
    """What a worker found on one frame. ``warming`` frames fill a window and have no numbers yet."""

    minor: ClassVar[int] = 1

    schema_version: Literal[1] = 1
    camera_id: Id
    session_id: Id
    frame_index: Count
    captured_at: UtcTime
    status: Literal["scored", "warming"]
    psnr_db: float | None = Field(description="of the prediction, on [0, 1] images; high = normal")
    feature_distance: float | None = Field(
        description="mean squared distance of queries to their item; high = irregular"
    )
    regular_score: float | None = Field(description="MNAD's weighted pixel error; high = irregular")
    patch_error: float | None = Field(description="worst patch of the error map, weighed by speed; high = irregular")
    anomaly_score: Unit | None = Field(description="calibrated and causal; high = anomalous")
    bank_id: Id
    bank_version: Count
    bank_digest: Digest
    memory_state: MemoryState
    recognition: RecognitionState | None = Field(
        default=None,
        description="whether this is the camera the memory knows; null where the bundle cannot tell; since 1.1",
    )
    bundle_digest: Digest
    proposed: bool = Field(description="whether this frame passed the gate and feeds an update proposal")
    worker_id: Id
    scored_at: UtcTime


class FrameSpan(Message):
    """The frames of one session that an event covers, and how they fared."""

    first: Count
    last: Count
    scored: Count
    missing: Count = Field(default=0, description="from first to last, those that have no score; since 1.1")


class FrameGap(Message):
    """Frames within an event that have no score, both ends included: they never came, or came after a break."""

    first: Count
    last: Count


class ScorePoint(Message):
    """One point of an event's score curve."""

    frame_index: Count
    anomaly_score: Unit


class EvidenceValue(Message):
    """What one question put to the memory of normality said, in spreads above normal (standard deviations)."""

    name: Annotated[Literal["motion", "place", "background"], Growing()] = Field(
        description="motion: moves unusually for its place; place: looks unlike what is usual at its place;"
        " background: something is there that is not there else"
    )
    spreads: float


class Rarity(Message):
    """How often normal video would be as unusual, by the calibration."""

    per_day: float = Field(ge=0, description="best estimate for one camera; beyond the footage, extrapolated")
    at_most_per_day: float = Field(ge=0, description="with 95 % confidence")
    extrapolated: bool = Field(description="rarer than the normal video of the calibration can vouch for")
    words: str = Field(max_length=200, description="the same for a person")


class Peak(Message):
    """The frame of an event with the highest anomaly score."""

    frame_index: Count
    captured_at: UtcTime
    anomaly_score: Unit
    psnr_db: float
    feature_distance: float
    regular_score: float
    evidence: tuple[EvidenceValue, ...] = Field(
        default=(), max_length=16, description="where the bundle has a memory to ask; since 1.1"
    )
    rarity: Rarity | None = Field(default=None, description="since 1.1")
    offset_s: float | None = Field(
        default=None,
        ge=0,
        description="where in its recording it is, as a player shows it; none = no recording; since 1.2",
    )


Scale = Literal["peak", "common"]


MAX_ZONES = 16
"""Of one region, the fullest."""


class Region(Message):
    """A part of the image that stood out at the peak, worst first; box = x, y, width, height in fractions."""

    box: tuple[Unit, Unit, Unit, Unit]
    score: Unit = Field(description="of its worst patch, on the scale of the heat map, 255 being 1")
    zones: tuple[Id, ...] = Field(
        default=(), max_length=MAX_ZONES, description="the camera's zones that it lies in, most of it first; since 1.2"
    )


class HeatMap(Message):
    """Where the peak frame is unusual, on a coarse grid; rows top to bottom.

    On the ``common`` scale a value v is the same in every event: its patch lies 4 v / (255 - v) spreads above the worst
    patch of a usual frame; 0 is as high as that, or below. On the scale of its ``peak`` (1.0) 255 is the frame's worst.
    """

    rows: Count
    columns: Count
    values: tuple[Annotated[int, Field(ge=0, le=255)], ...]
    scale: Annotated[Scale, Growing()] = Field(default="peak", description="since 1.1")


Extents = tuple[Annotated[int, Field(ge=0, le=255)], ...]
"""Of each place of a heat map; 255 = so many or more."""


class Thumbnail(Message):
    """The peak frame as the camera sent it, made small, with the regions' boxes drawn."""

    width: int = Field(ge=1, le=8192)
    height: int = Field(ge=1, le=8192)
    jpeg_base64: str = Field(max_length=MAX_THUMBNAIL_BYTES, pattern=r"^[A-Za-z0-9+/]+={0,2}$")


class Threshold(Message):
    """The bounds an event was opened and closed by, and where they come from."""

    enter: Unit
    exit: Unit
    method: Annotated[Literal["calibrated", "fixed"], Growing()]
    target_false_alarms_per_day: float | None


class Provenance(Message):
    """What is needed to compute this event's scores again."""

    model: str
    bundle_digest: Digest
    bank_id: Id
    bank_version: Count
    bank_digest: Digest
    memory_state: MemoryState
    worker_id: Id
    software: str


class EventData(Message):
    """State of one event at one phase. Each carries the whole state (but see ``thumbnail``) and can be read alone."""

    minor: ClassVar[int] = 5

    schema_version: Literal[1] = 1
    event_id: DerivedId = Field(
        description="<camera>:<session>:<first frame>, of a camera's trouble with ':trouble'; the same after a re-run"
    )
    phase: EventPhase
    camera_id: Id
    session_id: Id
    started_at: UtcTime
    last_at: UtcTime = Field(description="capture time of the last anomalous frame so far")
    ended_at: UtcTime | None
    end_reason: EndReason | None
    frames: FrameSpan
    current_score: Unit
    peak: Peak
    heat_map: HeatMap
    regions: tuple[Region, ...]
    curve: tuple[ScorePoint, ...]
    threshold: Threshold
    provenance: Provenance
    severity: Severity | None = Field(default=None, description="by how rare the peak is, so it never falls; since 1.1")
    clock: Word | None = Field(default=None, description="where the camera's times come from, as in frames; since 1.1")
    stretches: int = Field(
        default=1, ge=1, description="anomalous stretches that were near enough to be one event; since 1.1"
    )
    gaps: tuple[FrameGap, ...] = Field(
        default=(), max_length=MAX_GAPS, description="the first of them; frames.missing counts all; since 1.1"
    )
    thumbnail: Thumbnail | None = Field(
        default=None,
        description="in the start, the end, updates with a new peak; none where pictures are off; since 1.1",
    )
    trouble: TroubleCause | None = Field(
        default=None,
        description="why the camera is not as its memory knows it; null where the event is about what it shows;"
        " since 1.1",
    )
    trace: HeatMap | None = Field(
        default=None,
        description="the most unusual that each place was in the event so far; null in messages before 1.3; since 1.3",
    )
    extents: Extents = Field(
        default=(),
        description="of each place of the trace, how many places the largest covered that was unusual there and about"
        " as unusual as its worst; since 1.3",
    )


def _is_none(value: object) -> bool:
    return value is None


class AnomalyEvent(Message):
    """CloudEvents 1.0 envelope, structured JSON. Drop repeats by ``source`` + ``id``, order by ``sequence``."""

    specversion: Literal["1.0"] = "1.0"
    id: DerivedId = Field(description="event_id and the message's number within the event")
    source: str = Field(description="/engram/<camera_id>")
    type: Literal[
        "dev.engram.anomaly.start.v1",
        "dev.engram.anomaly.update.v1",
        "dev.engram.anomaly.end.v1",
        "dev.engram.trouble.start.v1",
        "dev.engram.trouble.update.v1",
        "dev.engram.trouble.end.v1",
    ]
    subject: str
    time: UtcTime = Field(description="capture time of the frame that caused this message")
    datacontenttype: Literal["application/json"] = "application/json"
    dataschema: str = Field(default="urn:engram:schema:anomaly-event-data:1.5", max_length=256)
    partitionkey: Id
    sequence: str = Field(pattern=r"^\d{20}$")
    traceparent: TraceParent = Field(
        default=None,
        exclude_if=_is_none,
        description="trace of the first frame of the event that has one (CloudEvents' distributed tracing); left out"
        " where none has; since 1.4",
    )
    tracestate: TraceState = Field(
        default=None,
        exclude_if=_is_none,
        description="what came with ``traceparent`` for those who trace; left out where nothing did; since 1.5",
    )
    data: EventData


FIRST_FORM = 1
"""Of the score, in what was written before it was told."""


class NormalityHeader(Message):
    """What the counts behind a bank's or a proposal's items are of, see ``memory_store.normality``."""

    rows: int = Field(ge=4, le=16384, description="cells of an image")
    columns: int = Field(ge=4, le=16384)
    at_s: float | None = Field(
        ge=EARLIEST.timestamp(),
        lt=LATEST.timestamp(),
        description="capture time that weights refer to, seconds since 1970; null if nothing was seen yet",
    )
    form: int = Field(
        default=FIRST_FORM, ge=FIRST_FORM, description="of the score that evidences, levels and peaks are counted by"
    )


class ProposalHeader(Message):
    """Header of an update proposal; the value holds running_max (M), sums (M, C), counts (M), and normality."""

    minor: ClassVar[int] = 2
    schema_version: Literal[1] = 1
    proposal_id: DerivedId = Field(description="<camera>:<session>:<first frame>-<last frame>; the same after a re-run")
    bank_id: Id
    base_version: Count
    base_digest: Digest = Field(description="digest of the items alone that the proposal was computed against")
    bundle_digest: Digest
    camera_id: Id
    session_id: Id
    first_frame: Count
    last_frame: Count
    num_frames: int = Field(ge=1)
    captured_from: UtcTime
    captured_to: UtcTime
    num_items: int = Field(ge=0, le=65536)
    item_dim: int = Field(ge=0, le=65536)
    normality: NormalityHeader | None = Field(
        default=None, description="of the counts behind the items; null = none; since 1.1, its form since 1.2"
    )


class BankHeader(Message):
    """Header of one committed bank version; the value holds items, float32 (M, C), counts of normality, exemplars."""

    minor: ClassVar[int] = 4
    schema_version: Literal[1] = 1
    bank_id: Id
    version: Count
    epoch: Id = Field(description="made anew whenever the bank is created or restored; a lower version needs a new one")
    bundle_digest: Digest
    digest: Digest = Field(description="SHA-256 of the value, and of what its counts are of before its exemplars")
    previous_digest: Digest | None
    num_items: int = Field(ge=0, le=65536)
    item_dim: int = Field(ge=0, le=65536)
    normality: NormalityHeader | None = Field(
        default=None, description="of the counts behind the items; null = none; since 1.1, its form since 1.4"
    )
    exemplar_bytes: Count = Field(
        default=0, description="at the end of the value: what operators said of events, JSON; since 1.2"
    )
    learn_s: float | None = Field(
        default=None,
        gt=0,
        le=MAX_LEARN_S,
        description="normal video that its cameras' memory must rest on, seconds; null = what memory.learn_s says;"
        " since 1.3",
    )
    committed_at: UtcTime
    audit: dict[str, Any] = Field(default_factory=dict, description="the audit entry of this commit")


def versioned(kind: type[Message]) -> type[Message]:
    """The message that has the version: ``kind`` itself, or what it envelops."""
    if "schema_version" in kind.model_fields:
        return kind
    enveloped = kind.model_fields["data"].annotation
    assert isinstance(enveloped, type) and issubclass(enveloped, Message), "a message has a version or envelops one"
    return enveloped


def utc_now() -> datetime:
    """The wall clock, UTC. Shells pass it down as a parameter; the core never calls it."""
    return datetime.now(timezone.utc)
