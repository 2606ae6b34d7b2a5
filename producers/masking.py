"""Parts of the picture that must not leave the edge: blackened before anything is encoded."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from producers.sources.frame import Image
from producers.sources.image_folder import read_image
from schemas.errors import SettingsError

Polygon = Sequence[tuple[float, float]]
"""Corners (x, y) in fractions of the image, (0, 0) = upper left."""

_HIDDEN_BELOW = 128
_REFERENCE_PX = 1024


class Mask:
    """Hides parts of images of any size; at the border rather a pixel too many than one too few."""

    def __init__(self, hidden: NDArray[np.bool_]) -> None:
        """``hidden`` (rows, columns) is stretched over each image."""
        self._hidden = hidden.astype(np.uint8)
        self._fitted = lru_cache(maxsize=4)(self._fit)

    @classmethod
    def from_image(cls, path: Path) -> "Mask":
        """Read a mask image of any size: black hides, white shows.

        Raises:
            FatalError: it cannot be read.
        """
        return cls(read_image(path).max(axis=2) < _HIDDEN_BELOW)

    @classmethod
    def from_polygons(cls, polygons: Sequence[Polygon]) -> "Mask":
        """Hide the inside of each polygon.

        Raises:
            SettingsError: fewer than three corners, or a corner outside [0, 1].
        """
        hidden = np.zeros((_REFERENCE_PX, _REFERENCE_PX), np.uint8)
        for polygon in polygons:
            if len(polygon) < 3 or not all(0 <= value <= 1 for corner in polygon for value in corner):
                raise SettingsError(f"a mask polygon needs 3 corners or more, each in [0, 1], got {list(polygon)}")
            corners = np.round(np.array(polygon) * hidden.shape[0]).astype(np.int32)
            cv2.fillPoly(hidden, [corners], 1)
        return cls(hidden.astype(bool))

    @property
    def hides(self) -> bool:
        """Whether there is anything to hide."""
        return True

    def hide(self, image: Image) -> Image:
        """A copy of ``image`` with all hidden pixels black."""
        visible = self._fitted(image.shape[0], image.shape[1])
        return np.asarray(cv2.bitwise_and(image, image, mask=visible), dtype=np.uint8)

    def _fit(self, height: int, width: int) -> NDArray[np.uint8]:
        """255 where a pixel of an image of this size may be seen, else 0."""
        # One axis after the other: shrinking one while growing the other, OpenCV would skip rows or columns.
        share = self._hidden.astype(np.float32)
        for size in ((width, share.shape[0]), (width, height)):
            shrinks = size[0] < share.shape[1] or size[1] < share.shape[0]
            # An area's mean is above 0 wherever a part is hidden; so is a linear blend when growing.
            share = np.asarray(cv2.resize(share, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))
        return np.where(share > 0, 0, 255).astype(np.uint8)


class ChangingMask(Mask):
    """A mask that can be told anew while frames pass, from any thread: each frame sees one or the other, whole."""

    def __init__(self) -> None:
        """Hide nothing yet."""
        self._now: Mask | None = None

    def change(self, polygons: Sequence[Polygon]) -> None:
        """Hide the inside of each polygon from the next frame on.

        Raises:
            SettingsError: see ``Mask.from_polygons``; what was hidden stays hidden.
        """
        self._now = Mask.from_polygons(polygons) if polygons else None

    @property
    def hides(self) -> bool:
        """Whether there is anything to hide now."""
        return self._now is not None

    def hide(self, image: Image) -> Image:
        """``image``, or a copy of it with all hidden pixels black."""
        now = self._now
        return image if now is None else now.hide(image)
