"""Files of a store with the message about each beside it, so that whoever dies in between leaves nothing untrue.

The message to come is written first (``.next``), then the file, then the message itself (``.json``). So whoever finds
a message finds its file whole; and a file that was put in the place of an earlier one by a process that died before it
said so is known all the same: its digest is in one of the two.
"""

import hashlib
import logging

from consumers.media.store import ABOUT, NEXT, MediaStore
from schemas.codec import decode_message, encode_message
from schemas.errors import BadMessageError
from schemas.media import EventMedia, EventMediaEvent, media_event

log = logging.getLogger(__name__)

_JSON = "application/json"


class Holdings:
    """Media in a store, by the names of their files.

    Args:
        store: where they lie; closed by its owner.
    """

    def __init__(self, store: MediaStore) -> None:
        self._store = store

    def keep(self, name: str, content: bytes, media: EventMedia) -> EventMedia:
        """Put a file and what is about it, in the place of what is there."""
        self._store.put(name + NEXT, encode_message(media_event(media)), _JSON)
        self._store.put(name, content, media.content_type)
        return self.say(name, media)

    def say(self, name: str, media: EventMedia) -> EventMedia:
        """Put what is about a file that is there."""
        self._store.put(name + ABOUT, encode_message(media_event(media)), _JSON)
        self._store.delete(name + NEXT)
        return media

    def said(self, name: str) -> EventMedia | None:
        """What was said of a file, in the words of whoever put it there; None where nothing was."""
        return self._message(name + ABOUT)

    def standing(self, name: str) -> EventMedia | None:
        """What is true of the file that lies there now; None where there is none, or nobody knows of it."""
        words = [media for media in (self.said(name), self._message(name + NEXT)) if media is not None]
        content = self._store.get(name) if words else None
        digest = None if content is None else hashlib.sha256(content).hexdigest()
        return next((media for media in words if media.digest == digest is not None), None)

    def _message(self, name: str) -> EventMedia | None:
        found = self._store.get(name)
        if found is None:
            return None
        try:
            return decode_message(EventMediaEvent, found).data
        except BadMessageError as error:
            log.warning("%s is none of ours, and made anew: %s", name, error)
            return None
