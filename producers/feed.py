"""One camera's way to the log: take, sample, mask, encode, publish, count."""

import logging
import secrets
import time
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from messaging.ports import OutRecord
from producers.counters import FrameCounts, FrameLedger
from producers.encoding import EncodedFrame, EncodingOptions, encode_frame
from producers.outlet import Outlet
from producers.pacing import Metronome, PacingOptions, Sampler, session_fps
from producers.sources.frame import CapturedFrame, Source
from schemas.codec import encode_header
from schemas.errors import BadMessageError, BufferFullError, SettingsError
from schemas.messages import Clock, FrameHeader, Id

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CameraFeed:
    """What one camera sends.

    Attributes:
        camera_id: key of its records.
        source: where its frames come from; used once.
        session_id: name of this run; None = a new one of time and chance.
    """

    camera_id: str
    source: Source
    encoding: EncodingOptions = field(default_factory=EncodingOptions)
    pacing: PacingOptions = field(default_factory=PacingOptions)
    session_id: str | None = None

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
        self._next_index = 0
        self._last_at = outlet.now()
        self._clock: Clock = "arrival" if feed.source.is_live else "media"

    def counts(self) -> FrameCounts:
        """What became of the frames so far."""
        return self._ledger.snapshot(self.feed.source.num_overrun)

    def run(self) -> None:
        """Send the source's frames until it ends or the producer stops, then end the session.

        Any error is kept in ``error`` and logged: the other cameras of the process go on.
        """
        try:
            self._send_frames()
        except Exception as error:
            self.error = error
            logger.exception("camera %s: session %s broke", self.feed.camera_id, self.session_id)
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
            if not sampler.takes(frame.captured_at):
                self._ledger.sample_out()
                continue
            if metronome is not None:
                metronome.wait_for(frame.captured_at)
            self._send_frame(frame)
            if self._next_index == self.feed.pacing.num_frames:
                return

    def _send_frame(self, frame: CapturedFrame) -> None:
        # Counted before anything can go wrong, so that the worker sees a lost frame as a gap.
        index, self._next_index = self._next_index, self._next_index + 1
        self._last_at, self._clock = frame.captured_at, frame.clock
        try:
            encoded = encode_frame(frame.image, self.feed.encoding)
            self._publish(self._record(frame, index, encoded), len(encoded.jpeg))
        except BadMessageError as error:
            self._drop(error.reason, error)
        except BufferFullError as error:
            self._drop("stopped" if self._outlet.stopping.is_set() else "buffer_full", error)
        except Exception as error:
            self._drop("broken", error)
            raise

    def _drop(self, cause: str, error: Exception) -> None:
        count = self._ledger.drop(cause)
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
        )
        return OutRecord(self._outlet.topic, self.feed.camera_id, encoded.jpeg, encode_header(header))

    def _publish(self, record: OutRecord, num_bytes: int) -> None:
        def on_done(error: Exception | None) -> None:
            if error is None:
                self._ledger.send(num_bytes)
            else:
                self._drop("publish_failed", error)
            self._outlet.tell_room()

        if self.feed.pacing.mode == "live":
            self._outlet.publisher.publish(record, on_done)
        else:
            self._outlet.publish_patiently(record, on_done, until=self._outlet.stopping.is_set)

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
