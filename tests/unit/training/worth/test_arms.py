"""The questions to a memory, on scenes whose answers are known."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.unit.training.worth.makeshift import scene, take
from training.worth import arms
from training.worth.arms import adaptation, leave_one_out, left_out, split_at, swap
from training.worth.learning import Form, learn, levels_of
from training.worth.scenes import Scene


@pytest.fixture(scope="module")
def scenes():
    """Two cameras: what is normal at the second is what is too fast at the first."""
    return [scene("slow", 1.0, 0), scene("fast", 4.0, 100)]


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(arms, "NUM_DRAWS", 20)


def found(rows, scene_name, what, measure="AUC"):
    (row,) = [row for row in rows if (row.scene, row.what, row.measure) == (scene_name, what, measure)]
    return row


def test_a_memory_of_its_own_is_worth_more_than_anothers(scenes):
    rows = list(swap(scenes))
    for name, other in (("slow", "fast"), ("fast", "slow")):
        own = found(rows, name, "own")
        scores = [
            levels_of(clip, learn(next(s for s in scenes if s.name == name).normal))
            for clip in next(s for s in scenes if s.name == name).test
        ]
        truth = np.concatenate([clip.labels_F for clip in next(s for s in scenes if s.name == name).test])
        assert own.value == pytest.approx(100 * roc_auc_score(truth, np.concatenate(scores)))
        gain = found(rows, name, f"own less of {other}", "AUC difference")
        assert gain.value == pytest.approx(own.value - found(rows, name, f"of {other}").value)
        assert own.low <= own.value <= own.high
        assert gain.low <= gain.value <= gain.high


def test_noise_is_no_memory(scenes):
    rows = list(swap(scenes))
    assert found(rows, "slow", "own less noise", "AUC difference").value > 0


def test_a_single_scene_cannot_be_swapped(scenes):
    assert list(swap(scenes[:1])) == []
    assert list(adaptation(scenes[:1])) == []


def test_seconds_of_its_own_video_help_a_camera(scenes, monkeypatch):
    monkeypatch.setattr(arms, "ADAPTATION_S", (0.0, 10.0))
    rows = list(adaptation(scenes))
    assert {row.what for row in rows} == {"0 s", "10 s", "all"}
    for name in ("slow", "fast"):
        assert found(rows, name, "10 s").value >= found(rows, name, "0 s").value - 1
    over = found(rows, "fast", "10 s", "% of normal frames over")
    assert over.value < 5
    assert "of 300 later frames" in over.note
    promised = [found(rows, "slow", what, "alarms a day that can be promised").value for what in ("10 s", "all")]
    assert promised[0] > promised[1] > 1.0


def test_the_form_for_a_scene_is_chosen_on_the_others(scenes, monkeypatch):
    """A form that is best on the scene itself is not taken for it."""
    good, bad = Form(), Form(error_power=5.0, side_weight=50.0)
    monkeypatch.setattr(arms, "FORMS", {"good": good, "bad": bad})
    areas = {("slow", "good"): 60.0, ("slow", "bad"): 90.0, ("fast", "good"): 80.0, ("fast", "bad"): 70.0}
    names = {id(good): "good", id(bad): "bad"}
    monkeypatch.setattr(arms, "_scores", lambda scene, form: [names.get(id(form), "good")])
    monkeypatch.setattr(arms, "auc", lambda scene, scores: areas[scene.name, scores[0]])
    monkeypatch.setattr(arms, "interval", lambda *_: (None, None))
    monkeypatch.setattr(arms, "_SINGLES", {"one": lambda scene: ["good"]})
    rows = [row for row in leave_one_out(scenes) if row.arm == "form left out"]
    assert [(row.scene, row.what, row.value) for row in rows] == [
        ("slow", "good", 60.0),
        ("fast", "bad", 70.0),
        ("all", "mean", 65.0),
        ("all", "worst", 60.0),
        ("all", "largest regret against the best single evidence", 10.0),
    ]
    assert [row.note for row in rows[:2]] == ["chosen on fast", "chosen on slow"]


def test_all_single_evidences_and_the_shipped_form_are_told(scenes, monkeypatch):
    monkeypatch.setattr(arms, "FORMS", {"shipped": Form()})
    rows = list(leave_one_out(scenes[:1]))
    singles = {row.what: row.value for row in rows if row.arm == "single evidence"}
    assert set(singles) == set(arms._SINGLES)
    assert singles["speed"] > 90
    assert singles["background"] < 70
    assert found([row for row in rows if row.arm == "as shipped"], "slow", "all evidences").value > 90


def test_video_that_was_left_out_is_as_rare_as_it_says(scenes):
    rows = list(left_out(scenes))
    for name in ("slow", "fast"):
        assert found(rows, name, "p < 0.01", "% of normal frames").value < 6
        worst = found(rows, name, "p < 0.01, worst video", "% of normal frames").value
        assert worst >= found(rows, name, "p < 0.01", "% of normal frames").value
    assert list(left_out([Scene("one", scenes[0].normal[:1], scenes[0].test)])) == []


def test_alarms_on_video_that_was_left_out_are_held_against_those_asked_for(scenes):
    """Two videos of 20 s; the second time one of them has two seconds in which something is too fast."""
    calm = scenes[0].normal
    disturbed = (calm[0], take("disturbed", 200, 1.0, 3, slice(100, 120)))
    for normal, events in ((calm, 0), (disturbed, 1)):
        rows = list(left_out([Scene("yard", normal, scenes[0].test)]))
        row = found(rows, "yard", "24 asked for", "events a day")
        assert (row.value, row.note) == (events * 86400 / 40, f"{events} in 40 s, 0.011 were asked for")
        assert row.low <= row.value <= row.high
        assert row.high == pytest.approx(
            {0: 3.689, 1: 5.572}[events] * 86400 / 40, rel=1e-3
        )  # of a Poisson count, 95 %


def test_areas_of_drawn_clips_are_those_of_the_frames_end_to_end():
    draw = np.random.default_rng(0)
    labels = [draw.integers(0, 2, 30).astype(np.uint8) for _ in range(4)]
    scores = [np.round(draw.normal(size=30) + truth, 1) for truth in labels]  # rounded, so that there are ties
    times = np.array([2, 0, 1, 3])
    truth, values = (np.concatenate(np.repeat(np.array(side), times, axis=0)) for side in (labels, scores))
    (area,) = arms._Duels.of(labels, scores).auc(times[None])
    assert area == pytest.approx(100 * roc_auc_score(truth, values))
    one_class = arms._Duels.of([np.ones(3, np.uint8)], [np.arange(3.0)])
    assert np.isnan(one_class.auc(np.ones((1, 1)))).all()


def test_seconds_are_cut_across_videos():
    takes = [take("a", 30, 1.0, 0), take("b", 30, 1.0, 1)]
    first, after = split_at(takes, 4.0)
    assert [len(part.seen) for part in first] == [30, 10]
    assert [(len(part.seen), part.first) for part in after] == [(20, 10)]
    nothing, whole = split_at(takes, 0.0)
    assert (nothing, [len(part.seen) for part in whole]) == ([], [30, 30])
    whole, nothing = split_at(takes, float("inf"))
    assert ([len(part.seen) for part in whole], nothing) == ([30, 30], [])


def test_a_drift_is_followed_by_adding_what_is_normal_now():
    one, other = scene("a", 1.0, 0), scene("a", 2.5, 300)
    rows = {row.what: row for row in arms.drift(one, {"faster": other})}
    assert rows["faster, followed"].value >= rows["faster, frozen"].value - 0.5
    if "faster" in rows:
        assert rows["faster"].value <= 110
    (unchanged, followed) = [row for row in arms.drift(one, {"none": one}) if row.measure == "AUC"]
    assert unchanged.value == pytest.approx(followed.value, abs=1.0)
