"""A bundle measured on labelled footage by both protocols, with every network."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bundles.bundle import load_bundle, save_bundle
from schemas.errors import BundleError, FatalError
from tests.small_bundle import PARAMETERS, small_bundle
from tests.unit.training.labelled_scene import turning_noisy, write_clip, write_labels, write_masks, write_scene
from training.evaluation.evaluate import (
    EvaluateOptions,
    Evaluation,
    Examiner,
    evaluate,
    open_examiner,
    paper_gate,
    pixel_auc,
)
from training.evaluation.measures import frame_auc
from training.evaluation.measuring import Run
from training.evaluation.report import as_json


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    write_scene(folder / "data")
    for model in PARAMETERS:
        save_bundle(folder / model, small_bundle(model=model))
    return folder


def options(place: Path) -> EvaluateOptions:
    return EvaluateOptions(cache=place / "cache", device="cpu")


@pytest.fixture(scope="module")
def found(place: Path) -> Evaluation:
    return evaluate(place / "mnad-prediction", place / "data", options(place))


def examiner(place: Path, model: str = "mnad-prediction") -> Examiner:
    return open_examiner(place / model, place / "data", options(place))


def same(first: Run, second: Run) -> bool:
    pairs = zip(first.videos, second.videos, strict=True)
    return all(
        np.array_equal(a.error_map_RS, b.error_map_RS) for one, two in pairs for a, b in zip(one, two, strict=True)
    )


def test_noise_is_found_by_both_protocols(found: Evaluation) -> None:
    for outcome in found.outcomes.values():
        assert (outcome.num_frames, outcome.num_abnormal) == (30 - 4 + 40 - 4, 20)
        assert outcome.average_precision > 0.5
        assert outcome.false_alarms_per_hour.keys() == {0.5, 0.8, 0.9}
    assert found.outcomes["paper"].frame_auc > 0.7  # scaling by clip lifts the calm clip's maximum to 1
    assert found.outcomes["live"].frame_auc > 0.95


def test_the_object_for_programs(found: Evaluation, place: Path) -> None:
    told = json.loads(json.dumps(as_json(found)))
    assert told["protocol"].keys() == told["frame_auc"].keys() == told["pixel_auc"].keys() == {"paper", "live"}
    assert told["average_precision"].keys() == told["false_alarms_per_hour"].keys() == {"paper", "live"}
    assert told["bundle_digest"] == load_bundle(place / "mnad-prediction").digest
    assert (told["model"], told["num_frames"], told["num_abnormal"]) == ("mnad-prediction", 62, 20)
    assert all(0 <= area <= 1 for area in told["frame_auc"].values())
    calm, turning = told["clips"]
    assert (calm["name"], calm["num_frames"], calm["num_abnormal"]) == ("calm", 26, 0)
    assert calm["frame_auc"] == {"paper": None, "live": None}
    assert turning["frame_auc"]["live"] > 0.9
    assert turning["max_score"]["live"] > calm["max_score"]["live"]
    assert told["frames_per_s"] > 0
    assert "0.01" in told["protocol"]["paper"]["memory"]
    assert told["protocol"]["live"]["memory"] == "as trained"


def test_pixels_need_masks(place: Path, tmp_path: Path) -> None:
    """The noise is everywhere, but only the left half is labelled: pixels are told apart less well than frames."""
    outcome = evaluate(place / "mnad-prediction", place / "data", options(place)).outcomes["live"]
    assert outcome.pixel_auc is not None
    assert 0.5 < outcome.pixel_auc < outcome.frame_auc
    write_scene(tmp_path / "data")
    (tmp_path / "data" / "masks" / "turning.npz").unlink()
    assert evaluate(place / "mnad-prediction", tmp_path / "data", options(tmp_path)).outcomes["live"].pixel_auc is None


@pytest.mark.parametrize("model", list(PARAMETERS))
def test_every_network(place: Path, model: str) -> None:
    outcomes = evaluate(place / model, place / "data", options(place)).outcomes
    length = PARAMETERS[model]["clip_length"]
    for name, outcome in outcomes.items():
        assert outcome.num_frames == 70 - 2 * (length - 1)
        assert outcome.frame_auc > 0.7, name
        labels = outcome.clips[1].labels_N
        assert labels.tolist() == turning_noisy()[outcome.first_frame :][: len(labels)].tolist()


def test_protocols_share_a_pass_where_the_memory_stays(place: Path) -> None:
    assert paper_gate(load_bundle(place / "memae")) is None
    assert paper_gate(load_bundle(place / "mpn")) is None
    memae = evaluate(place / "memae", place / "data", options(place))
    assert as_json(memae)["protocol"]["paper"]["memory"] == "none to update"
    assert as_json(memae)["protocol"]["paper"]["num_frames"] == 64


def test_the_papers_memory_is_carried_from_clip_to_clip(place: Path) -> None:
    """The second clip begins with what the first left behind."""
    both = examiner(place)
    run = both.carried(gate=float("inf"))
    assert all(run.updated)
    first, second = (replace(both, footage=replace(both.footage, clips=(clip,))) for clip in both.footage.clips)
    left = first.carried(gate=float("inf")).items_MC
    onward = replace(second, bundle=replace(both.bundle, items_MC=left))
    distances = [
        run.videos[-1][0].irregularity.measures.feature_distance
        for run in (run, onward.carried(gate=0.0), second.carried(gate=0.0))
    ]
    assert distances[0] == distances[1]
    assert distances[0] != pytest.approx(distances[2], rel=0.01)


def test_a_closed_gate_is_a_memory_that_stays(place: Path) -> None:
    subject = examiner(place)
    closed = subject.carried(gate=0.0)
    assert not any(closed.updated)
    assert np.array_equal(closed.items_MC, subject.bundle.items_MC)
    aucs = [subject.auc("live", run) for run in (closed, subject.fixed())]
    assert aucs[0] == pytest.approx(aucs[1], abs=1e-6)


def test_a_frame_is_scored_before_it_teaches(place: Path) -> None:
    subject = examiner(place)
    fixed, carried = subject.fixed(), subject.carried(gate=float("inf"))
    measures = [run.videos[0][0].irregularity.measures for run in (fixed, carried)]
    assert measures[0].feature_distance == pytest.approx(measures[1].feature_distance, rel=1e-5)
    assert not same(fixed, carried)


def test_live_scores_are_of_the_bank_as_trained(found: Evaluation, place: Path) -> None:
    subject = examiner(place)
    clips = subject.scored("live", subject.fixed())
    for ours, theirs in zip(clips, found.outcomes["live"].clips, strict=True):
        assert ours.scores_N == pytest.approx(theirs.scores_N)
    assert frame_auc(clips) == found.outcomes["live"].frame_auc


def test_one_protocol_alone(place: Path) -> None:
    live = evaluate(place / "mnad-prediction", place / "data", replace(options(place), protocols=("live",)))
    assert list(as_json(live)["frame_auc"]) == ["live"]


@pytest.mark.parametrize(("label", "kind"), [(0, "normal"), (1, "abnormal")])
def test_one_class_only(place: Path, tmp_path: Path, label: int, kind: str) -> None:
    write_scene(tmp_path / "data")
    write_labels(tmp_path / "data", "turning", np.full(40, label))
    write_labels(tmp_path / "data", "calm", np.full(30, label))
    with pytest.raises(FatalError, match=f"must hold normal and abnormal frames, all 62 scored frames are {kind}"):
        evaluate(place / "mnad-prediction", tmp_path / "data", options(place))


def test_masks_that_do_not_fit_are_told_before_the_work(place: Path, tmp_path: Path) -> None:
    write_scene(tmp_path / "data")
    write_masks(tmp_path / "data", "turning", turning_noisy(), size=(10, 10))
    with pytest.raises(FatalError, match="must be 64 x 48 pixels"):
        open_examiner(place / "mnad-prediction", tmp_path / "data", options(place))


def test_an_unknown_network(place: Path, tmp_path: Path) -> None:
    bundle = small_bundle()
    unknown = replace(bundle, manifest=bundle.manifest.model_copy(update={"model": "oracle"}))
    save_bundle(tmp_path / "bundle", unknown)
    with pytest.raises(BundleError, match=r"model must be one of .*, got 'oracle'"):
        evaluate(tmp_path / "bundle", place / "data", options(place))


def test_numbers_that_are_not_finite(place: Path, tmp_path: Path) -> None:
    bundle = small_bundle()
    weights = {name: np.full_like(values, np.inf) for name, values in bundle.weights.items()}
    save_bundle(tmp_path / "bundle", replace(bundle, weights=weights))
    with pytest.raises(FatalError, match=r"finite numbers, it does not at frame 4 of 'calm.avi'"):
        evaluate(tmp_path / "bundle", place / "data", options(place))


@pytest.mark.parametrize("fps", [5.0, 7.0, 20.0])
def test_footage_is_seen_at_the_bundles_rate_or_it_is_told(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, fps: float
) -> None:
    """As a worker sees it."""
    bundle = small_bundle()
    other = replace(bundle, manifest=bundle.manifest.model_copy(update={"fps": fps}))
    save_bundle(tmp_path / "bundle", other)
    with caplog.at_level(logging.WARNING):
        footage = open_examiner(tmp_path / "bundle", place / "data", options(place)).footage
    kept = {5.0: [15, 20], 7.0: [21, 28], 20.0: [30, 40]}[fps]
    assert [clip.video.num_frames for clip in footage.clips] == kept
    assert (f"for {fps:g} frames a second, the footage has 10" in caplog.text) == (fps == 20.0)


@pytest.mark.parametrize(("model", "first"), [("mnad-prediction", 8), ("memae", 6), ("mnad-reconstruction", 0)])
def test_clips_of_every_second_frame_are_held_against_the_labels_of_their_own(
    place: Path, tmp_path: Path, model: str, first: int
) -> None:
    bundle = small_bundle(model=model)
    save_bundle(tmp_path / "b", replace(bundle, manifest=bundle.manifest.model_copy(update={"frame_stride": 2})))
    outcomes = evaluate(tmp_path / "b", place / "data", options(place)).outcomes
    for outcome in outcomes.values():
        assert (outcome.first_frame, outcome.map_frame) == (first, first)
        calm, turning = outcome.clips
        assert len(calm.scores_N) == 30 - first
        assert turning.labels_N.tolist() == turning_noisy()[first:].tolist()
        assert [len(maps) for maps in outcome.maps] == [30 - first, 40 - first]


def test_pixels_are_held_against_the_masks_of_their_own_frame(place: Path) -> None:
    """Maps drawn from the masks themselves find every pixel; those of three frames earlier do not."""
    footage = examiner(place).footage
    drawn = [np.zeros((26, 2, 2), np.float32), np.zeros((36, 2, 2), np.float32)]
    drawn[1][turning_noisy()[4:] != 0, :, 0] = 1.0
    assert pixel_auc(footage, drawn, 4) == pytest.approx(1.0, abs=0.02)
    late = [drawn[0], np.roll(drawn[1], 3, axis=0)]
    found = pixel_auc(footage, late, 4)
    assert found is not None
    assert found < 0.95


def test_each_protocol_has_maps_of_its_own(found: Evaluation) -> None:
    """The paper's of plain errors, the live ones of errors weighed by speed; both of the same frames."""
    paper, live = (found.outcomes[name].maps for name in ("paper", "live"))
    assert [each.shape for each in paper] == [each.shape for each in live]
    assert not np.allclose(paper[1], live[1])
    assert paper[1].max() <= 1.0, "a squared error on [0, 1]"


@pytest.mark.parametrize(("rate", "warned"), [(9.2, False), (10.8, False), (8.9, True), (11.2, False)])
def test_a_rate_that_is_too_slow_by_a_tenth_is_worth_a_warning(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, rate: float, warned: bool
) -> None:
    write_clip(tmp_path / "data" / "test" / "a", 0, 6)
    write_labels(tmp_path / "data", "a", np.zeros(6))
    open_examiner(place / "mnad-prediction", tmp_path / "data", replace(options(tmp_path), image_fps=rate))
    assert (f"the bundle is for 10 frames a second, the footage has {rate:g}" in caplog.text) == warned
