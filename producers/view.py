"""Whether a camera still shows what it is to show: frozen, dark, covered, blurred, moved; on a small grey copy, twice a
second, with numpy and OpenCV alone.

Everything is judged against the camera's own picture of the last minutes, and only what lasts counts. A whole-frame
change of light or colour (day to infrared, a lamp) is no tampering: it is told as a change of scene, and what is normal
is learned anew from there.

Dimensions: H, W pixels of the small copy.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import cv2
import numpy as np
from numpy.typing import NDArray

from producers.sources.frame import Image
from schemas.cameras import ViewState

Plane = NDArray[np.float32]

INTERVAL = timedelta(seconds=0.5)
_WIDTH_PX, _HEIGHT_PX = 96, 72
_WARM_LOOKS = 10
_SLOW = 0.02
"""Share of a new look in what is normal: half of it is forgotten in 17 s."""
_PAUSE = timedelta(seconds=30)
"""After a longer one, or a clock that was set back, what had begun to last begins anew."""


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """From when on a view is no longer clear.

    Attributes:
        hold_s: so long it must last, but for ``frozen``.
        frozen_s: so long no value of the picture may change.
        clear_s: so long it must be well again.
        accept_s: a camera that was moved and is left so looks at its new view from then on.
        dark_level: brightness of the brightest parts (0 to 255) below which a picture is black.
        covered_contrast: share of the usual contrast below which nothing is to be seen.
        blurred_detail: share of the usual detail below which it is out of focus.
        moved_likeness: correlation of edges with the usual ones below which it looks elsewhere.
    """

    hold_s: float = 10.0
    frozen_s: float = 60.0
    clear_s: float = 2.0
    accept_s: float = 600.0
    dark_level: float = 24.0
    covered_contrast: float = 0.25
    blurred_detail: float = 0.35
    moved_likeness: float = 0.2


@dataclass(frozen=True, slots=True)
class Look:
    """One picture, made small.

    Attributes:
        grey_HW: brightness, 0 to 255.
        edges_HW: strength of edges, blurred a little.
        colour: mean difference of the channels, 0 = grey.
    """

    grey_HW: Plane
    edges_HW: Plane
    colour: float

    @property
    def contrast(self) -> float:
        """Standard deviation of the brightness."""
        return float(self.grey_HW.std())

    @property
    def detail(self) -> float:
        """Mean strength of edges."""
        return float(self.edges_HW.mean())


@dataclass(frozen=True, slots=True)
class ViewChange:
    """What became of a view; ``scene`` has no end and leaves it clear."""

    kind: str
    view: ViewState
    is_start: bool
    why: str
    started_at: datetime


def look_at(image: Image) -> Look:
    """The small copy of a frame, uint8 (rows, columns, 3) BGR."""
    small = cv2.resize(image, (_WIDTH_PX, _HEIGHT_PX), interpolation=cv2.INTER_AREA)
    grey_HW = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32)
    across, down = (cv2.Sobel(grey_HW, cv2.CV_32F, *order, ksize=3) for order in ((1, 0), (0, 1)))
    edges_HW = cv2.GaussianBlur(cv2.magnitude(across, down), (5, 5), 0)
    colour = float((small.max(axis=2) - small.min(axis=2)).mean())
    return Look(grey_HW, np.asarray(edges_HW, np.float32), colour)


def likeness(one_HW: Plane, other_HW: Plane) -> float:
    """Correlation, -1 to 1; 0 where one of them is even."""
    one, other = one_HW - one_HW.mean(), other_HW - other_HW.mean()
    norm = float(np.sqrt((one * one).sum() * (other * other).sum()))
    return float((one * other).sum()) / norm if norm > 1e-3 else 0.0
