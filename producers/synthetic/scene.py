"""The synthetic walkway, rendered frame by frame. A longer film begins like a shorter one of the same seed."""

import itertools
import math
from collections.abc import Iterator

import cv2
import numpy as np

from producers.synthetic.anomalies import AnomalyOptions, Episode, Schedule
from producers.synthetic.camera import Camera
from producers.synthetic.drawing import Canvas, Figure
from producers.synthetic.place import lit_and_shaded
from producers.synthetic.traffic import Traffic
from producers.synthetic.truth import Truth, TruthLog, visible_box
from schemas.errors import SettingsError

_FINENESS = 2
"""Canvas pixels per image pixel, each way: what makes edges smooth."""

_NOISE_DEVIATION = 2.2
_NOISE_MARGIN_PX = 64
_MIDDLE_GREY = 128.0


class SyntheticScene:
    """A fixed camera above a path with walkers, and with anomalies unless they are switched off.

    The place follows the camera, and is the same for every seed; people, anomalies, light and noise follow the seed.
    Light drifts by a few percent over minutes, each pixel has a little sensor noise.

    Attributes:
        fps: frames a second of scene time.
        size: (width, height) in pixels.
    """

    def __init__(
        self,
        seed: int,
        fps: float = 10.0,
        size: tuple[int, int] = (320, 240),
        anomalies: AnomalyOptions | bool = True,
        camera: int = 0,
    ) -> None:
        """Nothing is rendered yet.

        Args:
            seed: >= 0.
            fps: > 0; scene time between two frames is 1 / fps.
            size: (width, height) in pixels, each at least 32.
            anomalies: False = normal footage for training, True = the defaults of ``AnomalyOptions``.
            camera: which looks on, see ``producers.synthetic.camera``; >= 0.

        Raises:
            SettingsError: a value out of range.
        """
        if min(seed, camera) < 0 or fps <= 0 or min(size) < 32:
            text = f"seed and camera must be >= 0, fps > 0 and sides >= 32 px, got {seed}, {camera}, {fps}, {size}"
            raise SettingsError(text)
        self.fps = fps
        self.size = size
        self._seed = seed
        self._options = AnomalyOptions() if anomalies is True else anomalies or None
        self._camera = Camera.numbered(camera)
        self._view = self._camera.view(size[0] * _FINENESS, size[1] * _FINENESS)
        self._noise = _noise_tile(seed, size, self._camera.noise)

    def frames(self, num: int | None = None) -> Iterator[Canvas]:
        """The first ``num`` frames (None = without end), uint8 (height, width, 3) BGR; each call starts anew."""
        traffic = Traffic(np.random.default_rng((self._seed, 1)))
        for index, episode in enumerate(self._episodes(num)):
            time_s = index / self.fps
            figures = traffic.figures(time_s)
            if episode is not None:
                abnormal = episode.abnormal(time_s)
                figures += [*episode.companions(time_s), *([abnormal] if abnormal else [])]
            yield self._finish(self._draw(figures), index)

    def truth(self, num: int) -> Truth:
        """What is abnormal in the first ``num`` frames; none is rendered for it."""
        log = TruthLog()
        for index, episode in enumerate(self._episodes(num)):
            self._note(log, episode, index / self.fps)
        return log.truth(self.fps, self.size)

    def _episodes(self, num: int | None) -> Iterator[Episode | None]:
        """What is going on at each frame."""
        schedule = Schedule(np.random.default_rng((self._seed, 2)), self._options) if self._options else None
        for index in itertools.count() if num is None else range(num):
            yield schedule.at(index / self.fps) if schedule else None

    def _note(self, log: TruthLog, episode: Episode | None, time_s: float) -> None:
        abnormal = episode.abnormal(time_s) if episode else None
        if episode is None or abnormal is None:
            log.add(None, None)
            return
        left, top, right, bottom = (edge / _FINENESS for edge in abnormal.outline(self._view))
        log.add(episode.kind, visible_box((left, top, right, bottom), *self.size))

    def _draw(self, figures: list[Figure]) -> Canvas:
        lit, shaded = lit_and_shaded(self._view, self._camera.ground)
        canvas: Canvas = lit.copy()
        shadow = np.zeros(canvas.shape[:2], np.uint8)
        for figure in figures:
            figure.draw_shadow(shadow, self._view)
        cv2.copyTo(shaded, shadow, canvas)
        for figure in sorted(figures, key=lambda one: -one.distance_m(self._view)):
            figure.draw(canvas, self._view)
        return canvas

    def _finish(self, canvas: Canvas, index: int) -> Canvas:
        image = cv2.resize(canvas, self.size, interpolation=cv2.INTER_AREA)
        contrast = self._camera.contrast
        alpha = self._brightness(index / self.fps)
        image = cv2.convertScaleAbs(image, alpha=alpha * contrast, beta=(1.0 - contrast) * _MIDDLE_GREY)
        row, column = np.random.default_rng((self._seed, 3, index)).integers(0, _NOISE_MARGIN_PX, 2)
        noise = self._noise[row : row + self.size[1], column : column + self.size[0]]
        return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), dtype=np.uint8)

    def _brightness(self, time_s: float) -> float:
        slow, fast = np.random.default_rng((self._seed, 4)).uniform(0, 2 * math.pi, 2)
        return (
            0.97
            + 0.04 * math.sin(2 * math.pi * time_s / 97 + slow)
            + 0.015 * math.sin(2 * math.pi * time_s / 31 + fast)
        )


def _noise_tile(seed: int, size: tuple[int, int], strength: float) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    rng = np.random.default_rng((seed, 5))
    shape = (size[1] + _NOISE_MARGIN_PX, size[0] + _NOISE_MARGIN_PX, 1)
    grey = rng.normal(0.0, _NOISE_DEVIATION, shape)
    coloured = rng.normal(0.0, 0.3 * _NOISE_DEVIATION, (*shape[:2], 3))
    return np.round(strength * (grey + coloured)).astype(np.int16)
