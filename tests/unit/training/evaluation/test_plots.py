"""Pictures of an evaluation: which there are, what they show."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from bundles.bundle import save_bundle
from inference.standard import standard_of
from schemas.errors import FatalError
from tests.small_bundle import small_bundle
from tests.unit.training.labelled_scene import write_scene
from training.evaluation.evaluate import EvaluateOptions, Evaluation, Outcome, evaluate
from training.evaluation.measures import ScoredClip, threshold_at
from training.evaluation.plots import (
    MARKED_RECALL,
    MOST_STRIPS,
    curve_figure,
    false_alarm_figure,
    false_alarms,
    headline,
    miss_figure,
    misses,
    score_figure,
    write_plots,
)
from training.report import INK, WARNING
from workers.options import EventOptions
from workers.rules import event_rules

NAMES = ("scores", "curves", "misses", "false-alarms")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    folder = tmp_path_factory.mktemp("plots")
    save_bundle(folder / "lobby", small_bundle())
    return evaluate(folder / "lobby", write_scene(folder / "data"), EvaluateOptions(folder / "cache", device="cpu"))


def test_each_protocol_has_its_pictures(found: Evaluation, tmp_path: Path) -> None:
    files = write_plots(found, tmp_path / "new" / "folder")
    assert [path.name for path in files] == [
        f"{protocol}-{name}.png" for protocol in ("paper", "live") for name in NAMES
    ]
    for path in files:
        picture = cv2.imread(str(path))
        assert picture is not None, path
        assert picture.shape[1] > 1000
        assert len(np.unique(picture)) > 20, path
    assert files[0].read_bytes() != files[4].read_bytes()


def test_titles_say_what_was_measured(found: Evaluation) -> None:
    outcome = found.outcomes["live"]
    title = headline("anomaly score by clip", found, outcome)
    assert title.startswith("Live protocol: anomaly score by clip\nlobby (mnad-prediction, ")
    assert title.endswith(f" on data, frame AUC {outcome.frame_auc:.2%}")
    for draw in (score_figure, curve_figure, miss_figure):
        drawn = draw(found, outcome).get_suptitle()
        assert drawn.startswith("Live protocol: ")
        assert f"AUC {outcome.frame_auc:.2%}" in drawn


def test_abnormal_stretches_are_shaded_where_they_are(found: Evaluation) -> None:
    calm, turning, *_ = score_figure(found, found.outcomes["paper"]).axes
    assert (calm.get_title(loc="left"), turning.get_title(loc="left")) == ("calm", "turning")
    assert calm.get_title(loc="right") == "all normal"
    assert not calm.patches
    (span,) = turning.patches
    assert isinstance(span, Rectangle)
    assert (span.get_x(), span.get_width()) == (19.5, 20.0)
    scores = turning.lines[0]
    assert np.asarray(scores.get_xdata())[0] == 4
    assert np.array_equal(scores.get_ydata(), found.outcomes["paper"].clips[1].scores_N)


def outcome_of(found: Evaluation, scores: list[float], labels: list[int], fps: float = 1.0) -> Outcome:
    clip = ScoredClip(np.array(scores), np.array(labels, np.uint8), fps)
    return replace(found.outcomes["live"], clips=(clip, clip))


def test_the_worst_come_first(found: Evaluation) -> None:
    outcome = outcome_of(found, [0.9, 0.1, 0.5, 0.3], [1, 1, 0, 0])
    assert [(place.clip, place.index) for place in misses(outcome)] == [(0, 1), (1, 1), (0, 0), (1, 0)]
    assert [(place.clip, place.index) for place in false_alarms(outcome)] == [(0, 2), (1, 2), (0, 3), (1, 3)]


def test_neighbours_are_shown_once(found: Evaluation) -> None:
    outcome = outcome_of(found, np.linspace(0, 1, 50).tolist(), [1] * 50, fps=5.0)
    chosen = [place.index for place in misses(outcome) if place.clip == 0]
    assert chosen == [0, 5, 10]
    assert len(misses(outcome)) == MOST_STRIPS
    assert false_alarms(outcome) == []


def test_strips_show_the_frame_that_was_scored(found: Evaluation) -> None:
    outcome = found.outcomes["live"]
    place = misses(outcome)[0]
    axes = miss_figure(found, outcome).axes[0]
    frame = found.footage.cache.frames_FHWC[found.footage.clips[1].video.first_frame + place.index + 4]
    assert np.array_equal(np.asarray(axes.images[0].get_array())[..., 0], frame[..., 0])
    assert axes.collections, "the outline of the mask"


def level(axes: Axes, colour: str) -> list[float]:
    """Where the horizontal lines of a colour lie."""
    drawn = [np.asarray(line.get_ydata()) for line in axes.lines if line.get_color() == colour]
    return [float(y[0]) for y in drawn if len(y) == 2]


def test_the_line_over_the_scores_is_the_threshold_that_its_legend_names(found: Evaluation) -> None:
    """Eight abnormal frames in two clips: seven of them are the least that are 80 %, and reach down to 0.2."""
    outcome = outcome_of(found, [0.2, 0.4, 0.6, 0.8, 0.1], [1, 1, 1, 1, 0])
    figure = score_figure(found, outcome)
    threshold = threshold_at(MARKED_RECALL, outcome.clips)
    assert threshold == 0.2
    assert [level(axes, WARNING) for axes in figure.axes[:2]] == [[threshold]] * 2
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][:2] == ["labelled abnormal", "finds 80% of abnormal frames"]


def opening_score(found: Evaluation, target: float) -> float:
    """Where ``engram watch`` opens an event: the worker's own rules, at the rate that it asks of a camera."""
    options = EventOptions(target_false_alarms_per_day=target)
    return event_rules(options)(found.bundle.manifest.fps, standard_of(found.bundle.calibration)).enter


@pytest.mark.parametrize("target", [1.0, 1440.0])
def test_live_scores_have_a_line_where_a_worker_opens_an_event(found: Evaluation, target: float) -> None:
    """One line for all clips, whatever their labels; it is seen even where all scores lie below it."""
    outcome = outcome_of(found, [0.1, 0.2, 0.1], [0, 1, 0])
    figure = score_figure(replace(found, target_false_alarms_per_day=target), outcome)
    opens_at = opening_score(found, target)
    assert [level(axes, INK) for axes in figure.axes[:2]] == [[opens_at]] * 2
    assert figure.axes[0].get_ylim()[1] > opens_at > 0.2
    (legend,) = figure.legends
    assert legend.get_texts()[-1].get_text() == f"opens an event (false alarms a day: {target:g})"


def test_a_rate_of_its_own_has_a_threshold_of_its_own(found: Evaluation) -> None:
    """Below a frame in the smoothing time the threshold depends on the rate: the bundle's counts, as in a worker."""
    manifest = found.bundle.manifest.model_copy(update={"fps": 0.5})
    slow = replace(found, bundle=replace(found.bundle, manifest=manifest))
    assert slow.opens_at == opening_score(slow, 1.0) < found.opens_at == opening_score(found, 1.0)


def test_scores_of_the_paper_have_no_such_line(found: Evaluation) -> None:
    figure = score_figure(found, found.outcomes["paper"])
    assert [level(axes, INK) for axes in figure.axes[:2]] == [[], []]
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 2


def test_scores_share_one_range_that_shows_them_all(found: Evaluation) -> None:
    """With a margin of 4 %; scores that hardly differ are not blown up to fill the height."""
    found = replace(found, target_false_alarms_per_day=100.0)
    assert 0.2 < found.opens_at < 0.7
    first, second, *_ = score_figure(found, outcome_of(found, [0.2, 0.7, 0.3], [0, 1, 0])).axes
    assert first.get_ylim() == second.get_ylim() == pytest.approx((0.2 - 0.02, 0.7 + 0.02))
    flat, *_ = score_figure(found, outcome_of(found, [found.opens_at] * 3, [0, 1, 0])).axes
    assert flat.get_ylim() == pytest.approx((found.opens_at - 4e-5, found.opens_at + 4e-5))


def test_clips_of_one_class_say_which(found: Evaluation) -> None:
    """Beside the name of each clip: its own area, or that it has none."""
    mixed = outcome_of(found, [0.1, 0.9, 0.5], [0, 1, 0])
    abnormal = replace(mixed.clips[0], labels_N=np.ones(3, np.uint8))
    figure = score_figure(found, replace(mixed, clips=(mixed.clips[0], abnormal)))
    assert [axes.get_title(loc="right") for axes in figure.axes[:2]] == ["AUC 100.0%", "all abnormal"]


def test_curves_and_their_titles_are_of_these_scores(found: Evaluation) -> None:
    """Two normal frames, of which one lies above the lower of two abnormal ones; so in both clips."""
    outcome = outcome_of(found, [0.1, 0.6, 0.5, 0.9], [0, 0, 1, 1])
    roc, precision, histogram = curve_figure(found, outcome).axes
    rates = np.array(roc.lines[0].get_xydata())
    assert [0.0, 0.5] in rates.tolist()
    assert [0.5, 1.0] in rates.tolist()
    points = np.array(precision.lines[0].get_xydata())
    assert [1.0, pytest.approx(2 / 3)] in points.tolist(), "recall to the right, precision upward"
    chance = np.asarray(precision.lines[1].get_ydata()).tolist()
    assert chance == [outcome.num_abnormal / outcome.num_frames] * 2 == [0.5, 0.5]
    assert precision.get_title(loc="right").endswith("chance 50.0%")
    assert (precision.get_xlabel(), precision.get_ylabel()) == ("recall", "precision")
    legend = histogram.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["normal, 4 frames", "abnormal, 4 frames"]


def test_bars_of_either_label_cover_one_area(found: Evaluation) -> None:
    """Densities: a few abnormal frames are seen beside many normal ones."""
    scores = np.linspace(0, 1, 100).tolist()
    *_, histogram = curve_figure(found, outcome_of(found, scores, [0] * 90 + [1] * 10)).axes
    bars = [bar for bar in histogram.patches if isinstance(bar, Rectangle)]
    normal, abnormal = bars[: len(bars) // 2], bars[len(bars) // 2 :]
    for group in (normal, abnormal):
        assert sum(bar.get_width() * bar.get_height() for bar in group) == pytest.approx(1.0)
    assert max(bar.get_x() for bar in normal if bar.get_height()) < 0.92
    assert min(bar.get_x() for bar in abnormal if bar.get_height()) > 0.85
    assert histogram.get_ylim()[1] > 1.2 * max(bar.get_height() for bar in bars), "room for the legend"


def test_strips_name_the_frame_and_its_score(found: Evaluation) -> None:
    outcome = found.outcomes["live"]
    for draw, places in ((miss_figure, misses(outcome)), (false_alarm_figure, false_alarms(outcome))):
        figure = draw(found, outcome)
        frames, maps = figure.axes[:MOST_STRIPS], figure.axes[MOST_STRIPS:]
        for place, frame_axes, map_axes in zip(places, frames, maps, strict=False):
            assert frame_axes.get_title() == found.footage.clips[place.clip].name
            assert map_axes.get_title() == f"frame {place.index + outcome.map_frame}, score {place.score:.3f}"
            labelled = outcome.clips[place.clip].labels_N[place.index]
            assert bool(frame_axes.collections) == bool(labelled), "an outline where the mask says abnormal"


def test_maps_are_painted_over_the_frame_with_one_scale(found: Evaluation) -> None:
    """Where nothing is irregular the picture is as it was; at the end of the scale it is mostly the scale's colour."""
    base = found.outcomes["live"]
    maps = tuple(np.zeros_like(each) for each in base.maps)
    maps[1][...] = 1.0
    outcome = replace(base, maps=maps)
    hottest = np.array(colormaps["inferno"](1.0)[:3])
    for draw, places in ((miss_figure, misses(outcome)), (false_alarm_figure, false_alarms(outcome))):
        axes = draw(found, outcome).axes
        for at, place in enumerate(places):
            picture = np.asarray(axes[at].images[0].get_array()) / 255.0
            wanted = 0.25 * picture + 0.75 * hottest if place.clip == 1 else picture
            assert np.allclose(np.asarray(axes[MOST_STRIPS + at].images[0].get_array()), wanted, atol=1e-6)


def test_a_folder_that_cannot_be_made(found: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FatalError, match="pictures must go into a folder that can be written"):
        write_plots(found, tmp_path / "file")
