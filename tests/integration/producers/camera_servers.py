"""Real servers that stand in for cameras: MJPEG over HTTP that can flap, and the login half of RTSP."""

import base64
import hashlib
import http.server
import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np

from deploy.local.ports import free_port

BOUNDARY = b"frame"


def jpeg(value: int, width: int = 64, height: int = 48) -> bytes:
    return cv2.imencode(".jpg", np.full((height, width, 3), value, np.uint8))[1].tobytes()


class MjpegServer(http.server.ThreadingHTTPServer):
    """Sends ``pictures`` to each viewer over and over, then, after ``num_sent`` of them, breaks off or goes silent."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _MjpegViewer)
        self.pictures = [jpeg(value) for value in (40, 80, 120, 160)]
        self.num_sent = 10**9
        self.goes_silent = False
        self.user: str | None = None
        self.challenges: tuple[str, ...] = ('Basic realm="camera"',)
        self.path: str | None = None
        self.authorizations: list[str | None] = []
        self.content_type = f"multipart/x-mixed-replace; boundary={BOUNDARY.decode()}"
        self.preamble = b""
        self.part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n"
        self.num_viewers = 0
        self.pace_s = 0.02
        self.stopping = threading.Event()

    def handle_error(self, request, client_address) -> None:
        """A viewer that leaves is no error."""


class _MjpegViewer(http.server.BaseHTTPRequestHandler):
    server: MjpegServer

    def do_GET(self) -> None:
        self.server.num_viewers += 1
        self.server.authorizations.append(self.headers.get("Authorization"))
        if self._is_unknown():
            self.send_response(401)
            for challenge in self.server.challenges:
                self.send_header("WWW-Authenticate", challenge)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.server.path not in (None, self.path):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", self.server.content_type)
        self.end_headers()
        self._send_pictures()
        self.close_connection = True

    def _is_unknown(self) -> bool:
        user = self.server.user
        if user is None:
            return False
        given = self.headers.get("Authorization", "")
        if any("Digest" in challenge for challenge in self.server.challenges):
            return not is_digest_of(given, user, "GET")
        return given != f"Basic {base64.b64encode(user.encode()).decode()}"

    def _send_pictures(self) -> None:
        self.wfile.write(self.server.preamble)
        for index in range(self.server.num_sent):
            picture = self.server.pictures[index % len(self.server.pictures)]
            part = self.server.part
            self.wfile.write(part % (len(picture), picture) if b"%d" in part else part % picture)
            if self.server.stopping.wait(self.server.pace_s):
                return
        if self.server.goes_silent:
            self.server.stopping.wait(60)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def is_digest_of(authorization: str, user_and_password: str, method: str) -> bool:
    """Whether a Digest answer (RFC 7616) is that of this user, for a realm ``camera``."""
    scheme, _, rest = authorization.partition(" ")
    fields = dict(re.findall(r'(\w+)="?([^",]*)"?', rest))
    user, _, password = user_and_password.partition(":")
    if scheme != "Digest" or fields.get("username") != user:
        return False
    kind = "sha256" if fields.get("algorithm") == "SHA-256" else "md5"

    def hashed(text: str) -> str:
        return hashlib.new(kind, text.encode()).hexdigest()

    who, what = hashed(f"{user}:camera:{password}"), hashed(f"{method}:{fields['uri']}")
    middle = f"{fields['nonce']}:{fields['nc']}:{fields['cnonce']}:auth" if "qop" in fields else fields["nonce"]
    return fields["response"] == hashed(f"{who}:{middle}:{what}")


@contextmanager
def mjpeg_camera(port: int | None = None) -> Iterator[MjpegServer]:
    """A camera that is there for as long as the context is open; at a port that nobody takes when it is away."""
    with MjpegServer(port or free_port()) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join(60)


class RtspServer(socketserver.ThreadingTCPServer):
    """Answers OPTIONS and DESCRIBE; never sends a picture.

    ``scheme`` is the login it asks for (None, "Basic" or "Digest"), ``code`` what it says to a DESCRIBE that may pass.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, scheme: str | None = None, code: int = 404, qop: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _RtspViewer)
        self.scheme = scheme
        self.code = code
        self.qop = qop
        self.requests: list[str] = []
        self.raw_reply: bytes | None = None

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def accepts(self, authorization: str) -> bool:
        """Whether these are the credentials of bob, whose password is pass word."""
        if self.scheme == "Basic":
            return authorization == "Basic " + base64.b64encode(b"bob:pass word").decode()
        fields = dict(re.findall(r'(\w+)="?([^",]*)"?', authorization.removeprefix("Digest ")))
        who, what = md5("bob:camera:pass word"), md5(f"DESCRIBE:{fields['uri']}")
        middle = f"abc:{fields['nc']}:{fields['cnonce']}:auth" if self.qop else "abc"
        return fields["username"] == "bob" and fields["response"] == md5(f"{who}:{middle}:{what}")


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


class _RtspViewer(socketserver.StreamRequestHandler):
    server: RtspServer

    def handle(self) -> None:
        while request := self._read_request():
            self.server.requests.append(request)
            if self.server.raw_reply is not None:
                self.wfile.write(self.server.raw_reply)
                return
            self.wfile.write(self._reply(request))

    def _read_request(self) -> str:
        lines = []
        while (line := self.rfile.readline().decode()).strip():
            lines.append(line)
        return "".join(lines)

    def _reply(self, request: str) -> bytes:
        sequence = re.search(r"CSeq: *(\d+)", request)
        assert sequence is not None
        head = f"CSeq: {sequence[1]}\r\n"
        if request.startswith("OPTIONS"):
            return f"RTSP/1.0 200 OK\r\n{head}Public: OPTIONS, DESCRIBE\r\n\r\n".encode()
        login = re.search(r"Authorization: *(.*?)\r", request)
        if self.server.scheme and not (login and self.server.accepts(login[1])):
            extra = ', nonce="abc"' + self.server.qop if self.server.scheme == "Digest" else ""
            head += f'WWW-Authenticate: {self.server.scheme} realm="camera"{extra}\r\n'
            return f"RTSP/1.0 401 Unauthorized\r\n{head}\r\n".encode()
        body = "v=0\r\n"
        return f"RTSP/1.0 {self.server.code} Said\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


@contextmanager
def rtsp_camera(scheme: str | None = None, code: int = 404, qop: str = "") -> Iterator[RtspServer]:
    """An RTSP server that is there for as long as the context is open."""
    with RtspServer(scheme, code, qop) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(60)
