"""The loop: resuming gives what an uninterrupted run gives, and training does train."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from networks.mnad import MnadPrediction, split_clip, to_unit_range
from tests.unit.training.footage import MINIATURE
from training.dataset import FrameCache, Video
from training.loop import LoopOptions, TrainingState, num_steps, run_training, set_learning_rate

PRESET = replace(MINIATURE, epochs=2, max_steps=9)


class InterruptedRunError(Exception):
    """Stands for a crash or a Ctrl-C."""


class Curves:
    """Keeps what a TensorBoard writer would be given."""

    def __init__(self) -> None:
        self.points: list[tuple[str, float, int]] = []

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self.points.append((tag, scalar_value, global_step))


@pytest.fixture(scope="module")
def footage() -> FrameCache:
    ramp = np.add.outer(np.arange(40) * 3, np.arange(32)).astype(np.uint8)
    frames = np.repeat(ramp[:, None, :, None], 24, axis=1)
    return FrameCache(frames, (Video("a", 0, 40, 10.0),), "0" * 64)


def build() -> MnadPrediction:
    return MnadPrediction(MINIATURE.network)


def starts(footage: FrameCache) -> np.ndarray:
    return footage.videos[0].clip_starts(5)


def failing_after(calls: int) -> Callable[[], None]:
    left = [calls]

    def count() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise InterruptedRunError

    return count


def interrupted_run(footage: FrameCache, options: LoopOptions, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    alive, original = failing_after(steps), footage.clips
    broken = FrameCache(footage.frames_FHWC, footage.videos, footage.digest)
    monkeypatch.setattr(FrameCache, "clips", lambda self, at, length: (alive(), original(at, length))[1], raising=True)
    with pytest.raises(InterruptedRunError):
        run_training(broken, starts(footage), PRESET, build, options)
    monkeypatch.undo()


def same(first: TrainingState, second: TrainingState) -> bool:
    pairs = zip(first.network.state_dict().values(), second.network.state_dict().values(), strict=True)
    return torch.equal(first.items_MC, second.items_MC) and all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("crash_after", [1, 4, 8])
def test_resuming_gives_the_same_result(
    footage: FrameCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_after: int
) -> None:
    whole = run_training(footage, starts(footage), PRESET, build, LoopOptions(tmp_path / "whole", seed=5))
    options = LoopOptions(tmp_path / "broken", seed=5, steps_between_checkpoints=3)
    interrupted_run(footage, options, crash_after, monkeypatch)
    resumed = run_training(footage, starts(footage), PRESET, build, options)
    assert resumed.step == whole.step == 9
    assert same(resumed, whole)


def test_seeds_differ(footage: FrameCache, tmp_path: Path) -> None:
    runs = [
        run_training(footage, starts(footage), PRESET, build, LoopOptions(tmp_path / str(n), seed=seed))
        for n, seed in enumerate((1, 1, 2))
    ]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_training_lowers_the_error_and_moves_the_items(footage: FrameCache, tmp_path: Path) -> None:
    curves = Curves()
    preset = replace(PRESET, epochs=20, max_steps=100, learning_rate=5e-3)
    before = run_training(footage, starts(footage), replace(preset, max_steps=0), build, LoopOptions(tmp_path / "0"))
    state = run_training(footage, starts(footage), preset, build, LoopOptions(tmp_path / "run", recorder=curves))
    assert pixel_error(state, footage) < 0.5 * pixel_error(before, footage)
    assert [step for tag, _, step in curves.points if tag == "loss/pixel"] == [25, 50, 75, 100]
    assert torch.allclose(state.items_MC.norm(dim=1), torch.ones(3), atol=1e-5)
    assert not torch.allclose(state.items_MC, before.items_MC, atol=1e-2)


@torch.no_grad()
def pixel_error(state: TrainingState, footage: FrameCache) -> float:
    """Mean over eight clips, with the statistics of these clips."""
    clips = torch.from_numpy(footage.clips(starts(footage)[::4], 5)).permute(0, 1, 4, 2, 3)
    inputs, target = split_clip(to_unit_range(clips))
    return float((state.network.train()(inputs, state.items_MC).image_BKHW - target).square().mean())


def test_a_finished_run_is_not_trained_further(footage: FrameCache, tmp_path: Path) -> None:
    options = LoopOptions(tmp_path / "run")
    first = run_training(footage, starts(footage), PRESET, build, options)
    assert same(first, run_training(footage, starts(footage), PRESET, build, options))


def test_steps_follow_from_epochs_up_to_a_bound() -> None:
    assert num_steps(10, replace(PRESET, epochs=3, batch=4, max_steps=100)) == 6
    assert num_steps(10, replace(PRESET, epochs=3, batch=4, max_steps=5)) == 5


def test_learning_rate_follows_a_cosine() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    rates = []
    for progress in (0.0, 0.5, 1.0):
        set_learning_rate(optimizer, 2e-4, progress)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([2e-4, 1e-4, 0.0], abs=1e-12)
