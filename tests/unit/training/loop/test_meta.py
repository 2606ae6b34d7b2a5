"""The meta phase: tasks of one situation each, and a tail that learns to adapt."""

import itertools

import numpy as np
import pytest
import torch

from inference.formats import ClipFormat
from networks.meta import INITIAL_STEP_SIZE
from networks.mpn import Mpn, MpnParameters
from schemas.errors import FatalError
from tests.unit.training.scene import ramp
from training.footage.dataset import Video
from training.loop.meta import SEGMENT_CLIPS, MetaOptions, meta_train, task_starts

CLIP = ClipFormat(5)
FOOTAGE = ramp()


def network() -> Mpn:
    torch.manual_seed(0)
    return Mpn(MpnParameters(width=4, depth=2, channels=1))


def test_a_task_is_four_clips_of_one_stretch_of_one_video() -> None:
    videos = [Video("a", 0, 100, 10.0), Video("short", 100, 7, 10.0), Video("b", 107, 30, 10.0)]
    tasks = list(itertools.islice(task_starts(videos, CLIP, MetaOptions(1)), 60))
    assert all(len(set(task.tolist())) == 4 for task in tasks)
    assert all(np.ptp(task) < SEGMENT_CLIPS for task in tasks)
    homes = {"a" if task.max() <= 95 else "b" for task in tasks if (task <= 95).all() or (task >= 107).all()}
    assert homes == {"a", "b"}
    assert all((task <= 95).all() or ((task >= 107) & (task <= 132)).all() for task in tasks)


def test_tasks_follow_from_the_seed() -> None:
    first, again, other = (
        np.stack(list(itertools.islice(task_starts(FOOTAGE.videos, CLIP, MetaOptions(1, seed)), 5)))
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_tail_and_step_sizes_learn_and_the_rest_stays() -> None:
    before, learning = network(), network()
    step_sizes = meta_train(learning, FOOTAGE, FOOTAGE.videos, CLIP, MetaOptions(3))
    assert step_sizes.keys() == dict(learning.tail.named_parameters()).keys()
    assert any((values != INITIAL_STEP_SIZE).any() for values in step_sizes.values())
    assert not any(values.requires_grad for values in step_sizes.values())
    tail = {f"tail.{name}" for name in step_sizes}
    for (name, old), new in zip(before.named_parameters(), learning.parameters(), strict=True):
        assert torch.equal(old, new) == (name not in tail), name


def test_the_same_seed_gives_the_same_step_sizes() -> None:
    runs = [meta_train(network(), FOOTAGE, FOOTAGE.videos, CLIP, MetaOptions(2, seed=4)) for _ in range(2)]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


def test_videos_too_short_for_a_task_are_explained() -> None:
    with pytest.raises(FatalError, match=r"at least 4 clips of 5 frames for the meta phase, got none"):
        meta_train(network(), FOOTAGE, [Video("a", 0, 7, 10.0)], CLIP, MetaOptions(1))
