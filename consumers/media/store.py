"""Where media are kept: what a store must do, how its files are called, and how long they stay."""

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Protocol

from schemas.addresses import without_secrets
from schemas.errors import SettingsError
from schemas.messages import EventData

log = logging.getLogger(__name__)

BUCKET = "s3://"
"""How the address of a bucket begins; all others are folders."""
PICTURE, CLIP, ABOUT, NEXT = ".jpg", ".mp4", ".json", ".next"
"""Ends of names. What is *about* a file is the message that tells of it, written once the file is whole; while a file
is being put there, the message to come is *next*."""
_OURS = re.compile(r"[^/]+/\d{4}-\d\d-\d\d/(?P<event>[^/]+-[0-9a-f]{8})\.(?:jpg|mp4)(?:\.json|\.next)?")
_MAX_READABLE = 100


def is_bucket(place: str, endpoint_url: str | None) -> bool:
    """Whether media are in a bucket, else in a folder.

    Args:
        place: a folder, or ``s3://bucket/prefix``.
        endpoint_url: of a server that speaks S3, if somebody named one.

    Raises:
        SettingsError: it is neither, or a folder beside the address of a server, which would be asked for nothing.
    """
    if not place.strip():
        raise SettingsError("media go into a folder or to s3://bucket/prefix, got an empty text")
    if place.startswith(BUCKET):
        return True
    if "://" in place:
        raise SettingsError(f"media go into a folder or to s3://bucket/prefix, got {without_secrets(place):.200}")
    if endpoint_url is not None:
        text = f"an address of S3 goes with s3://bucket/prefix, got {without_secrets(endpoint_url):.200} and the folder"
        raise SettingsError(
            f"{text} '{place:.200}'; name a bucket, or no address (--s3-endpoint, console.media_endpoint)"
        )
    return False


@dataclass(frozen=True, slots=True)
class Stored:
    """One file of a store."""

    name: str
    num_bytes: int
    modified_at: datetime


class MediaStore(Protocol):
    """Files by name. Names are ours (``media_name``), with slashes, never from outside as they are.

    All methods raise TransientError when the store is full or away, FatalError when it refuses us.
    """

    def check(self) -> None:
        """Find out whether it is there and takes us, before anything depends on it."""

    def put(self, name: str, content: bytes, content_type: str) -> None:
        """Write a file, whole or not at all; what is there under this name is replaced."""

    def get(self, name: str) -> bytes | None:
        """What a file holds; None if there is none."""

    def uri(self, name: str) -> str:
        """By which others find it."""

    def stored(self) -> Iterable[Stored]:
        """All files under our part of the store."""

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""


def media_name(event: EventData) -> str:
    """``camera/day/event-digest``, to which the end is added; safe as a path and as a key, whatever the ids are.

    The digest is of the event's id: two events never share a name, though ids are made readable and cut off.
    """
    digest = hashlib.sha256(event.event_id.encode()).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", event.event_id)[:_MAX_READABLE]
    return f"{event.camera_id}/{event.started_at:%Y-%m-%d}/{readable}-{digest}"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long media stay.

    Attributes:
        keep: since they were written; None = for ever.
        keep_bytes: of all together; beyond it the oldest events go. None = no bound.
    """

    keep: timedelta | None = None
    keep_bytes: int | None = None

    def expiry(self, now: datetime) -> datetime | None:
        """When what is written now is deleted."""
        return None if self.keep is None else now + self.keep


def surplus(files: Iterable[Stored], retention: Retention, now: datetime) -> list[Stored]:
    """What is to be deleted, oldest first: all files of an event together, and nothing that is not ours."""
    events: dict[str, list[Stored]] = {}
    for file in files:
        event = _event_of(file)
        if event is not None:
            events.setdefault(event, []).append(file)
    oldest_first = sorted(events.values(), key=lambda each: max(file.modified_at for file in each))
    left_bytes = sum(file.num_bytes for each in oldest_first for file in each)
    going: list[Stored] = []
    for each in oldest_first:
        is_old = retention.keep is not None and max(file.modified_at for file in each) < now - retention.keep
        is_too_much = retention.keep_bytes is not None and left_bytes > retention.keep_bytes
        if is_old or is_too_much:
            going += each
            left_bytes -= sum(file.num_bytes for file in each)
    return going


def sweep(store: MediaStore, retention: Retention, now: datetime) -> int:
    """Delete what must not stay; how many files."""
    if retention == Retention():
        return 0
    going = surplus(store.stored(), retention, now)
    for file in _words_first(going):
        store.delete(file.name)
    if going:
        log.info("deleted %d files, %.1f MB, of events that are kept no longer", len(going), _megabytes(going))
    return len(going)


def _event_of(file: Stored) -> str | None:
    """The part of a file's name that the files of an event share; None where it is none of ours."""
    found = _OURS.fullmatch(file.name)
    return None if found is None else file.name[: found.end("event")]


def _words_first(going: Iterable[Stored]) -> Iterator[Stored]:
    """Event by event, what is about a file before the file: whoever dies in between must leave none without a file."""
    for _, files in groupby(going, _event_of):
        yield from sorted(files, key=lambda file: file.name.endswith((PICTURE, CLIP)))


def _megabytes(files: Iterable[Stored]) -> float:
    return sum(file.num_bytes for file in files) / 1e6
