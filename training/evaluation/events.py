"""Which events a worker would have told of finished footage, and what they are worth beside its labels.

The rules are those of ``workers.tracker`` with its defaults: hysteresis, minimum length, merging.

Dimensions: N scored frames, T frames, H x W pixels, R x S patches.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from inference.places import box_of, unusual_places
from schemas.arrays import Float32, Float64, UInt8
from schemas.settings.detection import EventsSection

RULES = EventsSection()


@dataclass(frozen=True, slots=True)
class Span:
    """Frames of an event, or of a labelled stretch; ``last`` belongs to it."""

    first: int
    last: int

    def meets(self, other: "Span") -> bool:
        """Whether they share a frame."""
        return self.first <= other.last and other.first <= self.last

    def told_at(self, fps: float) -> int:
        """The frame on which an event has lasted long enough to be told."""
        return self.first + math.ceil(RULES.min_duration_s * fps)


def events_in(
    scores: Sequence[float], enter: float, leave: float, fps: float, blind: Sequence[bool] | None = None
) -> Iterator[Span]:
    """Stretches that would be told; none opens on a frame that is blind.

    Args:
        scores: of the frames of one clip, high = irregular.
        enter: score at which one begins.
        leave: score below which it is over.
        fps: frames a second.
        blind: whether the camera is not to be judged; None = it always is.
    """
    first, last, is_open = None, 0, False
    for frame, score in enumerate(scores):
        is_streak = first is not None and last == frame - 1
        if blind is not None and blind[frame] and not is_open:
            first = None
        elif score >= (leave if is_streak else enter):
            first, last = frame if first is None else first, frame
            is_open = is_open or (last - first) / fps >= RULES.min_duration_s
        elif not is_open:
            first = None
        elif first is not None and (frame - last) / fps > RULES.merge_gap_s:
            yield Span(first, last)
            first, is_open = None, False
    if is_open and first is not None:
        yield Span(first, last)


def stretches_in(labels_N: UInt8) -> list[Span]:
    """Of abnormal frames."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels_N > 0, [0]]).astype(np.int8)))
    return [Span(int(first), int(end) - 1) for first, end in edges.reshape(-1, 2)]


@dataclass(frozen=True, slots=True, eq=False)
class JudgedClip:
    """A clip whose frames were scored.

    Attributes:
        scores_N: high = anomalous.
        labels_N: 1 = abnormal.
        maps_NRS: of the same frames, >= 0.
        masks_NHW: abnormal pixels of the same frames; None = not known.
        fps: frames a second.
    """

    scores_N: Float64
    labels_N: UInt8
    maps_NRS: Float32
    masks_NHW: UInt8 | None
    fps: float


@dataclass(frozen=True, slots=True)
class EventsTold:
    """Events at one threshold.

    Attributes:
        per_day: false alarms a day that the threshold is for.
        enter: the threshold.
        num_events: told.
        num_on_anomaly: of them those that share a frame with a labelled stretch.
        num_anomalies: labelled stretches.
        num_found: of them those that share a frame with an event.
        delays_s: of each that was found, from its first frame until the first such event was told; 0 = told already.
        num_placeable: events whose peak is a frame with a mask.
        num_placed: of them those whose worst region touches the mask there.
    """

    per_day: float
    enter: float
    num_events: int
    num_on_anomaly: int
    num_anomalies: int
    num_found: int
    delays_s: tuple[float, ...]
    num_placeable: int
    num_placed: int

    @property
    def median_delay_s(self) -> float | None:
        """None where nothing was found."""
        return float(np.median(self.delays_s)) if self.delays_s else None


def events_told(clips: Sequence[JudgedClip], per_day: float, enter: float, leave: float) -> EventsTold:
    """What would have been told of clips, and how well that fits their labels.

    Args:
        clips: each a session of its own.
        per_day: false alarms a day that the thresholds are for.
        enter: score at which an event begins.
        leave: score below which it is over.
    """
    num_events = num_on_anomaly = num_anomalies = 0
    delays, placed = [], []
    for clip in clips:
        events = list(events_in(clip.scores_N.tolist(), enter, leave, clip.fps))
        stretches = stretches_in(clip.labels_N)
        num_events += len(events)
        num_anomalies += len(stretches)
        num_on_anomaly += sum(any(event.meets(stretch) for stretch in stretches) for event in events)
        for stretch in stretches:
            told = [event.told_at(clip.fps) for event in events if event.meets(stretch)]
            if told:
                delays.append(max(0, min(told) - stretch.first) / clip.fps)
        placed += [hit for event in events if (hit := _is_placed(clip, event)) is not None]
    return EventsTold(
        per_day,
        enter,
        num_events,
        num_on_anomaly,
        num_anomalies,
        len(delays),
        tuple(delays),
        len(placed),
        sum(placed),
    )


def _is_placed(clip: JudgedClip, event: Span) -> bool | None:
    """Whether the worst region at an event's peak touches the mask; None if there is none there."""
    peak = event.first + int(np.argmax(clip.scores_N[event.first : event.last + 1]))
    if clip.masks_NHW is None or not clip.masks_NHW[peak].any():
        return None
    places = unusual_places(clip.maps_NRS[peak])
    if not places:
        return False
    mask_HW = clip.masks_NHW[peak]
    height, width = mask_HW.shape
    x, y, across, down = box_of(places[0])
    rows = slice(int(y * height), math.ceil((y + down) * height))
    columns = slice(int(x * width), math.ceil((x + across) * width))
    return bool(mask_HW[rows, columns].any())
