"""Pictures and clips of events: what was told of them on ``event-media``, and how the console reaches them.

Nothing of a message leads to a file: a name is made of the event alone, as ``engram clips`` makes it, and is looked
up in the place that the settings name.
"""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from console.kept import Ledger, Row
from consumers.media.store import CLIP, PICTURE, media_name
from schemas.codec import encode_message
from schemas.media import EventMedia
from schemas.messages import EventData

ENDS: Mapping[str, str] = {"clip": CLIP, "picture": PICTURE}
"""Kinds that are shown, and how their files end."""


class MediaBook:
    """The newest word on each picture and clip, bounded: the oldest goes first. Not thread-safe.

    Args:
        ledger: told what is to be kept.
        max_events: bound.
    """

    def __init__(self, ledger: Ledger, max_events: int) -> None:
        self._ledger = ledger
        self._max_events = max_events
        self._told: OrderedDict[str, dict[str, EventMedia]] = OrderedDict()

    def take(self, media: EventMedia) -> bool:
        """The next word; whether it is news. The last word on a finished event stands against one on its beginning."""
        known = self._told.setdefault(media.event_id, {}).get(media.kind)
        if known is not None and (known.final, known.made_at) >= (media.final, media.made_at):
            return False
        self._told[media.event_id][media.kind] = media
        at_ms = int(media.made_at.timestamp() * 1000)
        self._ledger.put(Row("media", _key(media.event_id, media.kind), at_ms, encode_message(media)))
        while len(self._told) > self._max_events:
            event_id, gone = self._told.popitem(last=False)
            for kind in gone:
                self._ledger.drop("media", _key(event_id, kind))
        return True

    def of(self, event_id: str) -> Mapping[str, EventMedia]:
        """What was told of an event, by kind."""
        return dict(self._told.get(event_id, {}))


class MediaPlace(Protocol):
    """Where media lie; a name is relative, ours, and safe as a path."""

    def file(self, name: str) -> Path | None:
        """A file of this machine; None if there is none."""

    def link(self, name: str) -> str | None:
        """An address that a browser may read for a while; None where there is no such thing."""


class MediaFolder:
    """What ``engram clips FOLDER`` writes, where this machine sees it.

    Args:
        root: the folder; may be absent, and come later.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def file(self, name: str) -> Path | None:
        """See ``MediaPlace``. A link that leads out of the folder leads nowhere."""
        try:
            root = self._root.resolve(strict=True)
            found = (root / name).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            return None
        return found if found.is_relative_to(root) and found.is_file() else None

    def link(self, name: str) -> str | None:  # noqa: ARG002 - files are passed on
        """See ``MediaPlace``."""
        return None


def name_of(event: EventData, kind: str) -> str:
    """The file of an event, relative to the place of all."""
    return media_name(event) + ENDS[kind]


def _key(event_id: str, kind: str) -> str:
    return f"{event_id}/{kind}"
