"""A video to look at: each frame with its score as a bar, and during an event where the frame is unusual and a banner.

Dimensions: H, W pixels of the picture.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from consumers.boxes import RED, with_boxes
from consumers.video import FilmWriter, Image
from schemas.errors import FatalError
from schemas.messages import EventData, FrameScore, HeatMap, Region

BAR_PX = 14
BANNER_PX = 22
MIN_WIDTH_PX = 320
GREEN, WHITE, DARK = (90, 180, 90), (255, 255, 255), (40, 40, 40)
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, slots=True)
class Cloud:
    """Where one frame is unusual: its own heat map and boxes, not those of an event's peak."""

    heat_map: HeatMap
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True, slots=True)
class ScoredFrame:
    """One frame to draw.

    Attributes:
        image: uint8 (H, W, 3), BGR.
        score: what the worker found on it.
        event: state of the event that covers it, if one does.
        cloud: where it is unusual, if that is to be shown.
    """

    image: Image
    score: FrameScore
    event: EventData | None
    cloud: Cloud | None = None


def annotate_video(frames: Iterable[Sequence[ScoredFrame]], path: Path, fps: float) -> int:
    """Write an MP4 that plays in browsers, at the size of its first picture; the number of pictures written.

    Args:
        frames: those of one moment side by side, of pictures of one height.
        path: the file; folders are made.
        fps: pictures a second.

    Raises:
        FatalError: the video library cannot write this file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FilmWriter(path, fps) as film:
            for moment in frames:
                film.add(np.hstack([annotated(frame) for frame in moment]), film.num_pictures / fps)
            return film.num_pictures
    except OSError as error:
        text = f"{path} must be a file that can be written as MP4; check the folder and its free space"
        raise FatalError(f"{text}: {error}") from error


def annotated(frame: ScoredFrame) -> Image:
    """The picture of one frame, at least 320 pixels wide, with a bar below and an even height."""
    picture = _enlarged(frame.image)
    if frame.cloud is not None:
        picture = with_boxes(_with_heat(picture, frame.cloud.heat_map), frame.cloud.regions)
    if frame.event is not None:
        _draw_banner(picture, frame.event)
    return _with_bar(picture, frame)


def _enlarged(image_HW3: Image) -> Image:
    factor = -(-MIN_WIDTH_PX // image_HW3.shape[1])
    if factor <= 1:
        return np.array(image_HW3, np.uint8)
    return np.asarray(cv2.resize(image_HW3, None, fx=factor, fy=factor), np.uint8)


def _with_heat(picture: Image, heat_map: HeatMap) -> Image:
    """Blend red over the picture, as strongly as the heat map says, at most 60 %: on the common scale from half on."""
    if not heat_map.values:
        return picture
    grid = np.asarray(heat_map.values, np.uint8).reshape(heat_map.rows, heat_map.columns)
    height, width = picture.shape[:2]
    heat_HW = np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC), np.float32) / 255.0
    full = 1.0 if heat_map.scale == "peak" else 0.5
    weight_HW1 = 0.6 * np.clip(heat_HW[..., None] / full, 0.0, 1.0) ** 2
    blended = picture * (1 - weight_HW1) + np.asarray(RED, np.float32) * weight_HW1
    return np.asarray(np.rint(blended), np.uint8)


def _draw_banner(picture: Image, event: EventData) -> None:
    cv2.rectangle(picture, (0, 0), (picture.shape[1], BANNER_PX), RED, cv2.FILLED)
    text = f"EVENT since frame {event.frames.first}   peak {event.peak.anomaly_score:.3f}"
    cv2.putText(picture, text, (6, BANNER_PX - 7), FONT, 0.42, WHITE, 1, cv2.LINE_AA)


def _with_bar(picture: Image, frame: ScoredFrame) -> Image:
    height, width = picture.shape[:2]
    framed = np.full((height + BAR_PX + (height + BAR_PX) % 2, width, 3), DARK, np.uint8)
    framed[:height] = picture
    score = frame.score.anomaly_score
    colour = RED if frame.event is not None else GREEN
    cv2.rectangle(
        framed, (0, height + 1), (round((score or 0.0) * (width - 1)), height + BAR_PX - 1), colour, cv2.FILLED
    )
    text = f"{frame.score.camera_id} #{frame.score.frame_index}  " + ("warming" if score is None else f"{score:.3f}")
    cv2.putText(framed, text, (4, height + BAR_PX - 3), FONT, 0.36, WHITE, 1, cv2.LINE_AA)
    return framed
