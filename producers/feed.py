"""One camera's way to the log: take, sample, mask, encode, publish, count."""

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from messaging.ports import OutRecord
from producers.counters import FrameCounts, FrameLedger
from producers.encoding import EncodedFrame, EncodingOptions, FrameEncoder
from producers.outlet import Outlet
from producers.pacing import Metronome, PacingOptions, Sampler, session_fps
from producers.sources.frame import CapturedFrame, Source
from schemas.codec import encode_header
from schemas.errors import BadMessageError, BufferFullError, FatalError, SettingsError, TransientError
from schemas.messages import Clock, FrameHeader, Id

logger = logging.getLogger(__name__)

_TOLD_BY_THE_WATCH = ("broker_away", "buffer_full")
"""While the log is known to be away, it is known why frames are dropped."""


@dataclass(frozen=True, slots=True)
class CameraFeed:
    """What one camera sends.

    Attributes:
        camera_id: key of its records.
        source: where its frames come from; used once.
        session_id: name of this run; None = a new one of time and chance.
        frames_per_clip: frames that make one score; a recording with fewer is told to be too short.
    """

    camera_id: str
    source: Source
    encoding: EncodingOptions = field(default_factory=EncodingOptions)
    pacing: PacingOptions = field(default_factory=PacingOptions)
    session_id: str | None = None
    frames_per_clip: int = 5

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

    def __init__(self, feed: CameraFeed, outlet: Outlet) -> None:
        """Fix the session's name and rate.

        Raises:
            SettingsError: the rate is unknown.
        """
        self.feed = feed
        self.session_id = feed.session_id or new_session_id(outlet.now())
        self.error: Exception | None = None
        self._outlet = outlet
        self._fps = session_fps(feed.pacing, feed.source)
        self._ledger = FrameLedger()
        self._encoder = FrameEncoder(feed.camera_id, feed.encoding)
        self._refusal: FatalError | None = None
        self._next_index = 0
        self._last_at = outlet.now()
        self._clock: Clock = "arrival" if feed.source.is_live else "media"

    def counts(self) -> FrameCounts:
        """What became of the frames so far."""
        return self._ledger.snapshot(self.feed.source.num_overrun, self.feed.source.num_unreadable)

    def sent_nothing(self) -> bool:
        """Whether frames were lost on their way and none arrived. To be asked when all is delivered or given up."""
        counts = self.counts()
        lost = {cause for cause, number in counts.dropped.items() if number} - {"stopped", "too_slow"}
        return counts.sent == 0 and (bool(lost) or counts.in_flight > 0)

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
            if self._refusal is not None:
                raise self._refusal
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
        self._last_at, self._clock = frame.captured_at, frame.clock
        try:
            encoded = self._encoder.encode(frame.image)
        except Exception as error:
            self._drop(error.reason if isinstance(error, BadMessageError) else "broken", error)
            if not isinstance(error, BadMessageError):
                raise
            return
        self._publish(self._record(frame, index, encoded), len(encoded.jpeg))

    def _publish(self, record: OutRecord, num_bytes: int) -> None:
        """Hand over a record; one that the log does not take now is dropped, with its cause."""
        self._ledger.hand_over(num_bytes)
        self._outlet.log.hand_over()
        try:
            if self.feed.pacing.mode == "live":
                self._outlet.publisher.publish(record, self._on_done(num_bytes))
            else:
                stopping = self._outlet.stopping.is_set
                self._outlet.publish_patiently(record, self._on_done(num_bytes), until=stopping)
        except Exception as error:
            self._outlet.log.take_back()
            self._lose(error, num_bytes)
            if not isinstance(error, BadMessageError | TransientError):
                raise

    def _lose(self, error: Exception, num_bytes: int) -> None:
        """A frame was not taken."""
        if isinstance(error, BadMessageError):
            self._drop(error.reason, error, num_bytes)
            self._adapt(error, num_bytes)
        elif isinstance(error, TransientError) and self._outlet.stopping.is_set():
            self._drop("stopped", error, num_bytes)
        elif isinstance(error, BufferFullError):
            self._drop("buffer_full", error, num_bytes)
        elif isinstance(error, TransientError):
            self._outlet.log.lose(str(error))
            self._drop("broker_away", error, num_bytes)
        else:
            self._drop("broken", error, num_bytes)

    def _on_done(self, num_bytes: int) -> Callable[[Exception | None], None]:
        def on_done(error: Exception | None) -> None:
            if error is None:
                self._ledger.send(num_bytes)
            elif isinstance(error, BadMessageError):
                self._drop(error.reason, error, num_bytes)
                self._adapt(error, num_bytes)
            elif isinstance(error, FatalError):
                self._refusal = error
                self._drop("refused", error, num_bytes)
            else:
                self._drop("publish_failed", error, num_bytes)
            self._outlet.log.answer(error)
            self._outlet.tell_room()

        return on_done

    def _adapt(self, error: BadMessageError, num_bytes: int) -> None:
        if error.reason == "too_large":
            self._encoder.refuse(num_bytes, str(error))

    def _drop(self, cause: str, error: Exception, num_bytes: int = 0) -> None:
        count = self._ledger.drop(cause, num_bytes)
        self._outlet.log.drop()
        if self._outlet.log.is_away and cause in _TOLD_BY_THE_WATCH:
            return
        # The 1st, 2nd, 4th, 8th ...: a broker that is away must not fill the disk with log lines.
        if count & (count - 1) == 0:
            logger.warning("camera %s: %d frames dropped as %s: %s", self.feed.camera_id, count, cause, error)

    def _record(self, frame: CapturedFrame, index: int, encoded: EncodedFrame) -> OutRecord:
        header = FrameHeader(
            camera_id=self.feed.camera_id,
            session_id=self.session_id,
            frame_index=index,
            captured_at=frame.captured_at,
            clock=frame.clock,
            width=encoded.width,
            height=encoded.height,
            fps=self._fps,
            offset_s=frame.offset_s,
        )
        return OutRecord(self._outlet.topic, self.feed.camera_id, encoded.jpeg, encode_header(header))

    def _end_session(self) -> None:
        """Tell the workers that no more frames come, so that they close what is open at once."""
        header = FrameHeader(
            kind="end_of_session",
            camera_id=self.feed.camera_id,
            session_id=self.session_id,
            frame_index=self._next_index,
            captured_at=self._last_at,
            clock=self._clock,
            width=0,
            height=0,
            fps=self._fps,
        )
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
