"""A folder of images, in natural order of their names (2 before 10)."""

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from producers.sources.frame import Image, as_bgr
from producers.sources.options import SourceOptions
from producers.sources.recorded import RecordedSource
from schemas.errors import FatalError

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
_DEFAULT_FPS = 10.0


class ImageFolderSource(RecordedSource):
    """One frame per image file; other files are passed over."""

    def __init__(self, folder: Path, options: SourceOptions) -> None:
        """List the folder at once.

        Raises:
            FatalError: no image in it.
        """
        self._paths = sorted((path for path in folder.iterdir() if _is_image(path)), key=_natural_order)
        if not self._paths:
            known = ", ".join(sorted(_SUFFIXES))
            raise FatalError(f"a folder source must hold images ({known}), '{folder}' holds none")
        super().__init__(str(folder), options.fps or _DEFAULT_FPS, options)

    def _images(self) -> Iterator[Image]:
        for path in self._paths:
            yield read_image(path)


def read_image(path: Path) -> Image:
    """Decode one image file as BGR.

    Raises:
        FatalError: it cannot be read or decoded.
    """
    try:
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except (OSError, cv2.error) as error:
        raise FatalError(f"an image must be readable, '{path}' is not: {error}") from error
    if image is None:
        raise FatalError(f"an image must be readable, '{path}' ({data.size} bytes) is not; repair or remove it")
    return as_bgr(image)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and path.is_file()


def _natural_order(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", path.name)
    # Not isdigit(), which takes a raised two for a digit that int() then refuses.
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]
