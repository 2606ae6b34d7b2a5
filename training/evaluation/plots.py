"""Pictures of an evaluation, as PNG files; drawn without a display.

Dimensions: R x S patches, H x W pixels, K colours.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from schemas.arrays import Float32, Float64, UInt8
from schemas.errors import FatalError
from training.evaluation.evaluate import Evaluation, Outcome
from training.evaluation.measures import ScoredClip, curves, enlarged, frame_auc, stretches, threshold_at
from training.footage.labelled import LabelledClip
from training.report import ACCENT, DPI, INK, WARNING, as_rgb

SHADE = "#f4c7ab"
FAINT = "#8a949e"
MARKED_RECALL = 0.8
"""The dashed line over the scores finds this share of the abnormal frames; in hindsight, since labels tell it."""
HISTOGRAM_BINS = 50
MARGIN = 0.04
SMALLEST_RANGE = 1e-3
HEADROOM = 1.25
"""Over the bars of the histogram, for its legend."""
MOST_COLUMNS = 3
MOST_STRIPS = 6
WIDTH_IN = 13.0
TITLES_IN = 1.1
APART_S = 1.0
"""Frames shown of one clip are at least this far apart, since neighbours look alike."""
MAP_PERCENTILE = 99.5
"""Of all maps of an outcome; what is above it has the colour of the scale's end."""
MASK_COLOUR = "#39ff14"
OPACITY = 0.75


def write_plots(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Draw all pictures of each protocol that was run.

    Args:
        evaluation: of a bundle.
        folder: is made if it does not exist; pictures of the same names are replaced.

    Returns:
        the files.

    Raises:
        FatalError: they cannot be written.
    """
    drawers: dict[str, Callable[[Evaluation, Outcome], Figure]] = {
        "scores": score_figure,
        "curves": curve_figure,
        "misses": miss_figure,
        "false-alarms": false_alarm_figure,
    }
    files: list[Path] = []
    for outcome in evaluation.outcomes.values():
        for name, draw in drawers.items():
            files.append(_save(draw(evaluation, outcome), folder / f"{outcome.protocol}-{name}.png"))
    return files


def headline(what: str, evaluation: Evaluation, outcome: Outcome) -> str:
    """Title of a picture: what it shows, the protocol, the bundle, the data, and the AUC."""
    name = f"{evaluation.path.resolve().name} ({evaluation.bundle.model}, {evaluation.bundle.digest[:8]})"
    measured = f"{name} on {evaluation.data.resolve().name}, frame AUC {outcome.frame_auc:.2%}"
    return f"{outcome.protocol.capitalize()} protocol: {what}\n{measured}"


def score_figure(evaluation: Evaluation, outcome: Outcome) -> Figure:
    """Anomaly score over the frames of every clip; abnormal stretches are shaded.

    Live scores have a line where a worker opens an event. The paper's have none, since each clip has its own scale.
    """
    count = len(outcome.clips)
    columns = min(MOST_COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH_IN, 1.3 + 1.75 * rows), layout="constrained")
    figure.suptitle(headline("anomaly score by clip", evaluation, outcome), x=0.01, ha="left", color=INK)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    lines = _thresholds(evaluation, outcome)
    grid[0, 0].set_ylim(*_score_range(outcome, *(line.level for line in lines)))
    for axes, clip, labelled in zip(grid.ravel(), outcome.clips, evaluation.footage.clips, strict=False):
        _draw_scores(axes, clip, labelled.labels_T, outcome.first_frame)
        drawn = [axes.axhline(line.level, color=line.colour, linewidth=0.9, linestyle=line.style) for line in lines]
        _styled(axes, labelled.name, _clip_note(clip))
    for axes in grid.ravel()[count:]:
        axes.set_axis_off()
    for axes in grid[-1]:
        axes.set_xlabel("frame", fontsize=9, color=INK)
    shaded = Patch(facecolor=SHADE, label="labelled abnormal")
    for artist, line in zip(drawn, lines, strict=True):
        artist.set_label(line.meaning)
    figure.legend(handles=[shaded, *drawn], loc="outside upper right", frameon=False, fontsize=9)
    return figure


def curve_figure(evaluation: Evaluation, outcome: Outcome) -> Figure:
    """ROC curve, precision over recall, and how the scores of normal and abnormal frames are spread."""
    figure = Figure(figsize=(WIDTH_IN, 5.2), layout="constrained")
    figure.suptitle(headline("over all frames", evaluation, outcome), x=0.01, ha="left", color=INK)
    roc, precision, histogram = figure.subplots(1, 3)
    points = curves(outcome.clips)
    _draw_curve(roc, points.false_positive_rate, points.true_positive_rate)
    roc.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)))
    _labelled(roc, "share of normal frames flagged", "share of abnormal frames found")
    _styled(roc, "ROC curve", f"AUC {outcome.frame_auc:.2%}")
    chance = outcome.num_abnormal / outcome.num_frames
    _draw_curve(precision, points.recall, points.precision)
    precision.axhline(chance, color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)))
    _labelled(precision, "recall", "precision")
    _styled(precision, "Precision and recall", f"average {outcome.average_precision:.2%}, chance {chance:.1%}")
    _draw_histogram(histogram, outcome)
    return figure


def miss_figure(evaluation: Evaluation, outcome: Outcome) -> Figure:
    """The abnormal frames with the lowest scores."""
    title = headline("abnormal frames with the lowest scores", evaluation, outcome)
    return strip_figure(evaluation, outcome, misses(outcome), title)


def false_alarm_figure(evaluation: Evaluation, outcome: Outcome) -> Figure:
    """The normal frames with the highest scores."""
    title = headline("normal frames with the highest scores", evaluation, outcome)
    return strip_figure(evaluation, outcome, false_alarms(outcome), title)


@dataclass(frozen=True, slots=True)
class Place:
    """One scored frame: which clip, which of its scores, and that score."""

    clip: int
    index: int
    score: float


def misses(outcome: Outcome) -> list[Place]:
    """The abnormal frames with the lowest scores, lowest first."""
    return _worst(outcome, label=1, direction=1)


def false_alarms(outcome: Outcome) -> list[Place]:
    """The normal frames with the highest scores, highest first."""
    return _worst(outcome, label=0, direction=-1)


def strip_figure(evaluation: Evaluation, outcome: Outcome, places: Sequence[Place], title: str) -> Figure:
    """A column a frame: the frame, with the outline of its mask if there is one, and the map over the frame."""
    _, height, width, _ = evaluation.footage.cache.frames_FHWC.shape
    column_in = WIDTH_IN / MOST_STRIPS
    figure = Figure(figsize=(WIDTH_IN, TITLES_IN + 2 * column_in * height / width), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", color=INK)
    grid = figure.subplots(2, MOST_STRIPS, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    top = _scale_end(outcome)
    for (frame_axes, map_axes), place in zip(grid.T, places, strict=False):
        clip = evaluation.footage.clips[place.clip]
        frame = place.index + outcome.map_frame
        picture_HW3 = as_rgb(evaluation.footage.cache.frames_FHWC[clip.video.first_frame + frame])
        map_HW = enlarged(outcome.maps[place.clip][place.index], height, width)
        frame_axes.imshow(picture_HW3)
        _outline(frame_axes, clip, frame, (height, width))
        map_axes.imshow(_overlay(picture_HW3, map_HW / top))
        frame_axes.set_title(clip.name, fontsize=9.5, color=INK, weight="bold")
        map_axes.set_title(f"frame {frame}, score {place.score:.3f}", fontsize=9, color=INK)
    return figure


@dataclass(frozen=True, slots=True)
class _Threshold:
    level: float
    meaning: str
    colour: str
    style: str | tuple[int, tuple[int, int]]


def _thresholds(evaluation: Evaluation, outcome: Outcome) -> list[_Threshold]:
    recall = threshold_at(MARKED_RECALL, outcome.clips)
    found = [_Threshold(recall, f"finds {MARKED_RECALL:.0%} of abnormal frames", WARNING, (0, (4, 3)))]
    if outcome.protocol == "live":
        wanted = f"opens an event (false alarms a day: {evaluation.target_false_alarms_per_day:g})"
        found.append(_Threshold(evaluation.opens_at, wanted, INK, "solid"))
    return found


def _draw_scores(axes: Axes, clip: ScoredClip, labels_T: UInt8, first_frame: int) -> None:
    for begin, end in stretches(labels_T != 0):
        axes.axvspan(begin - 0.5, end - 0.5, color=SHADE, linewidth=0)
    frames = first_frame + np.arange(len(clip.scores_N))
    axes.plot(frames, clip.scores_N, color=ACCENT, linewidth=1.3)
    axes.set_xlim(-0.5, len(labels_T) - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _score_range(outcome: Outcome, *others: float) -> tuple[float, float]:
    """From the lowest score to the highest, with a margin: a bundle far from home has all its scores near one end.

    Args:
        outcome: whose scores are shown.
        others: values that must be seen as well.
    """
    scores = np.concatenate([others, *(clip.scores_N for clip in outcome.clips)])
    margin = MARGIN * max(float(np.ptp(scores)), SMALLEST_RANGE)
    return float(scores.min()) - margin, float(scores.max()) + margin


def _draw_curve(axes: Axes, x: Float64, y: Float64) -> None:
    axes.plot(x, y, color=ACCENT, linewidth=1.8)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_box_aspect(1)


def _draw_histogram(axes: Axes, outcome: Outcome) -> None:
    scores = np.concatenate([clip.scores_N for clip in outcome.clips])
    labels = np.concatenate([clip.labels_N for clip in outcome.clips])
    lowest, highest = _score_range(outcome)
    edges = np.linspace(lowest, highest, HISTOGRAM_BINS + 1).tolist()
    for value, name, colour in ((0, "normal", ACCENT), (1, "abnormal", WARNING)):
        chosen = scores[labels == value]
        axes.hist(chosen, edges, density=True, color=colour, alpha=0.55, label=f"{name}, {len(chosen)} frames")
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    axes.set_xlim(lowest, highest)
    axes.set_ylim(0, HEADROOM * axes.get_ylim()[1])
    axes.set_box_aspect(1)
    _labelled(axes, "anomaly score", "density")
    _styled(axes, "Scores by label", "")


def _clip_note(clip: ScoredClip) -> str:
    auc = frame_auc([clip])
    if auc is not None:
        return f"AUC {auc:.1%}"
    return "all abnormal" if clip.num_abnormal else "all normal"


def _labelled(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)


def _styled(axes: Axes, title: str, note: str) -> None:
    axes.set_title(title, fontsize=10, color=INK, loc="left", weight="bold")
    axes.set_title(note, fontsize=9, color=FAINT, loc="right")
    axes.tick_params(labelsize=8, colors=INK)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure: Figure, path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        FigureCanvasAgg(figure)
        figure.savefig(path, dpi=DPI)
    except OSError as error:
        raise FatalError(f"pictures must go into a folder that can be written, '{path}': {error}") from error
    return path


def _worst(outcome: Outcome, label: int, direction: int) -> list[Place]:
    """Frames of a label in order of their score; ``direction`` 1 = lowest first, -1 = highest first."""
    candidates = [place for index, clip in enumerate(outcome.clips) for place in _places(index, clip, label)]
    chosen: list[Place] = []
    for place in sorted(candidates, key=lambda place: direction * place.score):
        apart = APART_S * outcome.clips[place.clip].fps
        if all(place.clip != other.clip or abs(place.index - other.index) >= apart for other in chosen):
            chosen.append(place)
        if len(chosen) == MOST_STRIPS:
            break
    return chosen


def _places(index: int, clip: ScoredClip, label: int) -> Iterator[Place]:
    for n in np.flatnonzero(clip.labels_N == label):
        yield Place(index, int(n), float(clip.scores_N[n]))


def _scale_end(outcome: Outcome) -> float:
    """Value with the strongest colour, the same for all frames of an outcome."""
    return max(float(np.percentile(np.concatenate([maps.ravel() for maps in outcome.maps]), MAP_PERCENTILE)), 1e-12)


def _overlay(picture_HW3: UInt8, level_HW: Float32) -> Float64:
    """The picture, painted over where the level is high; roots, so that weaker places can be seen, too."""
    level_HW = np.sqrt(np.clip(level_HW, 0.0, 1.0))
    colours_HW3 = colormaps["inferno"](0.15 + 0.85 * level_HW)[..., :3]
    opacity_HW1 = OPACITY * level_HW[..., None]
    return np.asarray((1 - opacity_HW1) * (picture_HW3 / 255.0) + opacity_HW1 * colours_HW3, dtype=np.float64)


def _outline(axes: Axes, clip: LabelledClip, frame: int, size: tuple[int, int]) -> None:
    masks_THW = clip.masks()
    if masks_THW is None or not masks_THW[frame].any():
        return
    mask_HW = cv2.resize(masks_THW[frame], size[::-1], interpolation=cv2.INTER_NEAREST)
    axes.contour(mask_HW, levels=[0.5], colors=MASK_COLOUR, linewidths=1.2)
