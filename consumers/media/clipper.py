"""Follows events as a group, and makes a picture and a clip of each: at its end, and early if it goes on.

The log is the queue. A message is settled once what it asks for is in the store and told of; while store or broker take
nothing, the group's position stands. What was made before a crash is known by the message that lies beside it in the
store, so it is told again and not made again, and never replaced by less after retention took frames.
"""

import hashlib
import heapq
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from consumers.group import GroupReader, Received
from consumers.media.footage import FrameLog, Passage, Wanted
from consumers.media.holdings import Holdings
from consumers.media.making import Film, Made, Picture, make
from consumers.media.store import CLIP, PICTURE, MediaStore, Retention, media_name, sweep
from messaging.ports import OutRecord, Publisher
from schemas.backoff import Backoff
from schemas.codec import EVENT_HEADERS, encode_message
from schemas.errors import BadMessageError, TransientError
from schemas.media import EventMedia, MediaFrames, media_event
from schemas.messages import AnomalyEvent, EventData

log = logging.getLogger(__name__)

POLL_S = 0.5
BATCH = 50
MAX_WAITING = 1000
"""Events that wait for the seconds after them; what comes meanwhile stays in the log."""
SWEEP_S = 600.0
FLUSH_S = 10.0
SETTLING_S = 1.0
"""A frame needs so long to the log."""
MEMORY = 10_000
FRAMES_GONE = "frames_gone"
"""Why there is nothing: retention was faster."""


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """What a clip holds, and how long it stays.

    Attributes:
        topic: where media are told of, with prefix.
        before_s, after_s: of video around an event.
        longest_s: of a clip; the rest of an event that is longer is left out, and its peak is in the picture.
        early_s: an event that has gone on for so long gets its first clip.
        boxes: draw the regions on the picture.
        retention: of the store.
    """

    topic: str
    before_s: float = 5.0
    after_s: float = 5.0
    longest_s: float = 600.0
    early_s: float = 60.0
    boxes: bool = False
    retention: Retention = field(default_factory=Retention)


@dataclass(slots=True)
class ClipCounts:
    """What became of events: with all frames, with some, with none; made early; told again after a restart.

    ``failed`` counts tries that store or broker did not let come to their end.
    """

    whole: int = 0
    partial: int = 0
    gone: int = 0
    early: int = 0
    repeated: int = 0
    failed: int = 0


class StoppedError(Exception):
    """Told to stop while the world was wrong: the message stays open, and comes again."""


@dataclass(frozen=True, slots=True, order=True)
class _Job:
    """A message whose media are due at ``due_s`` of the clock."""

    due_s: float
    number: int
    received: Received[AnomalyEvent] = field(compare=False)

    @property
    def event(self) -> EventData:
        return self.received.message.data

    @property
    def is_final(self) -> bool:
        return self.event.phase == "end"


class Clipper:
    """Makes media. For one thread.

    Args:
        reader: of events; closed by ``run``.
        frames: where they are looked up; closed by ``run``.
        store: closed by its owner.
        publisher: for what is told of media; closed by its owner.
        options: see there.
        now: the wall clock, UTC.
        clock: seconds that only grow.

    Attributes:
        reader: of events.
        turned_at_s: when it came round last, or began to make something, on its clock.
    """

    def __init__(
        self,
        reader: GroupReader[AnomalyEvent],
        frames: FrameLog,
        store: MediaStore,
        publisher: Publisher,
        options: ClipOptions,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts = ClipCounts()
        self.reader = reader
        self.turned_at_s = clock()
        self._failing_since_s: float | None = None
        self._frames = frames
        self._store = store
        self._holdings = Holdings(store)
        self._publisher = publisher
        self._options = options
        self._now = now
        self._clock = clock
        self._waiting: list[_Job] = []
        self._num_jobs = 0
        self._early: OrderedDict[str, None] = OrderedDict()
        self._swept_at_s = float("-inf")

    def run(self, stop: threading.Event, at_end: Callable[[], None] = lambda: None) -> None:
        """Make media until ``stop`` is set; what still waits then for the seconds after it comes again.

        Args:
            stop: ends it.
            at_end: called before the group is left, for who has more to do with it.

        Raises:
            FatalError: the membership or the store is beyond repair; nothing that was not made is passed over.
        """
        try:
            while not stop.is_set():
                self.turn(stop)
            at_end()
        except StoppedError:
            log.info("stopped with %d events not made; they come again", self.reader.num_open)
        finally:
            self.reader.commit()
            self.reader.close()
            self._frames.close()

    def failing_s(self) -> float:
        """For how long what is made now was tried in vain; 0 = nothing is tried again. From any thread."""
        since_s = self._failing_since_s
        return 0.0 if since_s is None else self._clock() - since_s

    def turn(self, stop: threading.Event) -> None:
        """One step of ``run``."""
        self.turned_at_s = self._clock()
        room = MAX_WAITING - len(self._waiting)
        if room > 0:
            self._take(self.reader.receive(self._patience_s(), min(BATCH, room)))
        else:
            stop.wait(self._patience_s())
        while self._waiting and self._waiting[0].due_s <= self._clock():
            self._do(heapq.heappop(self._waiting), stop)
        self.reader.commit()
        self._sweep()

    def finish(self) -> None:
        """Make all there is now, without waiting for more frames: for a log that ends with its process."""
        while found := self.reader.receive(0.0, BATCH):
            self._take(found)
        for job in sorted(self._waiting):
            try:
                self._make(job)
            except TransientError as error:
                log.error("no media of event %s: %s", job.event.event_id, error)  # noqa: TRY400 - it says where
            self.reader.settle([job.received.place])
        self._waiting.clear()

    def _patience_s(self) -> float:
        due_s = self._waiting[0].due_s - self._clock() if self._waiting else POLL_S
        return min(POLL_S, max(0.0, due_s))

    def _take(self, found: Sequence[Received[AnomalyEvent]]) -> None:
        for one in found:
            wait_s = self._wait_s(one.message)
            if wait_s is None:
                self.reader.settle([one.place])
                continue
            # By the log's clock it may have been told long ago: then all is there.
            told_s = max(0.0, self._now().timestamp() - one.record.timestamp_ms / 1000)
            self._num_jobs += 1
            heapq.heappush(self._waiting, _Job(self._clock() + max(0.0, wait_s - told_s), self._num_jobs, one))

    def _wait_s(self, message: AnomalyEvent) -> float | None:
        """How long after it was told an event has all its frames in the log; None: nothing is made of this message."""
        data = message.data
        if data.phase == "end":
            self._early.pop(data.event_id, None)
            # Never below 0: who told it before its own last frame would be waited for as long.
            seen_s = max(0.0, (message.time - data.last_at).total_seconds())
            return max(0.0, self._options.after_s - seen_s) + SETTLING_S
        lasts_s = (message.time - data.started_at).total_seconds()
        if lasts_s < self._options.early_s or data.event_id in self._early:
            return None
        self._early[data.event_id] = None
        if len(self._early) > MEMORY:
            self._early.popitem(last=False)
        return 0.0

    def _do(self, job: _Job, stop: threading.Event) -> None:
        """Make what a message asks for, however long store and broker are away."""
        backoff = Backoff(0.5, 30.0)
        while True:
            self.turned_at_s = self._clock()
            try:
                self._make(job)
                break
            except TransientError as error:
                wait_s = backoff.next_s()
                self.counts.failed += 1
                if self._failing_since_s is None:
                    self._failing_since_s = self._clock()
                log.warning("media of event %s wait, trying again in %.1f s: %s", job.event.event_id, wait_s, error)
                self.reader.commit()  # what was made before is durable, however long this takes
                self._swept_at_s = float("-inf")
                self._sweep()  # it may be full
                if stop.wait(wait_s):
                    raise StoppedError from error
        self._failing_since_s = None
        self.reader.settle([job.received.place])

    def _make(self, job: _Job) -> None:
        name = media_name(job.event)
        said = self._holdings.said(name + CLIP)
        if said is not None and (said.final or not job.is_final):
            self.counts.repeated += 1
            self._tell([self._holdings.said(name + PICTURE) or self._without(job, "picture", FRAMES_GONE), said])
            return
        passage = Passage(self._wanted(job))
        made, why = self._made(job, passage)
        film, standing = made.film, self._holdings.standing(name + CLIP)
        if film is not None and standing is not None and standing.frames and film.num_shown < standing.frames.shown:
            film = None  # retention was faster than the event: what was made early says more
        picture = (
            self._kept_picture(job, made.picture, name)
            if made.picture
            else self._again(job, name + PICTURE, self._holdings.standing(name + PICTURE))
        )
        if film is not None:
            clip: EventMedia | None = self._kept_clip(job, film, passage.num_missing(film.num_shown), name)
        else:
            clip = self._again(job, name + CLIP, standing)
        clip = clip or self._without(job, "clip", why)
        self._count(job, clip)
        self._tell([picture or self._without(job, "picture", why), clip])

    def _made(self, job: _Job, passage: Passage) -> tuple[Made, str]:
        """What can be made, and why it is nothing if it is."""
        try:
            regions = job.event.regions if self._options.boxes else ()
            return make(self._frames.read(passage), job.event.peak.frame_index, regions), FRAMES_GONE
        except BadMessageError as error:
            log.warning("event %s: %s", job.event.event_id, error)
            return Made(None, None), error.reason

    def _wanted(self, job: _Job) -> Wanted:
        data, record, options = job.event, job.received.record, self._options
        first_at = data.started_at - timedelta(seconds=options.before_s)
        last_at = data.last_at + timedelta(seconds=options.after_s)
        return Wanted(
            data.camera_id,
            data.session_id,
            first_at,
            min(last_at, first_at + timedelta(seconds=options.longest_s)),
            data.frames,
            job.received.message.time,
            record.timestamp_ms,
            record.partition,
        )

    def _kept_picture(self, job: _Job, picture: Picture, name: str) -> EventMedia:
        index = picture.header.frame_index
        frames = MediaFrames(first=index, last=index, shown=1, missing=0)
        at = picture.header.captured_at
        media = self._about(job, "picture", picture.jpeg, (picture.width, picture.height), (at, at), frames, name)
        return self._holdings.keep(name + PICTURE, picture.jpeg, media)

    def _kept_clip(self, job: _Job, film: Film, num_missing: int, name: str) -> EventMedia:
        first, last = film.first, film.last
        frames = MediaFrames(first=first.frame_index, last=last.frame_index, shown=film.num_shown, missing=num_missing)
        times = first.captured_at, last.captured_at
        media = self._about(job, "clip", film.mp4, (film.width, film.height), times, frames, name)
        return self._holdings.keep(name + CLIP, film.mp4, media)

    def _about(
        self,
        job: _Job,
        kind: str,
        content: bytes,
        size: tuple[int, int],
        times: tuple[datetime, datetime],
        frames: MediaFrames,
        name: str,
    ) -> EventMedia:
        empty, now = self._without(job, kind, ""), self._now()
        return empty.model_copy(
            update={
                "uri": self._store.uri(name + (CLIP if kind == "clip" else PICTURE)),
                "why": None,
                "num_bytes": len(content),
                "digest": hashlib.sha256(content).hexdigest(),
                "width": size[0],
                "height": size[1],
                "first_at": times[0],
                "last_at": times[1],
                "frames": frames,
                "made_at": now,
                "expires_at": self._options.retention.expiry(now),
            }
        )

    def _without(self, job: _Job, kind: str, why: str) -> EventMedia:
        """Of what could not be made."""
        data = job.event
        return EventMedia(
            event_id=data.event_id,
            camera_id=data.camera_id,
            session_id=data.session_id,
            kind="clip" if kind == "clip" else "picture",
            final=job.is_final,
            uri=None,
            why=why or None,
            content_type="video/mp4" if kind == "clip" else "image/jpeg",
            num_bytes=0,
            digest=None,
            width=0,
            height=0,
            first_at=None,
            last_at=None,
            frames=None,
            made_at=self._now(),
            expires_at=None,
        )

    def _again(self, job: _Job, name: str, standing: EventMedia | None) -> EventMedia | None:
        """What was made before, now as the last word if the event is over; None if nothing was."""
        if standing is None:
            return None
        update = {"final": standing.final or job.is_final, "made_at": self._now()}
        return self._holdings.say(name, standing.model_copy(update=update))

    def _tell(self, media: Sequence[EventMedia]) -> None:
        answers: list[Exception | None] = []
        for each in media:
            message = encode_message(media_event(each))
            record = OutRecord(self._options.topic, each.camera_id, message, EVENT_HEADERS)
            self._publisher.publish(record, answers.append)
        self._publisher.flush(FLUSH_S)
        if answers != [None] * len(media):
            failed = next((answer for answer in answers if answer is not None), "the broker has not answered")
            raise TransientError(f"media must be told of on {self._options.topic}: {failed}")

    def _count(self, job: _Job, clip: EventMedia) -> None:
        missing = clip.frames.missing if clip.frames else job.event.frames.last - job.event.frames.first + 1
        if not job.is_final:
            self.counts.early += 1
        elif clip.uri is None:
            self.counts.gone += 1
        elif missing:
            self.counts.partial += 1
        else:
            self.counts.whole += 1
        if clip.uri is None:
            log.warning("no media of event %s (%s): its frames are gone", clip.event_id, clip.why)
        elif missing:
            log.warning("the clip of event %s lacks %d frames, which retention took", clip.event_id, missing)
        else:
            log.info("event %s: %s", clip.event_id, clip.uri)

    def _sweep(self) -> None:
        if self._clock() - self._swept_at_s < SWEEP_S:
            return
        self._swept_at_s = self._clock()
        try:
            sweep(self._store, self._options.retention, self._now())
        except TransientError as error:
            log.warning("what is kept for too long could not be deleted now: %s", error)
