"""Checkpoints survive a disk that is full, and say so."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from networks.memory import initial_items
from schemas.errors import DamagedError, FatalError
from tests.unit.training.scene import build, items_of
from training.loop.state import CHECKPOINT, Progress, TrainingState

SAVE_WITHOUT_ROOM = """
import resource, sys
from pathlib import Path
from schemas.errors import DamagedError, FatalError
from tests.unit.training.loop.test_state import fresh_state
state = fresh_state(1)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    state.save(Path(sys.argv[1]))
except FatalError as error:
    print(error)
"""


def fresh_state(seed: int) -> TrainingState:
    """After one step, so that the optimizer has something to remember."""
    torch.manual_seed(seed)
    network = build()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    for weights in network.parameters():
        weights.grad = torch.ones_like(weights)
    optimizer.step()
    items_MC = initial_items(3, 8, torch.Generator().manual_seed(seed))
    return TrainingState(network, optimizer, items_MC, Progress(7, 0.25, 5, 1))


def test_a_checkpoint_brings_everything_back(tmp_path: Path) -> None:
    saved, other = fresh_state(0), fresh_state(1)
    saved.save(tmp_path / CHECKPOINT)
    other.load(tmp_path / CHECKPOINT)
    assert other.progress == Progress(7, 0.25, 5, 1)
    assert torch.equal(items_of(other), items_of(saved))
    pairs = zip(other.network.state_dict().values(), saved.network.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    moments = [state.optimizer.state_dict()["state"][0]["exp_avg"] for state in (other, saved)]
    assert torch.equal(*moments)


def test_the_learned_part_leaves_the_progress_alone(tmp_path: Path) -> None:
    saved, other = fresh_state(0), fresh_state(1)
    saved.save_learned(tmp_path / "best.pt")
    other.progress.step = 99
    other.load_learned(tmp_path / "best.pt")
    assert torch.equal(items_of(other), items_of(saved))
    assert other.step == 99


def test_a_full_disk_leaves_the_old_checkpoint_whole(tmp_path: Path) -> None:
    """A process that may write 20 kB a file, when a checkpoint needs more: the kernel refuses in the middle."""
    path = tmp_path / CHECKPOINT
    fresh_state(0).save(path)
    before = path.read_bytes()
    assert len(before) > 20_000
    done = subprocess.run(
        [sys.executable, "-c", SAVE_WITHOUT_ROOM, str(path)], capture_output=True, text=True, check=True, timeout=120
    )
    assert f"there must be room for '{path}', writing it failed" in done.stdout
    assert "free space, then go on with --resume" in done.stdout
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]
    fresh_state(1).load(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match=r"there must be room for '.*absent/checkpoint\.pt'"):
        fresh_state(0).save(tmp_path / "absent" / CHECKPOINT)


def test_weights_and_items_that_are_no_numbers_are_seen() -> None:
    for broken in ("weights", "items", "nothing"):
        state = fresh_state(0)
        if broken == "weights":
            next(state.network.parameters()).data.view(-1)[3] = torch.nan
        if broken == "items":
            items_of(state)[1, 2] = torch.inf
        assert state.is_finite() == (broken == "nothing")


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_checkpoint_that_was_cut_off_is_named_with_what_to_do(tmp_path: Path, part: float) -> None:
    path = tmp_path / CHECKPOINT
    fresh_state(0).save(path)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    for load in (fresh_state(1).load, fresh_state(1).load_learned):
        with pytest.raises(DamagedError, match=r"checkpoint\.pt' is not: .+; remove the folder of the run"):
            load(path)


def test_a_checkpoint_of_something_else_is_named(tmp_path: Path) -> None:
    torch.save({"network": {}}, tmp_path / CHECKPOINT)
    with pytest.raises(DamagedError, match=r"checkpoint\.pt' is not"):
        fresh_state(0).load(tmp_path / CHECKPOINT)
