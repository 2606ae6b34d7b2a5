"""Where the picture and the clip of an event are: ``event-media``, key = camera. The media themselves are in a store.

A message is written once what it names is whole in the store, again when it was replaced (an event that goes on gets
its clip early, and the whole of it at its end), and without a ``uri`` where there was nothing left to keep.
"""

from typing import Annotated, Literal

from pydantic import Field

from schemas.envelope import Envelope
from schemas.messages import Count, DerivedId, Digest, Growing, Id, Message, UtcTime, Word

MediaKind = Annotated[Literal["picture", "clip"], Growing()]
"""picture: the frame of the event's peak; clip: the video around the event."""

MAX_URI = 2048


class MediaFrames(Message):
    """The frames of one session that are shown. ``missing``: so many that belong between or before them were gone."""

    first: Count
    last: Count
    shown: Count
    missing: Count = Field(
        description="deleted before they could be read, or broken; those before the first shown are reckoned by the"
        " camera's frame rate"
    )


class EventMedia(Message):
    """One picture or clip of one event."""

    schema_version: Literal[1] = 1
    event_id: DerivedId
    camera_id: Id
    session_id: Id
    kind: MediaKind
    final: bool = Field(description="false: the event goes on, and the like of it comes again at its end")
    uri: str | None = Field(
        max_length=MAX_URI,
        description="file:///… or s3://bucket/key; null where nothing was kept, see why",
    )
    why: Word | None = Field(
        default=None, description="why there is none, one word; frames_gone: retention had deleted them all"
    )
    content_type: Annotated[Literal["image/jpeg", "video/mp4"], Field(description="H.264, yuv420p, for browsers")]
    num_bytes: Count
    digest: Digest | None = Field(description="SHA-256 of the file")
    width: Count = Field(description="pixels, as the producer sent them")
    height: Count
    first_at: UtcTime | None = Field(description="capture time of the first frame in it")
    last_at: UtcTime | None
    frames: MediaFrames | None
    made_at: UtcTime
    expires_at: UtcTime | None = Field(
        description="deleted soon after; sooner if the store's bound in bytes asks for it; null = no bound in time"
    )


class EventMediaEvent(Envelope):
    """``EventMedia`` as CloudEvents 1.0. The newest of an ``id`` counts."""

    subject: str = Field(description="events/<event_id>")
    type: Literal["dev.engram.media.clip.v1", "dev.engram.media.picture.v1"]
    dataschema: str = "urn:engram:schema:event-media:1"
    data: EventMedia


def media_event(media: EventMedia) -> EventMediaEvent:
    """In its envelope; the same picture or clip, made again, gives the same id."""
    stage = "final" if media.final else "early"
    return EventMediaEvent(
        type="dev.engram.media.clip.v1" if media.kind == "clip" else "dev.engram.media.picture.v1",
        # Ids of our own workers are far shorter; one that is not must not stop whoever makes media of it.
        id=f"{media.event_id[:236]}:{media.kind}:{stage}",
        source=f"/engram/{media.camera_id}",
        subject=f"events/{media.event_id}",
        time=media.made_at,
        partitionkey=media.camera_id,
        data=media,
    )
