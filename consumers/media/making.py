"""From frames to files: the picture of an event's peak, and the film of the event."""

import logging
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import av
import cv2

from consumers.boxes import with_boxes
from consumers.media.footage import HeldFrame
from consumers.video import FilmWriter, Image
from inference.decode import DecodeLimits, check_jpeg, decode_frame
from inference.formats import FrameFormat
from schemas.errors import BadMessageError, TransientError
from schemas.messages import FrameHeader, Region

log = logging.getLogger(__name__)

LIMITS = DecodeLimits(max_bytes=1 << 20, max_pixels=1 << 24)
"""Of one frame: more than any topic of ours takes, and a picture of 4096 x 4096."""
QUALITY = 92


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG, and the frame that it shows."""

    jpeg: bytes
    width: int
    height: int
    header: FrameHeader


@dataclass(frozen=True, slots=True)
class Film:
    """An MP4, and the frames that it shows."""

    mp4: bytes
    width: int
    height: int
    first: FrameHeader
    last: FrameHeader
    num_shown: int


@dataclass(frozen=True, slots=True)
class Made:
    """What could be made of the frames; None where there were none."""

    picture: Picture | None
    film: Film | None


def make(frames: Iterable[HeldFrame], peak: int, regions: Sequence[Region] = ()) -> Made:
    """Take the frames in order, one at a time in memory, and make both.

    Frames that are no pictures are left out. The film keeps the times between frames; where some are missing the last
    one stands.

    Args:
        frames: of the event's session.
        peak: index of the frame that is the picture.
        regions: drawn on the picture as boxes; without any it is the very file that the producer sent.

    Raises:
        TransientError: no room for the film while it is made.
        BadMessageError: ``not_encodable``: no film can be made of these pictures.
    """
    coming = iter(frames)
    head = next(coming, None)
    if head is None:
        return Made(None, None)
    shown: list[FrameHeader] = []
    picture: Picture | None = None
    with tempfile.TemporaryDirectory(prefix="engram-clip-") as folder:
        path = Path(folder) / "film.mp4"
        try:
            with FilmWriter(path, head.header.fps) as film:
                for frame in chain((head,), coming):
                    image = _decoded(frame)
                    if image is None:
                        continue
                    shown.append(frame.header)
                    film.add(image, (frame.header.captured_at - shown[0].captured_at).total_seconds())
                    if frame.header.frame_index == peak:
                        picture = _picture(frame, image, regions)
            if not shown:
                return Made(None, None)
            made = Film(path.read_bytes(), *film.size, shown[0], shown[-1], len(shown))
        except OSError as error:
            raise TransientError(f"a film needs room in {folder} while it is made: {error}; set TMPDIR") from error
        except (av.FFmpegError, cv2.error, ValueError) as error:
            raise BadMessageError("not_encodable", f"no film of {len(shown)} frames: {error}") from error
    return Made(picture, made)


def _decoded(frame: HeldFrame) -> Image | None:
    """Pixels; None where there are none, which the worker has told of."""
    try:
        width, height = check_jpeg(frame.jpeg, LIMITS)
        return decode_frame(frame.jpeg, FrameFormat(width, height, 3), LIMITS)
    except BadMessageError as error:
        log.debug("frame %d of camera %s is left out: %s", frame.header.frame_index, frame.header.camera_id, error)
        return None


def _picture(frame: HeldFrame, image: Image, regions: Sequence[Region]) -> Picture:
    height, width = image.shape[:2]
    if not regions:
        return Picture(frame.jpeg, width, height, frame.header)
    worked, buffer = cv2.imencode(".jpg", with_boxes(image, regions), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return Picture(buffer.tobytes() if worked else frame.jpeg, width, height, frame.header)
