"""One connection to a camera, by who reads its kind: our own MJPEG reader, PyAV for streams, OpenCV for devices."""

import os
import sys
from pathlib import Path

import cv2

from producers.sources.address import Address
from producers.sources.diagnosis import explain_failure
from producers.sources.frame import as_bgr
from producers.sources.mjpeg import MjpegConnection, connect_mjpeg
from producers.sources.options import LiveOptions
from producers.sources.picture import Picture
from producers.sources.stream import StreamConnection, connect_stream
from schemas.errors import TransientError


def _quiet_backends() -> None:
    # What OpenCV and its FFmpeg write to stderr themselves bypasses logging, and may hold addresses. A level that the
    # user has set in the environment stands. PyAV's FFmpeg is quiet of itself.
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


# On import, because FFmpeg looks at its level only once, when it is first used by anybody.
_quiet_backends()


class DeviceCapture:
    """An open device. Only the thread that made it may use it."""

    num_unreadable = 0

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture

    def read(self) -> Picture | None:
        """The next frame; None when the device is gone or nothing came within the driver's time-out."""
        found, image = self._capture.read()
        return Picture.of(as_bgr(image)) if found else None

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()


def open_camera(address: Address, options: LiveOptions) -> DeviceCapture | MjpegConnection | StreamConnection:
    """Connect to an RTSP (over TCP), HTTP or V4L2 camera.

    Raises:
        TransientError: it did not open; the message is the reason, with no credentials in it.
    """
    connection = _connect(address, options)
    if connection is None:
        raise TransientError(explain_failure(address, options.open_timeout_s))
    return connection


def _connect(address: Address, options: LiveOptions) -> DeviceCapture | MjpegConnection | StreamConnection | None:
    if address.kind == "device":
        return _open_device(address)
    if address.kind == "http" and (pictures := connect_mjpeg(address, options)) is not None:
        return pictures
    return connect_stream(address, options)


def _open_device(address: Address) -> DeviceCapture | None:
    number = int(address.location)
    is_linux = sys.platform.startswith("linux")
    if is_linux and not Path(address.shown).exists():
        raise TransientError(f"{address.shown} does not exist; is the camera plugged in?")
    capture = cv2.VideoCapture(number, cv2.CAP_V4L2 if is_linux else cv2.CAP_ANY)
    if capture.isOpened():
        return DeviceCapture(capture)
    capture.release()
    return None
