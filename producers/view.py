"""Whether a camera still shows what it is to show: frozen, dark, covered, blurred or moved.

Looked at is a small grey copy, twice a second, with numpy and OpenCV alone. Everything is judged against the camera's
own picture of the last minutes, and only what lasts counts. A whole-frame change of light or colour (day to infrared, a
lamp) is no tampering: it is told as a change of scene, and what is normal is learned anew from there.

Dimensions: H, W pixels of the small copy.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from producers.shrinking import shrunk
from producers.sources.frame import Image
from schemas.cameras import CameraView
from schemas.messages import FrameHeader, ViewState

Plane = NDArray[np.float32]

INTERVAL = timedelta(seconds=0.5)
SMALL_PX = (96, 72)
"""Also what to ask pictures for that are made for the judge: what is halved while it is four times as large (see
``producers.shrinking``) leaves at least ``FINE_PX``."""
FINE_PX = (2 * SMALL_PX[0], 2 * SMALL_PX[1])
_WARM_LOOKS = 10
_SLOW = 0.02
"""Share of a new look in what is normal: half of it is forgotten in 17 s."""
_STEP = 25.0
_WHOLE = 0.6
"""Change of brightness of a pixel that counts, and the share of all pixels above which the light has changed."""
_COLOUR = 4.0
"""Mean difference of the channels above which a picture is in colour."""
_DOUBT_S = 5.0
"""A still picture is doubted from then on, long before it is told. Not at once: a scene at rest may come as the same
very picture from one key frame of a stream to the next."""
_ROWS = 4
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
    moved_likeness: float = 0.4


@dataclass(frozen=True, slots=True)
class Look:
    """One picture, made small.

    Attributes:
        grey_HW: brightness, 0 to 255.
        edges_HW: strength of edges, blurred a little.
        detail: mean strength of structures as small as a lens out of focus loses first, on a copy twice as large.
        colour: mean difference of the channels, 0 = grey.
    """

    grey_HW: Plane
    edges_HW: Plane
    detail: float
    colour: float

    @property
    def contrast(self) -> float:
        """Standard deviation of the brightness."""
        return float(self.grey_HW.std())


@dataclass(frozen=True, slots=True)
class ViewChange:
    """What became of a view; ``scene`` has no end and leaves it clear."""

    kind: Literal["tamper", "stale", "scene"]
    view: ViewState
    is_start: bool
    why: str
    started_at: datetime


def look_at(image: Image) -> Look:
    """The small copy of a frame, uint8 (rows, columns, 3) BGR."""
    fine = shrunk(image, FINE_PX)
    small = cv2.resize(fine, SMALL_PX, interpolation=cv2.INTER_AREA)
    grey_HW = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32)
    across, down = (cv2.Sobel(grey_HW, cv2.CV_32F, *order, ksize=3) for order in ((1, 0), (0, 1)))
    edges_HW = cv2.GaussianBlur(cv2.magnitude(across, down), (5, 5), 0)
    fine_grey = cv2.cvtColor(fine, cv2.COLOR_BGR2GRAY).astype(np.float32)
    # A band between the noise of the sensor and what is left of a picture out of focus.
    band = cv2.GaussianBlur(fine_grey, (0, 0), 0.8) - cv2.GaussianBlur(fine_grey, (0, 0), 2.0)
    colour = float((small.max(axis=2) - small.min(axis=2)).mean())
    return Look(grey_HW, np.asarray(edges_HW, np.float32), float(np.abs(band).mean()), colour)


def view_of(header: FrameHeader, change: ViewChange) -> CameraView:
    """The change as it is told to others; ``header`` is of the frame by which it was seen."""
    return CameraView(
        camera_id=header.camera_id,
        session_id=header.session_id,
        kind=change.kind,
        phase="start" if change.is_start else "end",
        view=change.view,
        why=change.why,
        frame_index=header.frame_index,
        captured_at=header.captured_at,
        started_at=change.started_at,
    )


def likeness(one_HW: Plane, other_HW: Plane) -> float:
    """Correlation, -1 to 1; 0 where one of them is even."""
    one, other = one_HW - one_HW.mean(), other_HW - other_HW.mean()
    norm = float(np.sqrt((one * one).sum() * (other * other).sum()))
    return float((one * other).sum()) / norm if norm > 1e-3 else 0.0


@dataclass(frozen=True, slots=True)
class _Usual:
    """What is normal for this camera."""

    grey_HW: Plane
    edges_HW: Plane
    contrast: float
    detail: float
    num_looks: int

    @classmethod
    def first(cls, look: Look) -> "_Usual":
        return cls(look.grey_HW, look.edges_HW, look.contrast, look.detail, 1)

    @property
    def is_known(self) -> bool:
        return self.num_looks >= _WARM_LOOKS

    def with_look(self, look: Look) -> "_Usual":
        share = max(_SLOW, 1 / (self.num_looks + 1))
        return _Usual(
            self.grey_HW + np.float32(share) * (look.grey_HW - self.grey_HW),
            self.edges_HW + np.float32(share) * (look.edges_HW - self.edges_HW),
            self.contrast + share * (look.contrast - self.contrast),
            self.detail + share * (look.detail - self.detail),
            self.num_looks + 1,
        )


class ViewJudge:
    """Looks at one camera's frames and tells what becomes of its view.

    Attributes:
        view: the state now.
        since: capture time from which on it is so; None before the first look.
    """

    def __init__(self, options: ViewOptions | None = None) -> None:
        self.view: ViewState = "clear"
        self.since: datetime | None = None
        self._options = options or ViewOptions()
        self._usual: _Usual | None = None
        self._last: tuple[datetime, Look] | None = None
        self._rows: tuple[tuple[int, ...], bytes] | None = None
        self._still_since: datetime | None = None
        self._candidate: tuple[ViewState, datetime] = ("clear", datetime.min)
        self._moved: _Usual | None = None

    @property
    def doubt(self) -> ViewState:
        """What is told, or would be if it lasted: nothing should be learned from a frame unless it is clear."""
        if self.view != "clear" or self._last is None or self._still_since is None:
            return self.view
        seen, is_still = self._candidate[0], (self._last[0] - self._still_since).total_seconds() >= _DOUBT_S
        return "frozen" if is_still and seen == "clear" else seen

    def look(self, image: Image, captured_at: datetime) -> list[ViewChange]:
        """Judge a frame, if it is time for a look; what has changed by it, mostly nothing."""
        if self._last is not None and timedelta(0) <= captured_at - self._last[0] < INTERVAL:
            return []
        look = look_at(image)
        before, self._last = self._last, (captured_at, look)
        self.since = self.since or captured_at
        if before is None or not timedelta(0) <= captured_at - before[0] <= _PAUSE:
            self._candidate, self._still_since = (self.view, captured_at), captured_at
        self._note_stillness(image, captured_at)
        if self._usual is None or not self._usual.is_known:
            self._learn(look)
            return []
        why = None if before is None else self._scene_change(before[1], look)
        if why is not None:
            self._usual = _Usual.first(look)
            return [*self._become("clear", why, captured_at), ViewChange("scene", "clear", True, why, captured_at)]
        return self._judge(look, captured_at)

    def _judge(self, look: Look, captured_at: datetime) -> list[ViewChange]:
        view, why = self._seen(look, captured_at)
        if view != self._candidate[0]:
            self._candidate, self._moved = (view, captured_at), None
        if view == "clear" == self.view:
            self._learn(look)
        if view == "moved":
            self._moved = _Usual.first(look) if self._moved is None else self._moved.with_look(look)
        lasted_s = (captured_at - self._candidate[1]).total_seconds()
        if view == self.view == "moved" and lasted_s >= self._options.accept_s:
            self._usual = self._moved
            return self._become("clear", "it was left so, this is its view from now on", captured_at)
        if view == self.view:
            return []
        hold_s = {"clear": self._options.clear_s, "frozen": 0.0}.get(view, self._options.hold_s)
        return self._become(view, why, self._candidate[1]) if lasted_s >= hold_s else []

    def _seen(self, look: Look, captured_at: datetime) -> tuple[ViewState, str]:
        """What this look says, and why."""
        options, usual = self._options, self._usual
        assert usual is not None
        still_s = (captured_at - (self._still_since or captured_at)).total_seconds()
        if still_s >= options.frozen_s:
            return "frozen", f"no value of the picture has changed for {still_s:.0f} s"
        brightest = float(np.percentile(look.grey_HW, 98))
        if brightest < options.dark_level:
            return "dark", f"the brightest parts are at {brightest:.0f} of 255"
        contrast, detail = look.contrast / max(usual.contrast, 1.0), look.detail / max(usual.detail, 1.0)
        if contrast < options.covered_contrast and detail < options.blurred_detail:
            return "covered", f"its contrast is {contrast:.0%} of the usual"
        if detail < options.blurred_detail and likeness(look.grey_HW, usual.grey_HW) > 0.5:
            return "blurred", f"its detail is {detail:.0%} of the usual"
        alike = likeness(look.edges_HW, usual.edges_HW)
        if alike < options.moved_likeness:
            return "moved", f"its edges have a likeness of {alike:.2f} with the usual ones"
        return "clear", "as usual"

    def _scene_change(self, before: Look, look: Look) -> str | None:
        """Why all of the picture changed at once though it is a good one, if it did."""
        usual = self._usual
        assert usual is not None
        if self.view != "clear" or self._candidate[0] != "clear":
            return None
        if look.contrast < 0.4 * usual.contrast or look.detail < 0.3 * usual.detail:
            return None
        if _is_colour(before) != _is_colour(look) and abs(before.colour - look.colour) > _COLOUR:
            return f"from {'grey to colour' if _is_colour(look) else 'colour to grey'}, as between day and infrared"
        share = float((np.abs(look.grey_HW - before.grey_HW) > _STEP).mean())
        if share > _WHOLE and likeness(look.edges_HW, usual.edges_HW) >= self._options.moved_likeness:
            return f"{share:.0%} of the picture changed its brightness at once"
        return None

    def _become(self, view: ViewState, why: str, started_at: datetime) -> list[ViewChange]:
        before, self.view, self.since = self.view, view, started_at
        if before == view:
            return []
        changes = [] if before == "clear" else [ViewChange(_kind(before), before, False, why, started_at)]
        return changes if view == "clear" else [*changes, ViewChange(_kind(view), view, True, why, started_at)]

    def _note_stillness(self, image: Image, captured_at: datetime) -> None:
        # An image of a sensor is never the same twice, down to the last bit; one that is shown again is. Every fourth
        # row tells as much as all, for a quarter of the memory.
        rows = (image.shape, image[::_ROWS].tobytes())
        if rows != self._rows:
            self._still_since = captured_at
        self._rows = rows

    def _learn(self, look: Look) -> None:
        self._usual = _Usual.first(look) if self._usual is None else self._usual.with_look(look)


def _is_colour(look: Look) -> bool:
    return look.colour > _COLOUR


def _kind(view: ViewState) -> Literal["tamper", "stale"]:
    return "stale" if view == "frozen" else "tamper"
