"""What ``engram clips`` does: media of events into a store, until told to stop."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from consumers.group import GroupReader
from consumers.media.clipper import ClipOptions, Clipper
from consumers.media.folder import FolderStore
from consumers.media.footage import FrameLog
from consumers.media.store import MediaStore, is_bucket
from consumers.sieve import EventSieve
from engram.observe.consumer import Follower, SeenConsumer, member
from engram.observe.desk import Desk
from engram.run.process import connected
from messaging.ports import Begin, Bus
from schemas.messages import utc_now
from schemas.topics import TopicNames

log = logging.getLogger(__name__)

CLOSE_S = 10.0
LONGEST_S = 1800.0
"""A clip of many minutes takes some to be made; whoever takes longer hangs."""


def media_store(place: str, endpoint_url: str | None = None) -> MediaStore:
    """The store at ``place``, a folder or ``s3://bucket/prefix``, that takes us.

    Raises:
        SettingsError: see ``is_bucket``, or an address that names no bucket.
        FatalError: it refuses us.
        TransientError: it is away.
    """
    store: MediaStore
    if is_bucket(place, endpoint_url):
        from consumers.media.s3 import bucket_at  # noqa: PLC0415 - needs an extra

        store = bucket_at(place, endpoint_url)
    else:
        store = FolderStore(Path(place))
    store.check()
    return store


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """Which media go where.

    Attributes:
        place: see ``media_store``.
        endpoint_url: of a server that speaks S3 and is not Amazon's.
        group: of consumers, with prefix.
        begin: where the group begins if it is new.
        options: of the clips.
    """

    place: str
    endpoint_url: str | None
    group: str
    begin: Begin
    options: ClipOptions


def run_clips(bus: Bus, names: TopicNames, request: ClipRequest, stop: threading.Event, desk: Desk) -> None:
    """Make media until ``stop`` is set. A broker or a store that is away is waited for.

    Args:
        bus: where events and frames are.
        names: of the topics.
        request: which media go where.
        stop: asks for the end.
        desk: shows how it fares.

    Raises:
        SettingsError, FatalError: see ``media_store``; or the membership is beyond repair.
    """
    desk.wait_for("the store must answer")
    store = connected(lambda: media_store(request.place, request.endpoint_url), stop)
    if store is None:
        return
    desk.wait_for("the log must answer")
    with clipper(bus, names, store, request, stop) as made:
        if made is not None:
            desk.show(SeenConsumer("clips", lambda: [_follower(request.group, made)]))
            log.info("media of %s go to %s as group %s", names.anomaly_events, request.place, request.group)
            made.run(stop)
            log.info("%s", made.counts)


def _follower(group: str, made: Clipper) -> Follower:
    outcomes = asdict(made.counts)
    failed = outcomes.pop("failed")
    seen = member(group, made.reader, outcomes, made.turned_at_s)
    return replace(seen, failed=failed, waiting_s=made.failing_s(), stuck_s=LONGEST_S)


@dataclass(frozen=True, slots=True)
class WatchedClips:
    """Media of what is watched in one process; see ``embedded.Companion``."""

    store: MediaStore
    options: ClipOptions

    def run(self, bus: Bus, names: TopicNames, stop: threading.Event) -> None:
        """See ``embedded.Companion``."""
        request = ClipRequest("", None, "clips", "oldest", self.options)
        with clipper(bus, names, self.store, request, threading.Event()) as made:
            assert made is not None, "never stopped while it joins"
            made.run(stop, at_end=made.finish)
            log.info("media: %s", made.counts)


@contextmanager
def clipper(
    bus: Bus, names: TopicNames, store: MediaStore, request: ClipRequest, stop: threading.Event
) -> Iterator[Clipper | None]:
    """One that is a member of its group; a broker that is away is waited for. None if stopped before."""
    join = partial(bus.subscription, [names.anomaly_events], request.group, begin=request.begin)
    subscription, topics = connected(join, stop), connected(bus.existing_topics, stop)
    if subscription is None or topics is None:
        yield None
        return
    spread = topics.get(names.frames, 0)
    frames = FrameLog(bus, names.frames, spread if spread == topics[names.anomaly_events] else 0)
    publisher = bus.publisher()
    try:
        yield Clipper(GroupReader(subscription, EventSieve()), frames, store, publisher, request.options, utc_now)
    finally:
        publisher.close(CLOSE_S)
