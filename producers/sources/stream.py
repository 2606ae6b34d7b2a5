"""A stream from the network (RTSP, or MPEG-TS, HLS, FLV over HTTP), decoded by FFmpeg through PyAV.

OpenCV's capture scales a stream that changes its size to the first one's and does not say so; here every picture comes
in its own size, and damage is counted. What FFmpeg says of an error may hold the address with its password, so that no
text of its passes this file.
"""

import time
from collections import deque

import av
from av.container import InputContainer
from av.video.reformatter import VideoReformatter

from producers.sources.address import Address
from producers.sources.frame import Image, as_bgr
from producers.sources.options import LiveOptions

_NUM_THREADS = 2


class StreamConnection:
    """An open stream. ``num_unreadable`` packets came in and could not be decoded. For the thread that made it."""

    def __init__(self, container: InputContainer, dead_after_s: float) -> None:
        """Read the first video stream of ``container``, which has one, and ``dead_after_s`` as time-out for reading."""
        self.num_unreadable = 0
        self._container = container
        self._dead_after_s = dead_after_s
        video = container.streams.video[0]
        # A box with slow cores keeps up with a large picture. Each further thread would hold back one more picture.
        video.thread_type = "AUTO"
        video.codec_context.thread_count = _NUM_THREADS
        self._packets = container.demux(video)
        self._decoded: deque[Image] = deque()
        self._reformatter = VideoReformatter()  # kept, because it sets up its tables once for each size

    def read(self) -> Image | None:
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
        try:
            self._decoded.extend(map(self._bgr, packet.decode()))
        except (av.FFmpegError, ValueError):
            self.num_unreadable += 1
        return True

    def _bgr(self, frame: av.VideoFrame) -> Image:
        return as_bgr(self._reformatter.reformat(frame, format="bgr24").to_ndarray())

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
