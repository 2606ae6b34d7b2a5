"""The loop: resuming gives what an uninterrupted run gives, and training does train."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from networks.blocks import channels_last
from networks.mnad import MnadParameters, MnadPrediction
from networks.network import Recipe, Schedule
from networks.registry import build_network
from schemas.errors import FatalError, SettingsError
from tests.unit.training.scene import PARAMETERS, RECIPE, all_clips, build, items_of, loop_options, ramp
from training.footage.dataset import FrameCache
from training.footage.material import Clips
from training.loop.loop import num_steps, run_training, shuffled_batches
from training.loop.run_folder import read_curves
from training.loop.state import BEST, CHECKPOINT, TrainingState
from training.loop.stepping import set_learning_rate, unit_clips
from training.options import StartingItems, TrainOptions


class InterruptedRunError(Exception):
    """Stands for a crash or a Ctrl-C."""


@pytest.fixture(scope="module")
def footage() -> FrameCache:
    return ramp()


@pytest.fixture(scope="module")
def clips(footage: FrameCache) -> Clips:
    return all_clips(footage)


def failing_after(calls: int) -> Callable[[], None]:
    left = [calls]

    def count() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise InterruptedRunError

    return count


def interrupted_run(
    footage: FrameCache, recipe: Recipe, options: TrainOptions, reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that breaks off after so many batches were read."""
    alive, original = failing_after(reads), FrameCache.clips
    monkeypatch.setattr(FrameCache, "clips", lambda *given: (alive(), original(*given))[1])
    with pytest.raises(InterruptedRunError):
        run_training(all_clips(footage), recipe, build, options)
    monkeypatch.undo()


def same(first: TrainingState, second: TrainingState) -> bool:
    pairs = zip(first.network.state_dict().values(), second.network.state_dict().values(), strict=True)
    return torch.equal(items_of(first), items_of(second)) and all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("crash_after", [1, 4, 8])
def test_resuming_gives_the_same_result(
    footage: FrameCache, clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_after: int
) -> None:
    whole = run_training(clips, RECIPE, build, loop_options(tmp_path / "whole", seed=5))
    options = loop_options(tmp_path / "broken", seed=5, steps_between_checkpoints=3)
    interrupted_run(footage, RECIPE, options, crash_after, monkeypatch)
    resumed = run_training(clips, RECIPE, build, options)
    assert resumed.step == whole.step == 9
    assert same(resumed, whole)


@pytest.mark.parametrize("crash_after", [15, 25, 40])
def test_resuming_keeps_the_state_of_the_early_stop(
    footage: FrameCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_after: int
) -> None:
    """A rate far too high soon gives no better validation: both runs must stop at the same step, with the same best."""
    recipe = replace(RECIPE, epochs=30, max_steps=200, learning_rate=0.1, schedule="constant")
    options = loop_options(tmp_path / "whole", patience=2, steps_between_checkpoints=4)
    whole = run_training(all_clips(footage), recipe, build, options)
    assert 9 < whole.progress.best_step + 18 == whole.step < 200
    broken = replace(options, run=tmp_path / "broken")
    interrupted_run(footage, recipe, broken, crash_after, monkeypatch)
    resumed = run_training(all_clips(footage), recipe, build, broken)
    assert resumed.progress == whole.progress
    assert same(resumed, whole)
    points = [point for point in read_curves(tmp_path / "broken") if "validation/pixel" in point]
    assert points == [point for point in read_curves(tmp_path / "whole") if "validation/pixel" in point]
    best = min(points, key=lambda point: point["validation/pixel"])
    assert best["step"] == whole.progress.best_step


def test_the_best_weights_are_kept(footage: FrameCache, clips: Clips, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=30, max_steps=200, learning_rate=0.1, schedule="constant")
    state = run_training(clips, recipe, build, loop_options(tmp_path, patience=2))
    best, last = (torch.load(tmp_path / name, weights_only=True) for name in (BEST, CHECKPOINT))
    assert torch.equal(items_of(state), best["items"])
    assert not torch.equal(items_of(state), last["items"])
    again = run_training(clips, recipe, build, loop_options(tmp_path, patience=2))
    assert same(state, again)


def test_seeds_differ(footage: FrameCache, clips: Clips, tmp_path: Path) -> None:
    runs = [
        run_training(clips, RECIPE, build, loop_options(tmp_path / str(n), seed=seed))
        for n, seed in enumerate((1, 1, 2))
    ]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_training_lowers_the_error_and_moves_the_items(footage: FrameCache, clips: Clips, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=20, max_steps=90, learning_rate=5e-3)
    before = run_training(clips, replace(recipe, max_steps=0), build, loop_options(tmp_path / "0"))
    state = run_training(clips, recipe, build, loop_options(tmp_path / "run"))
    assert pixel_error(state, footage) < 0.5 * pixel_error(before, footage)
    assert torch.allclose(items_of(state).norm(dim=1), torch.ones(3), atol=1e-5)
    assert not torch.allclose(items_of(state), items_of(before), atol=1e-2)


@torch.no_grad()
def pixel_error(state: TrainingState, footage: FrameCache) -> float:
    """Mean over some clips, with the statistics of these clips."""
    length = state.network.shape.clip_length
    clips = torch.from_numpy(footage.clips(footage.videos[0].clip_starts(length)[::4], length))
    inputs, target = state.network.split(unit_clips(clips, state.network))
    return float((state.network.train()(inputs, state.items_MC).image - target).square().mean())


def test_curves_are_drawn(footage: FrameCache, clips: Clips, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=9, max_steps=60)
    run_training(clips, recipe, build, loop_options(tmp_path, tensorboard=tmp_path / "board"))
    points = read_curves(tmp_path)
    assert [point["step"] for point in points if "loss/pixel" in point] == [25, 50, 60]
    assert [point["step"] for point in points if "validation/pixel" in point] == [9, 18, 27, 36, 45, 54, 60]
    assert {"loss/compactness", "loss/separateness", "loss/total", "learning_rate"} < points[2].keys()
    assert next((tmp_path / "board").iterdir()).stat().st_size > 1000


def test_a_finished_run_is_not_trained_further(footage: FrameCache, clips: Clips, tmp_path: Path) -> None:
    first = run_training(clips, RECIPE, build, loop_options(tmp_path))
    assert same(first, run_training(clips, RECIPE, build, loop_options(tmp_path)))


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(
    footage: FrameCache, clips: Clips, tmp_path: Path
) -> None:
    """So high a rate makes the weights overflow within few steps."""
    good = run_training(clips, replace(RECIPE, max_steps=3), build, loop_options(tmp_path))
    hot = replace(RECIPE, epochs=9, max_steps=60, learning_rate=1e30)
    with pytest.raises(FatalError, match=r"must stay a number, got .* at step \d+ of 60; the last good checkpoint is"):
        run_training(clips, hot, build, loop_options(tmp_path, steps_between_checkpoints=5))
    kept = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert kept["progress"]["step"] == 3
    assert torch.equal(kept["items"], items_of(good))


def test_long_gradients_are_cut(footage: FrameCache, clips: Clips, tmp_path: Path) -> None:
    """Gradients far below Adam's epsilon move the weights less."""
    start = run_training(clips, replace(RECIPE, max_steps=0), build, loop_options(tmp_path / "start"))
    moved = []
    for limit in (None, 1e-9):
        recipe = replace(RECIPE, max_steps=1, max_gradient_norm=limit)
        state = run_training(clips, recipe, build, loop_options(tmp_path / str(limit)))
        pairs = zip(state.network.parameters(), start.network.parameters(), strict=True)
        moved.append(max(float((after - before).detach().abs().max()) for after, before in pairs))
    assert moved[0] == pytest.approx(1e-3, rel=0.01)
    assert moved[1] < 1e-4


@pytest.mark.parametrize("model", ["mnad-reconstruction", "memae", "mpn"])
def test_every_network_trains(footage: FrameCache, tmp_path: Path, model: str) -> None:
    small: dict[str, dict[str, object]] = {
        "mnad-reconstruction": {"width": 4, "depth": 2, "clip_length": 1},
        "memae": {"widths": (4, 4), "num_items": 6, "clip_length": 4},
        "mpn": {"width": 4, "depth": 2},
    }
    parameters = {**small[model], "channels": 1}
    length = build_network(model, parameters).shape.clip_length
    starts = footage.videos[0].clip_starts(length)
    clips = Clips(footage, starts, starts[-5:])
    recipe = replace(RECIPE, epochs=30, max_steps=40, learning_rate=3e-3)
    ends = [
        run_training(
            clips,
            replace(recipe, max_steps=steps),
            lambda: build_network(model, parameters),
            loop_options(tmp_path / str(steps)),
        )
        for steps in (0, 40)
    ]
    assert pixel_error(ends[1], footage) < 0.8 * pixel_error(ends[0], footage)


def test_bfloat16_trains_as_float32_does(footage: FrameCache, clips: Clips, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=9, max_steps=50, learning_rate=5e-3)
    last = []
    for precision in ("fp32", "bf16"):
        state = run_training(clips, recipe, build, loop_options(tmp_path / precision, precision=precision))
        assert items_of(state).dtype == torch.float32
        last.append([point["loss/pixel"] for point in read_curves(tmp_path / precision) if "loss/pixel" in point][-1])
    assert last[1] == pytest.approx(last[0], rel=0.3)
    assert last[1] != last[0]


def test_clips_of_every_second_frame(footage: FrameCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[tuple[object, ...]] = set()
    original = FrameCache.clips

    def clips_of(*given: Any) -> object:
        read.add(given[2:])
        return original(*given)

    monkeypatch.setattr(FrameCache, "clips", clips_of)
    starts = footage.videos[0].clip_starts(5, 2)
    run_training(Clips(footage, starts, starts[-4:]), replace(RECIPE, stride=2), build, loop_options(tmp_path))
    assert read == {(5, 2)}


STARTS: tuple[StartingItems, ...] = ("random", "kmeans", "kmeans")


def test_items_may_start_from_clusters(footage: FrameCache, clips: Clips, tmp_path: Path) -> None:
    """With all of the old items kept, the clusters found after the warm-up are still there at the end."""

    def keeping() -> MnadPrediction:
        return MnadPrediction(replace(PARAMETERS, update_momentum=0.999999))

    ends = [
        run_training(clips, RECIPE, keeping, loop_options(tmp_path / str(n), items=start))
        for n, start in enumerate(STARTS)
    ]
    assert torch.allclose(items_of(ends[1]).norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.equal(items_of(ends[1]), items_of(ends[2]))
    assert (items_of(ends[0]) - items_of(ends[1])).abs().max() > 0.1


def test_clusters_need_a_bank(footage: FrameCache, clips: Clips, tmp_path: Path) -> None:
    def build_without() -> MnadPrediction:
        return MnadPrediction(MnadParameters(width=4, depth=2, channels=1, num_items=0))

    with pytest.raises(SettingsError, match="'mnad-prediction' has none; leave out --items"):
        run_training(clips, RECIPE, build_without, loop_options(tmp_path, items="kmeans"))


def test_batches_are_shuffled_anew_each_epoch_and_shared() -> None:
    starts = np.arange(100, 110)
    whole = list(shuffled_batches(starts, RECIPE, 7, range(5), slice(None)))
    assert [len(batch) for batch in whole] == [4] * 5
    epochs = [np.concatenate(whole[n : n + 2]).tolist() for n in (0, 2)]
    assert [len(set(epoch)) for epoch in epochs] == [8, 8]
    assert epochs[0] != epochs[1]
    halves = [list(shuffled_batches(starts, RECIPE, 7, range(1, 5), part)) for part in (slice(0, 2), slice(2, 4))]
    assert [[*a, *b] for a, b in zip(*halves, strict=True)] == [batch.tolist() for batch in whole[1:]]


def test_steps_follow_from_epochs_up_to_a_bound() -> None:
    assert num_steps(10, replace(RECIPE, epochs=3, batch=4, max_steps=100)) == 6
    assert num_steps(10, replace(RECIPE, epochs=3, batch=4, max_steps=5)) == 5


@pytest.mark.parametrize(("schedule", "expected"), [("cosine", [2e-4, 1e-4, 0.0]), ("constant", [2e-4] * 3)])
def test_learning_rate_follows_its_schedule(schedule: Schedule, expected: list[float]) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    rates = []
    for progress in (0.0, 0.5, 1.0):
        set_learning_rate(optimizer, replace(RECIPE, schedule=schedule, learning_rate=2e-4), progress)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx(expected, abs=1e-12)


def test_memory_order_is_channels_last_for_images_and_clips() -> None:
    assert channels_last(torch.zeros(2, 3, 4, 5)).stride(1) == 1
    assert channels_last(torch.zeros(2, 3, 4, 5, 6)).stride(1) == 1
    assert channels_last(torch.zeros(2, 3)).stride() == (3, 1)
