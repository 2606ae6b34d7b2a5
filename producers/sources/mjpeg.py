"""A camera that sends JPEGs over HTTP (``multipart/x-mixed-replace``), read by ourselves.

OpenCV wants a first boundary and scales a picture of another size to the first one's; here every picture comes as it
is, within time-outs and bounds, and passwords go out only as the camera asks for them.
"""

import contextlib
import http.client
import socket
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from producers.sources.address import Address
from producers.sources.authorization import Request, answer_challenges
from producers.sources.frame import Image, as_bgr
from producers.sources.jpeg_frames import JpegSplitter
from producers.sources.options import LiveOptions
from producers.sources.picture import Picture

_PIECE_BYTES = 64 * 1024
_AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came, with the socket it comes through: the client lets go of it once the head is read."""

    response: http.client.HTTPResponse
    connection: http.client.HTTPConnection
    socket: socket.socket

    def close(self) -> None:
        self.response.close()
        self.connection.close()
        with contextlib.suppress(OSError):
            self.socket.close()


class MjpegConnection:
    """An open stream of JPEGs. ``num_unreadable`` pictures came in and could not be decoded."""

    def __init__(self, answer: _Answer, dead_after_s: float) -> None:
        self._answer = answer
        self._dead_after_s = dead_after_s
        self._splitter = JpegSplitter()
        self._waiting: deque[bytes] = deque()
        self._num_undecoded = 0

    @property
    def num_unreadable(self) -> int:
        """Pictures that broke off or could not be decoded."""
        return self._splitter.num_broken + self._num_undecoded

    def read(self) -> Picture | None:
        """The next picture in its own size; None when the stream ends or no whole one came within the time-out."""
        deadline_s = time.monotonic() + self._dead_after_s
        while True:
            while self._waiting:
                image = _decoded(self._waiting.popleft())
                if image is not None:
                    return Picture.of(image)
                self._num_undecoded += 1
            if not self._receive(deadline_s - time.monotonic()):
                return None

    def _receive(self, left_s: float) -> bool:
        """Take in one piece; whether there was one."""
        if left_s <= 0:
            return False
        try:
            self._answer.socket.settimeout(left_s)
            piece = self._answer.response.read1(_PIECE_BYTES)
        except (OSError, http.client.HTTPException, ValueError):
            return False
        self._waiting.extend(self._splitter.feed(piece))
        return bool(piece)

    def close(self) -> None:
        """Hang up."""
        self._answer.close()


def connect_mjpeg(address: Address, options: LiveOptions) -> MjpegConnection | None:
    """Ask for the stream, with credentials only if the camera asks for them; None if it sends no multipart stream.

    What else a camera may send (MPEG-TS, HLS, FLV), and every refusal, is left to whoever reads or explains that.
    """
    try:
        answer = _ask(address, options.open_timeout_s, {})
        if answer.response.status == 401 and address.credentials is not None:
            challenges = answer.response.headers.get_all("WWW-Authenticate") or []
            answer.close()
            request = Request("GET", address.request_target)
            login = answer_challenges(challenges, address.credentials, request)
            answer = _ask(address, options.open_timeout_s, {"Authorization": login})
    except (OSError, http.client.HTTPException, ValueError):
        return None
    kind = answer.response.headers.get_content_maintype()
    if answer.response.status != 200 or kind != "multipart":
        answer.close()
        return None
    return MjpegConnection(answer, options.dead_after_s)


def _ask(address: Address, timeout_s: float, headers: Mapping[str, str]) -> _Answer:
    host, port = address.host_and_port
    secure = address.location.lower().startswith("https")
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(host, port, timeout=timeout_s)
    try:
        connection.connect()
        held = connection.sock
        connection.request("GET", address.request_target, headers={"User-Agent": "engram", **headers})
        return _Answer(connection.getresponse(), connection, held)
    except BaseException:
        connection.close()
        raise


def _decoded(jpeg: bytes) -> Image | None:
    try:
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), _AS_STORED)
    except cv2.error:
        return None
    return None if image is None else as_bgr(image)
