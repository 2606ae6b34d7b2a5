"""Real servers of H.264: MPEG-TS over HTTP and RTP over RTSP, made of pictures that are encoded here."""

import http.server
import io
import re
import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from deploy.local.ports import free_port

FPS = 25
KEY_EVERY = 10
_NTP_BEFORE_UNIX_S = 2_208_988_800
"""From 1900, when NTP begins, to 1970."""
_OPTIONS = {"preset": "ultrafast", "tune": "zerolatency", "g": str(KEY_EVERY), "bf": "0", "qp": "4"}


@dataclass(frozen=True)
class Shot:
    """``num_frames`` grey pictures of one size and value."""

    value: int
    width: int = 64
    height: int = 48
    num_frames: int = 50


def transport_stream(shots: Sequence[Shot]) -> bytes:
    """The shots one after the other in one MPEG-TS, on one clock, as from a camera whose resolution is changed."""
    whole = io.BytesIO()
    start = 0
    for shot in shots:
        part = io.BytesIO()
        with av.open(part, "w", format="mpegts") as container:
            stream = container.add_stream("libx264", rate=FPS, options=_OPTIONS)
            for packet in _encoded(stream, shot, start):
                container.mux(packet)
        whole.write(part.getvalue())
        start += shot.num_frames
    return whole.getvalue()


def _encoded(stream: av.VideoStream, shot: Shot, start: int) -> "Iterator[av.Packet[av.VideoStream]]":
    stream.width, stream.height, stream.pix_fmt = shot.width, shot.height, "yuv420p"
    stream.codec_context.time_base = Fraction(1, FPS)
    picture = np.full((shot.height, shot.width, 3), shot.value, np.uint8)
    for index in range(shot.num_frames):
        frame = av.VideoFrame.from_ndarray(picture, "bgr24")
        frame.pts, frame.time_base = start + index, Fraction(1, FPS)
        yield from stream.encode(frame)
    yield from stream.encode()


def sound_stream() -> bytes:
    """Two seconds of silence in an MPEG-TS without video."""
    whole = io.BytesIO()
    with av.open(whole, "w", format="mpegts") as container:
        stream = container.add_stream("mp2", rate=48_000)
        stream.layout = "mono"
        for start in range(0, 96_000, 1152):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return whole.getvalue()


def access_units(shots: Sequence[Shot]) -> list[bytes]:
    """The shots as H.264 pictures in Annex B, each key frame with its parameters before it."""
    with av.open(io.BytesIO(transport_stream(shots)), format="mpegts") as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


class StreamServer(http.server.ThreadingHTTPServer):
    """Sends ``content`` to each viewer, then hangs up or goes silent."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", free_port()), _StreamViewer)
        self.content = content
        self.goes_silent = False
        self.num_viewers = 0
        self.stopping = threading.Event()

    def handle_error(self, request, client_address) -> None:
        """A viewer that leaves is no error."""


class _StreamViewer(http.server.BaseHTTPRequestHandler):
    server: StreamServer

    def do_GET(self) -> None:
        self.server.num_viewers += 1
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.end_headers()
        self.wfile.write(self.server.content)
        if self.server.goes_silent:
            self.server.stopping.wait(60)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def stream_camera(content: bytes) -> Iterator[StreamServer]:
    """A camera that sends MPEG-TS over HTTP, for as long as the context is open."""
    with StreamServer(content) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join(60)


class RtspPlayer(socketserver.ThreadingTCPServer):
    """Plays pictures of H.264 over RTSP, RTP between the replies (RFC 2326, 10.12), then goes silent."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, pictures: Sequence[bytes], wall_s: float | None) -> None:
        """``wall_s``: Unix time of the first picture by the camera's clock, which it reports; None = it has none."""
        super().__init__(("127.0.0.1", 0), _RtspViewer)
        self.pictures = pictures
        self.wall_s = wall_s
        self.num_viewers = 0
        self.port = int(self.server_address[1])
        self.transports: list[str] = []
        self.stopping = threading.Event()

    def handle_error(self, request, client_address) -> None:
        """A viewer that leaves is no error."""


class _RtspViewer(socketserver.StreamRequestHandler):
    server: RtspPlayer

    def handle(self) -> None:
        method = ""
        while method != "PLAY" and (line := self.rfile.readline()):
            method, fields = line.decode("latin-1").partition(" ")[0], self._fields()
            self.wfile.write(self._reply(method, fields))
        if method == "PLAY":
            self.server.num_viewers += 1
            self._play()
            self.server.stopping.wait(60)

    def _fields(self) -> dict[str, str]:
        fields = {}
        while line := self.rfile.readline().decode("latin-1").strip():
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        return fields

    def _reply(self, method: str, fields: dict[str, str]) -> bytes:
        head, body = f"CSeq: {fields['cseq']}\r\nSession: 1\r\n", ""
        if method == "OPTIONS":
            head += "Public: DESCRIBE, SETUP, PLAY\r\n"
        if method == "DESCRIBE":
            body = "v=0\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
            body += "a=fmtp:96 packetization-mode=1\r\na=control:track\r\n"
            head += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        if method == "SETUP":
            self.server.transports.append(fields["transport"])
            head += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        return f"RTSP/1.0 200 OK\r\n{head}\r\n{body}".encode()

    def _report(self, wall_s: float) -> None:
        """An RTCP sender report (RFC 3550, 6.4.1): this stamp, nought, is that time by the clock on the wall."""
        ntp = round((wall_s + _NTP_BEFORE_UNIX_S) * 2**32)
        report = b"\x80\xc8\0\x06\0\0\0\7" + ntp.to_bytes(8, "big") + bytes(12)
        self.wfile.write(b"$\1" + len(report).to_bytes(2, "big") + report)

    def _play(self) -> None:
        sequence = 0
        if self.server.wall_s is not None:
            self._report(self.server.wall_s)
        for index, picture in enumerate(self.server.pictures):
            units = [unit for unit in re.split(rb"\x00{2,3}\x01", picture) if unit]
            for unit in units:
                is_last = unit is units[-1]
                stamp = (index * 90_000 // FPS).to_bytes(4, "big")
                rtp = bytes([0x80, 96 | is_last << 7]) + sequence.to_bytes(2, "big") + stamp + b"\0\0\0\7" + unit
                self.wfile.write(b"$\0" + len(rtp).to_bytes(2, "big") + rtp)
                sequence += 1


@contextmanager
def rtsp_player(pictures: Sequence[bytes], wall_s: float | None = None) -> Iterator[RtspPlayer]:
    """A camera that plays over RTSP, for as long as the context is open."""
    with RtspPlayer(pictures, wall_s) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join(60)
