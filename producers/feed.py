"""One camera's way to the log: take, sample, mask, encode, publish, count."""

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from bundles.manifest import Manifest
from inference.fit import Rate, image_misfits, misfits, noted
from inference.sampling import Sampler
from messaging.ports import OutRecord
from producers.account import CameraAccount
from producers.counters import FrameCounts
from producers.encoding import EncodedFrame, EncodingOptions, FrameEncoder
from producers.lanes import DropPolicy, Lane
from producers.outlet import Outlet
from producers.pacing import Metronome, PacingOptions, session_fps
from producers.reports import CameraReport
from producers.sources.frame import CapturedFrame, Image, Source
from producers.view import SMALL_PX, ViewJudge, view_of
from schemas.codec import encode_header
from schemas.errors import BadMessageError, BufferFullError, FatalError, SettingsError, TransientError
from schemas.messages import EARLIEST, LATEST, Clock, FrameHeader, Id

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CameraFeed:
    """What one camera sends.

    Attributes:
        camera_id: key of its records.
        source: where its frames come from; used once.
        session_id: name of this run; None = a new one of time and chance.
        frames_per_clip: frames that make one score; a recording with fewer is told to be too short.
        bundle: manifest of the bundle that the frames are for; what does not fit it is told. None = not known.
        watches_view: whether it is looked after that the picture is neither frozen, dark, covered, blurred nor moved.
        when_full: which frame is lost when there is no room; None = by the pace: newest when live, else block.
        max_staleness_s: how long a frame may wait under ``max_staleness``.
    """

    camera_id: str
    source: Source
    encoding: EncodingOptions = field(default_factory=EncodingOptions)
    pacing: PacingOptions = field(default_factory=PacingOptions)
    session_id: str | None = None
    frames_per_clip: int = 5
    when_full: DropPolicy | None = None
    max_staleness_s: float = 5.0
    watches_view: bool = False
    bundle: Manifest | None = None

    @property
    def drops(self) -> DropPolicy:
        """``when_full``, or what goes with the pace."""
        return self.when_full or ("newest" if self.pacing.mode == "live" else "block")

    def __post_init__(self) -> None:
        for name, value in (("camera_id", self.camera_id), ("session_id", self.session_id)):
            if value is not None:
                _check_id(name, value)


def _check_id(name: str, value: str) -> None:
    try:
        TypeAdapter(Id).validate_python(value)
    except ValidationError as error:
        text = f"{name} must be 1 to 64 letters, digits or . _ -, the first a letter or digit, got {value!r}"
        raise SettingsError(text) from error


def new_session_id(now: datetime) -> str:
    """Start time and chance: in order of time, and never twice."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


class FeedRun:
    """One session of one camera. ``run`` blocks; the rest may be called from any thread."""

    def __init__(
        self, feed: CameraFeed, outlet: Outlet, lane_for: Callable[[CameraAccount], Lane | None] = lambda _: None
    ) -> None:
        """Fix the session's name and rate.

        Args:
            feed: what is sent.
            outlet: the way out.
            lane_for: the lane that holds its frames back; none = they go to the publisher at once.

        Raises:
            SettingsError: the rate is unknown.
        """
        self.feed = feed
        self.session_id = feed.session_id or new_session_id(outlet.now())
        self.started_at = outlet.now()
        self.error: Exception | None = None
        self._outlet = outlet
        self._fps = session_fps(feed.pacing, feed.source)
        self._encoder = FrameEncoder(feed.camera_id, feed.encoding)
        self._account = CameraAccount(feed.camera_id, outlet, self._encoder.refuse)
        self._ledger = self._account.ledger
        self._lane = lane_for(self._account)
        self._rate: Rate | None = None
        self._judge = ViewJudge() if feed.watches_view else None
        self._next_index = 0
        self._has_spoken = False
        self._last_at = outlet.now()
        self._clock: Clock = "arrival" if feed.source.is_live else "media"

    def counts(self) -> FrameCounts:
        """What became of the frames so far."""
        return self._ledger.snapshot(self.feed.source.num_overrun, self.feed.source.num_unreadable)

    def report(self) -> CameraReport:
        """How it fares now."""
        status, other = self.feed.source.status, self._outlet.in_front(self.feed.camera_id)
        state, why = status.state, status.reason
        if self.error is not None:
            state, why = "offline", f"the session broke: {self.error}"
        return CameraReport(
            camera_id=self.feed.camera_id,
            session_id=self.session_id,
            started_at=self.started_at,
            state=state if other is None else "waiting",
            why=why if other is None else f"session {other.session_id} of {other.producer} sends this camera",
            view="clear" if self._judge is None else self._judge.view,
            view_since=(None if self._judge is None else self._judge.since) or self.started_at,
            rival=None if other is None else other.session_id,
            num_taken=self._next_index,
            wanted_fps=self._fps,
            counts=self.counts(),
        )

    def sent_nothing(self) -> bool:
        """Whether frames were lost on their way and none arrived. To be asked when all is delivered or given up."""
        counts = self.counts()
        lost = {cause for cause, number in counts.dropped.items() if number} - {"stopped", "too_slow", "twin"}
        return counts.sent + counts.spooled == 0 and (bool(lost) or counts.in_flight > 0)

    def run(self) -> None:
        """Send the source's frames until it ends or the producer stops, then end the session.

        Any error is kept in ``error`` and logged: the other cameras of the process go on.
        """
        try:
            self._send_frames()
        except Exception as error:
            self.error = error
            logger.exception("camera %s: session %s broke", self.feed.camera_id, self.session_id)
        else:
            self._tell_if_too_short()
        finally:
            self.feed.source.close()
            self._end_session()

    def _send_frames(self) -> None:
        sampler = Sampler(self.feed.pacing.fps)
        plays_back = self.feed.pacing.mode == "live" and not self.feed.source.is_live
        metronome = Metronome(time.monotonic, self._outlet.stopping) if plays_back else None
        for frame in self.feed.source:
            self._ledger.take_in()
            if self._outlet.stopping.is_set():
                self._ledger.drop("stopped")
                return
            # What could not be decoded is a gap for the worker, where it would have been sent.
            self._next_index += sum(map(sampler.takes, frame.missed))
            if not sampler.takes(frame.captured_at):
                self._ledger.sample_out()
                continue
            if metronome is not None:
                metronome.wait_for(frame.captured_at)
            self._send_frame(frame)
            if self._account.refusal is not None:
                raise self._account.refusal
            if self.feed.pacing.num_frames is not None and self._next_index >= self.feed.pacing.num_frames:
                return

    def _tell_if_too_short(self) -> None:
        if self.feed.source.is_live or self._outlet.stopping.is_set():
            return
        if self._next_index < self.feed.frames_per_clip:
            text = "camera %s: %s gave %d frames to send, and one score takes %d: nothing will be scored; is its frame"
            text += " rate (%g a second, --source-fps sets it) right?"
            name, native = self.feed.source.describe(), self.feed.source.fps or self._fps
            needed = self.feed.frames_per_clip
            logger.warning(text, self.feed.camera_id, name, self._next_index, needed, native)

    def _send_frame(self, frame: CapturedFrame) -> None:
        # Counted before anything can go wrong, so that the worker sees a lost frame as a gap.
        index, self._next_index = self._next_index, self._next_index + 1
        try:
            header = self._header("frame", index, frame.captured_at, frame.clock)
        except FatalError:
            self._ledger.drop("broken")
            raise
        self._last_at, self._clock = frame.captured_at, frame.clock
        if (other := self._outlet.in_front(self.feed.camera_id)) is not None:
            self._account.drop(header, "twin", TransientError(f"session {other.session_id} sends this camera"))
            return
        self._has_spoken = True
        try:
            image = self._made(frame)  # now, and once
            encoded = self._encoder.encode(image)
        except Exception as error:
            self._account.drop(header, error.reason if isinstance(error, BadMessageError) else "broken", error)
            if not isinstance(error, BadMessageError):
                raise
            return
        self._watch_view(header, image)
        view = None if self._judge is None else self._judge.doubt
        sent = {"width": encoded.width, "height": encoded.height, "offset_s": frame.offset_s, "view": view}
        header = header.model_copy(update=sent)
        self._watch_fit(header, image, encoded)
        self._send(header, encoded)

    def _made(self, frame: CapturedFrame) -> Image:
        """The image, as large as whoever looks at it needs it."""
        least = self.feed.encoding.least
        if least is None:
            return frame.image
        return frame.image_for(
            least if self._judge is None else (max(least[0], SMALL_PX[0]), max(least[1], SMALL_PX[1]))
        )

    def _watch_view(self, header: FrameHeader, image: Image) -> None:
        if self._judge is None:
            return
        for change in self._judge.look(image, header.captured_at):
            self._outlet.on_view(view_of(header, change))
            text = "camera %s: its view %s %s: %s"
            what = ("changes", "as a whole") if change.kind == "scene" else ("is", change.view)
            what = what if change.is_start else ("is no longer", change.view)
            logger.log(
                logging.INFO if change.kind == "scene" else logging.WARNING, text, header.camera_id, *what, change.why
            )

    def _watch_fit(self, header: FrameHeader, image: Image, encoded: EncodedFrame) -> None:
        """Say once what the bundle wants otherwise, when so many frames have come that their rate is known."""
        if (bundle := self.feed.bundle) is None:
            return
        self._rate = noted(self._rate, header)
        if (found := misfits(self._rate, header, bundle)) is None:
            return
        self._rate = replace(self._rate, is_told=True)
        for text in (*found, *image_misfits(encoded.jpeg, image[None], bundle)):
            logger.warning("camera %s, session %s: %s", header.camera_id, header.session_id, text)

    def _send(self, header: FrameHeader, encoded: EncodedFrame) -> None:
        self._ledger.hand_over(len(encoded.jpeg))
        if self._lane is not None:
            self._lane.put(header, encoded.jpeg)
        else:
            self._publish(header, encoded.jpeg)

    def _publish(self, header: FrameHeader, jpeg: bytes) -> None:
        """Hand over a frame; one that the log does not take now is dropped, with its cause."""
        record = OutRecord(self._outlet.topic, self.feed.camera_id, jpeg, encode_header(header))

        def on_done(error: Exception | None) -> None:
            self._account.answer(header, len(jpeg), error)
            self._outlet.log.answer(error)
            self._outlet.tell_room()

        self._outlet.log.hand_over()
        try:
            if self.feed.drops == "newest":
                self._outlet.publisher.publish(record, on_done)
            else:
                self._outlet.publish_patiently(record, on_done, until=self._outlet.stopping.is_set)
        except Exception as error:
            self._outlet.log.take_back()
            self._lose(header, error, len(jpeg))
            if not isinstance(error, BadMessageError | TransientError) and not self._account.may_pass(error):
                raise

    def _lose(self, header: FrameHeader, error: Exception, num_bytes: int) -> None:
        """A frame was not taken."""
        if isinstance(error, BadMessageError):
            self._account.drop(header, error.reason, error, num_bytes)
            self._account.adapt(error, num_bytes)
            return
        if self._outlet.stopping.is_set() and isinstance(error, TransientError):
            cause = "stopped"
        elif isinstance(error, BufferFullError):
            cause = "buffer_full"
        elif isinstance(error, TransientError) or self._account.may_pass(error):
            self._outlet.log.lose(str(error))
            cause = "broker_away" if isinstance(error, TransientError) else "refused"
        else:
            cause = "broken"
        self._account.drop(header, cause, error, num_bytes)

    def _header(
        self, kind: Literal["frame", "end_of_session"], index: int, captured_at: datetime, clock: Clock
    ) -> FrameHeader:
        """Of a record.

        Raises:
            FatalError: ``captured_at`` is no time that a frame can be captured at.
        """
        if not EARLIEST <= captured_at < LATEST:
            text = f"a frame must be captured from {EARLIEST:%Y} to {LATEST:%Y}, got {captured_at:%Y-%m-%dT%H:%M:%SZ}"
            raise FatalError(f"{text}; check producer.start (--start) and the clock of this machine")
        return FrameHeader(
            kind=kind,
            camera_id=self.feed.camera_id,
            session_id=self.session_id,
            frame_index=index,
            captured_at=captured_at,
            clock=clock,
            width=0,
            height=0,
            fps=self._fps,
        )

    def _end_session(self) -> None:
        """Tell the workers that no more frames come, so that they close what is open at once."""
        header = self._header("end_of_session", self._next_index, self._last_at, self._clock)
        if not self._has_spoken and self._outlet.in_front(self.feed.camera_id) is not None:
            return  # an end would take the camera from whoever sends it
        if self._lane is not None:
            self._lane.put(header, b"")
            self._tell_end(None)
            return
        record = OutRecord(self._outlet.topic, self.feed.camera_id, b"", encode_header(header))
        try:
            self._outlet.publish_patiently(record, self._tell_end, until=self._outlet.is_out_of_time)
        except Exception as error:
            self._tell_end(error)

    def _tell_end(self, error: Exception | None) -> None:
        camera_id, session_id = self.feed.camera_id, self.session_id
        if error is None:
            logger.info("camera %s: session %s has ended: %s", camera_id, session_id, self.counts())
        else:
            logger.warning("camera %s: the end of session %s was not delivered: %s", camera_id, session_id, error)
        self._outlet.tell_room()
