"""What really happened in a synthetic film, frame by frame."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_MIN_VISIBLE = 0.25
"""An anomaly counts once this part of it is inside the picture."""


@dataclass(frozen=True, slots=True)
class Box:
    """Pixels; x and y of the upper left corner."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class InjectedAnomaly:
    """One anomaly while it can be seen. ``boxes[i]`` belongs to frame ``first_frame + i``; both ends are included."""

    kind: str
    first_frame: int
    last_frame: int
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """Labels (0 normal, 1 anomalous) of all frames so far, and the anomalies behind them."""

    fps: float
    width: int
    height: int
    labels: tuple[int, ...]
    anomalies: tuple[InjectedAnomaly, ...]

    def labels_array(self) -> NDArray[np.uint8]:
        """Labels as uint8 (N)."""
        return np.array(self.labels, dtype=np.uint8)

    def write_json(self, path: Path) -> None:
        """Write all of it as one JSON object."""
        anomalies = [
            {
                "kind": one.kind,
                "first_frame": one.first_frame,
                "last_frame": one.last_frame,
                "boxes": [[box.x, box.y, box.width, box.height] for box in one.boxes],
            }
            for one in self.anomalies
        ]
        content = {"fps": self.fps, "width": self.width, "height": self.height, "labels": self.labels}
        path.write_text(json.dumps({**content, "anomalies": anomalies}) + "\n")


def read_truth(path: Path) -> Truth:
    """Inverse of ``Truth.write_json``."""
    content = json.loads(path.read_text())
    anomalies = tuple(
        InjectedAnomaly(one["kind"], one["first_frame"], one["last_frame"], tuple(Box(*box) for box in one["boxes"]))
        for one in content["anomalies"]
    )
    return Truth(content["fps"], content["width"], content["height"], tuple(content["labels"]), anomalies)


def visible_box(outline: tuple[float, float, float, float], width: int, height: int) -> Box | None:
    """The part of an outline (left, top, right, bottom) inside the picture; None if that is too little of it."""
    left, top, right, bottom = outline
    inner = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
    size = (inner[2] - inner[0], inner[3] - inner[1])
    if min(size) <= 0 or size[0] * size[1] < _MIN_VISIBLE * (right - left) * (bottom - top):
        return None
    x, y = int(inner[0]), int(inner[1])
    return Box(x, y, max(1, round(inner[2]) - x), max(1, round(inner[3]) - y))


class TruthLog:
    """Gathers the truth while a film is rendered."""

    def __init__(self) -> None:
        self._labels: list[int] = []
        self._closed: list[InjectedAnomaly] = []
        self._open: tuple[str, list[Box]] | None = None

    def add(self, kind: str | None, box: Box | None) -> None:
        """The next frame, and where its anomaly is, if there is one to be seen."""
        if box is None or kind is None:
            self._close()
        elif self._open is None or self._open[0] != kind:
            self._close()
            self._open = (kind, [box])
        else:
            self._open[1].append(box)
        self._labels.append(int(box is not None))

    def truth(self, fps: float, size: tuple[int, int]) -> Truth:
        """All so far; an anomaly still going on ends with the last frame."""
        return Truth(fps, *size, tuple(self._labels), (*self._closed, *self._open_as_anomaly(len(self._labels))))

    def _close(self) -> None:
        self._closed.extend(self._open_as_anomaly(len(self._labels)))
        self._open = None

    def _open_as_anomaly(self, end: int) -> Sequence[InjectedAnomaly]:
        if self._open is None:
            return ()
        kind, boxes = self._open
        return (InjectedAnomaly(kind, end - len(boxes), end - 1, tuple(boxes)),)
