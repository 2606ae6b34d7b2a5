"""A stream from the network (RTSP, or MPEG-TS, HLS, FLV over HTTP), decoded by FFmpeg through PyAV.

OpenCV's capture scales a stream that changes its size to the first one's and does not say so; here every picture comes
in its own size, with the time stamps of stream and camera, and damage is counted. What FFmpeg says of an error may hold
the address with its password, so that no text of its passes this file.
"""

import contextlib
import struct
import time
from collections import deque
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import av
from av.container import InputContainer

from producers.sources.address import Address
from producers.sources.options import LiveOptions
from producers.sources.picture import Converter, Picture, has_time_stamps, set_threads

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_WALL_CLOCK = struct.Struct("@q")
"""How FFmpeg's AVProducerReferenceTime begins: microseconds since 1970, which it takes from a camera's RTCP reports."""


class StreamConnection:
    """An open stream. ``num_unreadable`` packets came in and could not be decoded. For the thread that made it."""

    def __init__(self, container: InputContainer, dead_after_s: float) -> None:
        """Read the first video stream of ``container``, which has one, and ``dead_after_s`` as time-out for reading."""
        self.num_unreadable = 0
        self._container = container
        self._dead_after_s = dead_after_s
        video = container.streams.video[0]
        set_threads(video)
        self._packets = container.demux(video)
        self._decoded: deque[Picture] = deque()
        self._converter = Converter()
        self._has_stamps = has_time_stamps(container)
        self._zero_at: datetime | None = None  # UTC by the camera's clock at the stream's own time 0

    def read(self) -> Picture | None:
        """The next picture in its own size; None when the stream ends or none came within the time-out."""
        deadline_s = time.monotonic() + self._dead_after_s
        while not self._decoded:
            # FFmpeg's own time-out is that of one packet: no picture may come of many, and one that it held back for
            # its successor it gives out at the time-out, which would pass for a picture of that moment.
            if not self._receive() or time.monotonic() > deadline_s:
                return None
        return self._decoded.popleft()

    def _receive(self) -> bool:
        """Take in one packet; whether there was one."""
        try:
            packet = next(self._packets, None)
        except (av.FFmpegError, ValueError):
            return False
        if packet is None:
            return False
        self._note_wall_clock(packet)
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError):
            self.num_unreadable += 1
            return True
        whole = [frame for frame in frames if not frame.is_corrupt]
        self.num_unreadable += len(frames) - len(whole)
        self._decoded.extend(map(self._stamped, whole))
        return True

    def _note_wall_clock(self, packet: "av.Packet[av.VideoStream]") -> None:
        """The decoder may hold a picture back, so that what a packet tells is kept for those that come out later."""
        if packet.pts is None or packet.time_base is None or not packet.has_sidedata("prft"):
            return
        told = bytes(packet.get_sidedata("prft"))
        if len(told) >= _WALL_CLOCK.size:
            (wall_us,) = _WALL_CLOCK.unpack_from(told)
            stamp_us = float(packet.pts * packet.time_base) * 1e6
            with contextlib.suppress(OverflowError):  # a clock that shows the year 100 000
                self._zero_at = _EPOCH + timedelta(microseconds=wall_us - stamp_us)

    def _stamped(self, frame: av.VideoFrame) -> Picture:
        wall_at = None
        if self._zero_at is not None and frame.time is not None:
            with contextlib.suppress(OverflowError):
                wall_at = self._zero_at + timedelta(seconds=frame.time)
        picture = self._converter.picture(frame, wall_at)
        return picture if self._has_stamps else replace(picture, stamp_s=None)

    def close(self) -> None:
        """Hang up."""
        self._container.close()


def connect_stream(address: Address, options: LiveOptions) -> StreamConnection | None:
    """Open an RTSP (over TCP where the camera offers it) or HTTP stream; None if it does not open or has no video."""
    # Over UDP, lost packets smear across the picture and look like anomalies.
    transport = {"rtsp_flags": "prefer_tcp"} if address.kind == "rtsp" else {}
    limits = (options.open_timeout_s, options.dead_after_s)
    try:
        container = av.open(address.location, options=transport, timeout=limits, metadata_errors="replace")
    except (av.FFmpegError, ValueError):
        return None
    if not any(video.codec_context for video in container.streams.video[:1]):
        container.close()
        return None
    return StreamConnection(container, options.dead_after_s)
