"""One connection to a camera through OpenCV, with time-outs, and without OpenCV's own noise on stderr."""

import os
import sys
from pathlib import Path

import cv2

from producers.sources.address import Address
from producers.sources.diagnosis import explain_failure
from producers.sources.frame import Image, as_bgr
from producers.sources.mjpeg import MjpegConnection, connect_mjpeg
from producers.sources.options import LiveOptions
from schemas.errors import TransientError


def _quiet_backends() -> None:
    # What FFmpeg and OpenCV write to stderr themselves bypasses logging, and may hold addresses. A level that the user
    # has set in the environment stands, so that OPENCV_FFMPEG_LOGLEVEL=32 shows all.
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


# On import, because FFmpeg looks at its level only once, when it is first used by anybody.
_quiet_backends()


class CameraCapture:
    """An open connection. Only the thread that made it may use it."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture

    num_unreadable = 0

    def read(self) -> Image | None:
        """The next frame; None when the stream has ended or nothing came within the time-out."""
        found, image = self._capture.read()
        return as_bgr(image) if found else None

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()


def open_camera(address: Address, options: LiveOptions) -> CameraCapture | MjpegConnection:
    """Connect to an RTSP (over TCP), HTTP or V4L2 camera.

    Raises:
        TransientError: it did not open; the message is the reason, with no credentials in it.
    """
    if address.kind == "http" and (stream := connect_mjpeg(address, options)) is not None:
        return stream
    capture = _open_device(address) if address.kind == "device" else _open_stream(address, options)
    if not capture.isOpened():
        capture.release()
        raise TransientError(explain_failure(address, options.open_timeout_s))
    return CameraCapture(capture)


def _open_device(address: Address) -> cv2.VideoCapture:
    number = int(address.location)
    if not sys.platform.startswith("linux"):
        return cv2.VideoCapture(number)
    if not Path(address.shown).exists():
        raise TransientError(f"{address.shown} does not exist; is the camera plugged in?")
    return cv2.VideoCapture(number, cv2.CAP_V4L2)


def _open_stream(address: Address, options: LiveOptions) -> cv2.VideoCapture:
    # OpenCV asks for RTSP over TCP unless OPENCV_FFMPEG_CAPTURE_OPTIONS says otherwise: over UDP, lost packets smear
    # across the picture and look like anomalies.
    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        int(options.open_timeout_s * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        int(options.dead_after_s * 1000),
    ]
    return cv2.VideoCapture(address.location, cv2.CAP_FFMPEG, limits)
