"""Two processes with half a batch each give what one process gives with the whole batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from deploy.local.ports import free_port
from schemas.errors import FatalError
from tests.unit.training.scene import (
    RECIPE,
    all_clips,
    build_double,
    items_of,
    learned,
    loop_options,
    process_environment,
    ramp,
)
from training.loop.distributed import World, joined_world
from training.loop.loop import run_training
from training.loop.run_folder import read_curves
from training.loop.state import CHECKPOINT, TrainingState

TRAIN_ONE_OF_SEVERAL = """
import sys
from pathlib import Path
from tests.unit.training.loop.test_distributed import train_here
train_here(Path(sys.argv[1]))
"""


def train_here(run: Path) -> TrainingState:
    """In double precision, so that nothing but the arithmetic's order can differ."""
    footage = ramp()
    with joined_world("cpu") as world:
        options = loop_options(run, seed=2, patience=5, steps_between_checkpoints=4)
        return run_training(all_clips(footage), RECIPE, build_double, options, world)


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    port = free_port()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN_ONE_OF_SEVERAL, str(tmp_path / "two")],
            env=process_environment(rank, 2, port),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=400)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    alone = train_here(tmp_path / "one")
    together = torch.load(tmp_path / "two" / CHECKPOINT, weights_only=True)
    assert together["progress"]["step"] == alone.step == 9
    assert torch.allclose(together["items"], items_of(alone), atol=1e-9)
    for name, values in learned(alone.network).items():
        assert torch.allclose(together["network"][name], values, atol=1e-7), name
    for one, two in zip(read_curves(tmp_path / "one"), read_curves(tmp_path / "two"), strict=True):
        assert two == pytest.approx(one, rel=1e-7)


def test_a_batch_is_cut_into_equal_parts() -> None:
    worlds = [World(rank, 4, torch.device("cpu")) for rank in range(4)]
    assert [world.share(8) for world in worlds] == [slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8)]
    with pytest.raises(FatalError, match=r"multiple of the number of processes, got 6 clips for 4; give another"):
        worlds[0].share(6)


def test_a_process_by_itself_needs_no_group() -> None:
    with joined_world("cpu") as world:
        assert (world.rank, world.size, world.device.type) == (0, 1, "cpu")
        world.wait()
        assert world.sum(torch.ones(2)).tolist() == [1.0, 1.0]
    assert not torch.distributed.is_initialized()
