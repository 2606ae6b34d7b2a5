"""Looking back after an epoch, and the pieces of a step that plain numbers can show."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inference.formats import ClipFormat
from networks.memory import initial_items
from networks.network import Recipe
from schemas.errors import FatalError
from tests.unit.training.scene import PARAMETERS, RECIPE, build, items_of, ramp
from training.footage.clip_stream import DirectStream
from training.loop import loop as looping
from training.loop.distributed import World
from training.loop.loop import ALONE, judged, num_steps, shuffled_batches, validation_error
from training.loop.run_folder import Curves, read_curves
from training.loop.starting_items import clustered_items, warm_up_steps
from training.loop.state import Progress, TrainingState, room_on_disk
from training.loop.stepping import Stepper, set_learning_rate, unit_clips

FOOTAGE = ramp()
STREAM = DirectStream(FOOTAGE, ClipFormat(5))
STARTS = FOOTAGE.videos[0].clip_starts(5)


@pytest.fixture
def state() -> TrainingState:
    torch.manual_seed(0)
    network = build()
    items_MC = initial_items(PARAMETERS.num_items, PARAMETERS.item_dim, torch.Generator().manual_seed(0))
    return TrainingState(network, torch.optim.Adam(network.parameters(), lr=1.0), items_MC)


def plain_error(state: TrainingState, starts: np.ndarray) -> float:
    """Of each clip by itself, on [-1, 1]."""
    network, errors = state.network.eval(), []
    with torch.no_grad():
        for start in starts:
            clips = unit_clips(torch.from_numpy(FOOTAGE.clips(np.array([start]), 5)), network)
            inputs, target = network.split(clips)
            errors.append(float((network(inputs, state.items_MC).image - target).square().mean()))
    return float(np.mean(errors))


@pytest.mark.parametrize("batch", [1, 3, 5, 50])
def test_each_clip_held_back_weighs_the_same_whatever_the_batch(state: TrainingState, batch: int) -> None:
    """Eleven clips: the last batch is smaller than the others."""
    found = validation_error(state, STREAM, STARTS[:11], batch, ALONE)
    assert found == pytest.approx(plain_error(state, STARTS[:11]), rel=1e-5)


def test_the_validation_is_in_evaluation_mode_and_changes_nothing(state: TrainingState) -> None:
    state.network.train()
    before = {name: values.clone() for name, values in state.network.state_dict().items()}
    first, second = (validation_error(state, STREAM, STARTS, 4, ALONE) for _ in range(2))
    assert first == second
    assert all(torch.equal(values, before[name]) for name, values in state.network.state_dict().items())


def test_of_many_clips_some_are_taken_evenly(state: TrainingState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looping, "MOST_CLIPS", 4)
    found = validation_error(state, STREAM, STARTS, 4, ALONE)
    assert found == pytest.approx(plain_error(state, STARTS[[0, 12, 23, 35]]), rel=1e-5)


def test_each_process_takes_its_own_clips(state: TrainingState) -> None:
    """The sum over processes is the identity of one by itself; here each of two looks at every second clip."""

    class Half(World):
        def sum(self, values: torch.Tensor) -> torch.Tensor:
            return values

    for rank in (0, 1):
        found = validation_error(state, STREAM, STARTS[:6], 2, Half(rank, 2, torch.device("cpu")))
        assert found == pytest.approx(plain_error(state, STARTS[:6][rank::2]), rel=1e-5)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_the_best_is_the_first_of_the_least_errors(errors: list[int]) -> None:
    """An error as good as the best is no better: it counts towards giving up."""
    progress = Progress()
    for step, error in enumerate(errors, 1):
        progress.step = step
        assert judged(progress, error) == (error < min([*errors[: step - 1], 6]))
    assert (progress.best_error, progress.best_step) == (min(errors), errors.index(min(errors)) + 1)
    assert progress.worse_epochs == len(errors) - progress.best_step


def test_an_error_that_is_no_number_is_never_the_best() -> None:
    progress = Progress(step=3)
    assert not judged(progress, float("nan"))
    assert (progress.best_step, progress.worse_epochs) == (0, 1)


@pytest.mark.parametrize(("total", "steps"), [(0, 0), (4, 0), (6, 1), (150, 15), (2000, 200), (9999, 200)])
def test_a_tenth_of_the_steps_warms_up_but_no_more_than_200(total: int, steps: int) -> None:
    assert warm_up_steps(total) == steps


def test_starting_items_are_directions_of_the_queries_of_normal_video(state: TrainingState) -> None:
    """Each centre lies where queries are: nearer to some of them than random items are."""
    state.network.eval()
    clips = torch.cat(list(STREAM(iter([STARTS]))))
    with torch.no_grad():
        inputs, _ = state.network.split(unit_clips(clips, state.network))
        outcome = state.network(inputs, state.items_MC)
    queries_NC = outcome.reading.queries_BCN.mT.flatten(0, 1)
    found = clustered_items(state, STREAM, STARTS, seed=1)
    assert (found.shape, found.dtype) == (items_of(state).shape, torch.float32)
    assert torch.allclose(found.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.equal(found, clustered_items(state, STREAM, STARTS, seed=1))
    nearest, before = ((queries_NC @ items.T).amax(dim=1).mean() for items in (found, items_of(state)))
    assert nearest > before
    assert nearest > 0.95


@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 4), st.integers(0, 9), st.integers(0, 9))
def test_going_on_brings_the_batches_that_were_left(clips: int, batch: int, epochs: int, done: int, seed: int) -> None:
    """From any step, in the middle of an epoch too; within one epoch no clip comes twice."""
    recipe = replace(RECIPE, epochs=epochs, batch=min(batch, clips), max_steps=1000)
    total = num_steps(clips, recipe)
    starts = np.arange(50, 50 + clips)
    whole = [part.tolist() for part in shuffled_batches(starts, recipe, seed, range(total), slice(None))]
    done = min(done, total)
    left = [part.tolist() for part in shuffled_batches(starts, recipe, seed, range(done, total), slice(None))]
    assert left == whole[done:]
    epoch = [start for part in whole[: clips // recipe.batch] for start in part]
    assert len(set(epoch)) == len(epoch) <= clips
    assert set(epoch) <= set(starts.tolist())


def test_a_step_uses_the_recipe_and_counts(state: TrainingState) -> None:
    """The rate of the moment, the recipe's weights of the losses, new items that carry no gradient."""
    recipe = replace(RECIPE, learning_rate=1e-3, loss_weights={"compactness": 0.0, "separateness": 7.0})
    before = items_of(state).clone()
    clips = torch.cat(list(STREAM(iter([STARTS[:4]]))))
    losses = Stepper(state, state.network, recipe, ALONE).step(clips, progress=0.5)
    assert losses.total.item() == pytest.approx((losses.terms["pixel"] + 7 * losses.terms["separateness"]).item())
    assert state.optimizer.param_groups[0]["lr"] == pytest.approx(0.5e-3)
    assert state.step == 1
    assert not torch.equal(items_of(state), before)
    assert not items_of(state).requires_grad
    assert state.network.training


def test_gradients_do_not_pile_up_from_step_to_step(state: TrainingState) -> None:
    """With a rate of 0 the weights stay, so that a second step on the same clips finds the same gradients."""
    stepper = Stepper(state, state.network, replace(RECIPE, learning_rate=0.0, schedule="constant"), ALONE)
    clips = torch.cat(list(STREAM(iter([STARTS[:4]]))))
    items = items_of(state).clone()
    found = []
    for _ in range(2):
        state.items_MC = items.clone()
        stepper.step(clips, progress=0.0)
        found.append([weights.grad.clone() for weights in state.network.parameters() if weights.grad is not None])
    assert all(torch.allclose(one, two, rtol=1e-4, atol=1e-7) for one, two in zip(*found, strict=True))


def test_every_group_of_weights_has_the_rate() -> None:
    optimizer = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)]}], lr=1.0)
    set_learning_rate(optimizer, Recipe({}, 8, 8, "grey", epochs=1, learning_rate=0.3), 0.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.3]


def test_pixels_become_what_the_network_computes_in() -> None:
    pixels = torch.tensor([0, 127, 255], dtype=torch.uint8).reshape(1, 1, 1, 3, 1).expand(1, 2, 1, 3, 2)
    for network in (build(), build().double()):
        clips = unit_clips(pixels, network)
        assert clips.shape == (1, 2, 2, 1, 3)
        assert clips.dtype == next(network.parameters()).dtype
        assert clips[0, 1, 1, 0].tolist() == pytest.approx([-1.0, 127 / 127.5 - 1, 1.0], abs=1e-7)


class Board:
    """Curves in memory."""

    def __init__(self) -> None:
        self.points: list[tuple[str, float, int]] = []

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self.points.append((tag, scalar_value, global_step))

    def close(self) -> None:
        """Nothing is left to write."""


def test_a_board_is_told_what_the_file_is(tmp_path: Path) -> None:
    board = Board()
    with (tmp_path / "curves.jsonl").open("a") as file:
        Curves(file, board).add(25, {"loss/pixel": 0.5, "learning_rate": 1e-3})
        assert read_curves(tmp_path) == [{"step": 25, "loss/pixel": 0.5, "learning_rate": 1e-3}], "at once"
    assert board.points == [("loss/pixel", 0.5, 25), ("learning_rate", 1e-3, 25)]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("short write\n  at frame 3")])
def test_a_failure_to_write_is_told_in_one_line(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(FatalError) as told, room_on_disk(tmp_path / "file"):
        raise error
    assert "free space, then go on with --resume" in str(told.value)
    assert str(error).splitlines()[0] in str(told.value)
    assert "at frame 3" not in str(told.value)
    assert told.value.__cause__ is error


def test_other_faults_are_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(KeyError), room_on_disk(tmp_path / "file"):
        raise KeyError("weights")
