"""A folder of images, in natural order of their names (2 before 10); on past those that cannot be read."""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.pictures import PICTURE_SUFFIXES, in_natural_order, is_picture
from producers.sources.frame import CapturedFrame, Image, as_bgr
from producers.sources.options import SourceOptions
from producers.sources.recorded import RecordedSource
from schemas.errors import FatalError

logger = logging.getLogger(__name__)

_DEFAULT_FPS = 10.0


class ImageFolderSource(RecordedSource):
    """One frame per image file; other files are passed over. One that cannot be read is a gap, as in a film."""

    def __init__(self, folder: Path, options: SourceOptions) -> None:
        """List the folder at once.

        Raises:
            FatalError: it cannot be listed, or there is no image in it.
        """
        try:
            self._paths = sorted(filter(is_picture, folder.iterdir()), key=in_natural_order)
        except OSError as error:
            raise FatalError(f"a folder source must be readable, '{folder}' is not: {error.strerror}") from error
        if not self._paths:
            known = ", ".join(sorted(PICTURE_SUFFIXES))
            raise FatalError(
                f"a folder source must hold images ({known}), '{folder}' holds none; films are named singly"
            )
        super().__init__(str(folder), options.fps or _DEFAULT_FPS, options)

    def _timed(self, start: datetime) -> Iterator[CapturedFrame]:
        missed, faults = list[datetime](), list[str]()
        for index, path in enumerate(self._paths):
            if self._closed.is_set():
                return
            self._board.set("online", "being read")
            offset_s = index / self._fps
            at = start + timedelta(seconds=offset_s)
            try:
                image = read_image(path)
            except FatalError as error:
                self.num_unreadable += 1
                missed.append(at)
                faults = faults or [str(error)]
                continue
            self._tell_size((image.shape[1], image.shape[0]))
            yield CapturedFrame(image, at, "media", tuple(missed), offset_s)
            missed.clear()
        self._check_end(faults)

    def _check_end(self, faults: list[str]) -> None:
        """Say what was passed over, which may not be all there is."""
        if self.num_unreadable == len(self._paths):
            raise FatalError(faults[0])
        if faults:
            text = "%s: %d of %d images were passed over, the first: %s"
            logger.warning(text, self._name, self.num_unreadable, len(self._paths), faults[0])


def read_image(path: Path) -> Image:
    """Decode one image file as BGR.

    Raises:
        FatalError: it cannot be read or decoded.
    """
    try:
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise FatalError(f"an image must be readable, '{path}' is not: {error.strerror}") from error
    if (image := _decoded(data)) is None:
        raise FatalError(f"an image must be readable, '{path}' ({data.size} bytes) is not; repair or remove it")
    return image


def _decoded(data: NDArray[np.uint8]) -> Image | None:
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:  # nothing at all, or larger than it decodes
        return None
    return None if image is None else as_bgr(image)
