"""A memory made of footage all at once is what frames one by one would have made."""

import numpy as np
import pytest

from inference.evidence import remember
from inference.rarity import level_for, log10_p
from inference.scoring import Smoothing, smoothing_weight
from inference.scoring import smoothed as smoothed_one
from memory_store.normality import merge_all
from tests.unit.training.worth.makeshift import FPS, scene, take
from training.worth.learning import Form, learn, levels_of, smoothed


def test_a_memory_holds_the_counts_of_all_frames():
    takes = scene("a", 1.0, 0).normal
    memory = learn(takes)
    counts = merge_all([remember(one.seen, 0.0) for one in takes], float("inf"))
    for name in ("frames", "psnr", "speeds", "errors", "background"):
        np.testing.assert_allclose(memory.field(name), counts.field(name), rtol=1e-9)
    assert memory.field("levels").sum() == 400, "a level of each frame"
    assert memory.field("peaks").sum() == 4, "and the highest of each ten seconds"
    np.testing.assert_allclose(memory.field("evidence")[:, 0], 400)
    memory.check()


def test_levels_of_what_was_left_out_are_those_of_what_comes_later():
    """In-sample levels would be lower than those of video that the memory has not seen."""
    memory = learn([take("a", 600, 1.0, 0)])
    later = levels_of(take("b", 3000, 1.0, 1), memory)
    p = 10 ** log10_p(later, memory)
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.04)


def test_what_is_too_fast_stands_out():
    one = scene("a", 1.0, 0)
    memory = learn(one.normal)
    for clip in one.test:
        levels = levels_of(clip, memory)
        assert levels[clip.labels_F == 1][5:].min() > level_for(1.0, memory)
        assert levels[:30].max() < level_for(1.0, memory)


def test_smoothing_is_that_of_the_live_score():
    values = np.random.default_rng(0).normal(size=50)
    state: Smoothing | None = None
    slowly = []
    for value in values:
        state = smoothed_one(state, float(value), smoothing_weight(FPS, 0.5))
        slowly.append(state.level)
    np.testing.assert_allclose(smoothed(values, FPS, 0.5), slowly, rtol=1e-12)


def test_what_goes_before_a_video_is_the_first_value_or_what_is_told():
    values = np.array([4.0, 0.0, 0.0])
    assert smoothed(values, FPS, 0.5)[0] == 4.0
    assert smoothed(values, FPS, 0.5, start=0.0)[0] == pytest.approx(4.0 * smoothing_weight(FPS, 0.5))


def test_no_smoothing_leaves_values_alone():
    values = np.random.default_rng(0).normal(size=50)
    np.testing.assert_allclose(smoothed(values, FPS, 0.0), values)


def test_a_form_changes_what_it_names():
    clip = scene("a", 1.0, 0).test[0]
    memory = learn(scene("a", 1.0, 0).normal)
    plain = Form().ask(clip, memory)
    assert not np.allclose(Form(error_power=0.5).ask(clip, memory).motion_F, plain.motion_F)
    assert not np.allclose(Form(thing_s=4.5).ask(clip, memory).motion_F, plain.motion_F)
    levels = Form().levels(plain, memory, FPS)
    assert not np.allclose(Form(side_weight=1.0).levels(plain, memory, FPS), levels)
    assert not np.allclose(Form(smoothing_s=2.0).levels(plain, memory, FPS), levels)


@pytest.mark.parametrize("num_frames", [5, 12, 37])
def test_a_few_frames_make_a_memory_too(num_frames):
    memory = learn([take("a", num_frames, 1.0, 0)])
    assert memory.num_frames == num_frames
    assert np.isfinite(levels_of(take("b", 20, 1.0, 1), memory)).all()


def test_a_parent_stands_behind_each_part_that_is_left_out():
    parent = learn(scene("parent", 4.0, 9).normal)
    few = [take("a", 20, 1.0, 0)]
    alone, behind = learn(few), learn(few, parent)
    np.testing.assert_array_equal(alone.field("speeds"), behind.field("speeds"))
    assert not np.allclose(alone.field("evidence"), behind.field("evidence"))
