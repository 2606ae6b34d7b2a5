"""Pictures of an evaluation: which there are, what they show."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.patches import Rectangle

from bundles.bundle import save_bundle
from schemas.errors import FatalError
from tests.small_bundle import small_bundle
from tests.unit.training.labelled_scene import write_scene
from training.evaluation.evaluate import EvaluateOptions, Evaluation, Outcome, evaluate
from training.evaluation.measures import ScoredClip
from training.evaluation.plots import (
    MOST_STRIPS,
    curve_figure,
    false_alarms,
    headline,
    miss_figure,
    misses,
    score_figure,
    write_plots,
)

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


def test_a_folder_that_cannot_be_made(found: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FatalError, match="pictures must go into a folder that can be written"):
        write_plots(found, tmp_path / "file")
