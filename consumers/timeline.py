"""One picture of what happened: anomaly scores per camera over time, events, threshold and, where known, truth."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from schemas.messages import AnomalyEvent, FrameScore

SCORE_COLOUR = "#1f4e79"
EVENT_COLOUR = "#d1495b"
TRUTH_COLOUR = "#edae49"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one camera's time, both ends included."""

    camera_id: str
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Timeline:
    """What is drawn.

    Attributes:
        scores: of any cameras, in any order; frames without a score leave a gap.
        events: messages of any phase; the newest of each event counts.
        truth: where something truly happened, when that is known.
    """

    scores: Sequence[FrameScore]
    events: Sequence[AnomalyEvent] = ()
    truth: Sequence[Span] = field(default_factory=tuple)


def event_spans(events: Iterable[AnomalyEvent]) -> tuple[Span, ...]:
    """One span an event, from its start to its last anomalous frame, by its newest message."""
    newest: dict[str, AnomalyEvent] = {}
    for event in events:
        held = newest.get(event.data.event_id)
        if held is None or event.sequence > held.sequence:
            newest[event.data.event_id] = event
    data = [event.data for event in newest.values()]
    return tuple(Span(item.camera_id, item.started_at, item.last_at) for item in data)


def draw_timeline(timeline: Timeline, path: Path) -> None:
    """Write a PNG with one row a camera; the folder is made.

    Raises:
        ValueError: there is no score to draw.
    """
    by_camera = _by_camera(timeline.scores)
    if not by_camera:
        raise ValueError("a timeline needs at least one score, got none")
    figure = Figure(figsize=(12, 1.2 + 2.0 * len(by_camera)), layout="constrained")
    rows = figure.subplots(len(by_camera), 1, squeeze=False, sharey=True)[:, 0]
    for axes, (camera_id, scores) in zip(rows, by_camera.items(), strict=True):
        _draw_camera(axes, camera_id, scores, timeline)
    rows[-1].set_xlabel("seconds since the camera's first frame")
    handles = {text: handle for axes in rows for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=4, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _by_camera(scores: Iterable[FrameScore]) -> Mapping[str, Sequence[FrameScore]]:
    ordered = sorted(scores, key=lambda score: (score.camera_id, score.captured_at, score.frame_index))
    return {camera_id: tuple(group) for camera_id, group in groupby(ordered, key=lambda score: score.camera_id)}


def _draw_camera(axes: Axes, camera_id: str, scores: Sequence[FrameScore], timeline: Timeline) -> None:
    origin = scores[0].captured_at
    for spans, colour, label in (
        (timeline.truth, TRUTH_COLOUR, "truth"),
        (event_spans(timeline.events), EVENT_COLOUR, "event"),
    ):
        _shade(axes, [span for span in spans if span.camera_id == camera_id], origin, (colour, label))
    times_s = [(score.captured_at - origin).total_seconds() for score in scores]
    values = [float("nan") if score.anomaly_score is None else score.anomaly_score for score in scores]
    axes.plot(times_s, values, color=SCORE_COLOUR, linewidth=1.0, label="anomaly score")
    enter = next((event.data.threshold.enter for event in timeline.events if event.data.camera_id == camera_id), None)
    if enter is not None:
        axes.axhline(enter, color=EVENT_COLOUR, linewidth=0.8, linestyle="--", label="threshold")
    axes.set_ylim(0, 1.02)
    axes.set_xlim(0, max(times_s[-1], 1e-3))
    axes.set_ylabel(camera_id)


def _shade(axes: Axes, spans: Sequence[Span], origin: datetime, style: tuple[str, str]) -> None:
    """Truth fills the upper half of the row and events the lower one, so that both can be seen where they agree."""
    colour, label = style
    low, high = (0.5, 1.0) if label == "truth" else (0.0, 0.5)
    for span in spans:
        first_s, last_s = ((time - origin).total_seconds() for time in (span.started_at, span.ended_at))
        axes.axvspan(
            first_s, max(last_s, first_s + 0.05), low, high, color=colour, alpha=0.35, label=label, linewidth=0
        )
