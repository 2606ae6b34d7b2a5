"""A run folder belongs to one training, and says which."""

from dataclasses import replace
from pathlib import Path

import pytest

from schemas.errors import FatalError
from training.loop import CHECKPOINT
from training.presets import PRESETS
from training.train import TrainOptions, claim_run

OPTIONS = TrainOptions(run=Path("run"), cache=Path("cache"))


def test_the_same_training_may_go_on(tmp_path: Path) -> None:
    claim_run(tmp_path, PRESETS["tiny"], "d1", OPTIONS)
    (tmp_path / CHECKPOINT).write_bytes(b"state")
    claim_run(tmp_path, PRESETS["tiny"], "d1", OPTIONS)


@pytest.mark.parametrize(
    ("preset", "data", "seed", "named"),
    [("light", "d1", 0, "preset"), ("tiny", "d2", 0, "data"), ("tiny", "d1", 7, "seed")],
)
def test_another_training_is_refused_and_told_what_differs(
    tmp_path: Path, preset: str, data: str, seed: int, named: str
) -> None:
    claim_run(tmp_path, PRESETS["tiny"], "d1", OPTIONS)
    with pytest.raises(FatalError, match=f"differs in {named}"):
        claim_run(tmp_path, PRESETS[preset], data, replace(OPTIONS, seed=seed))


def test_a_checkpoint_of_unknown_origin_is_refused(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"state")
    with pytest.raises(FatalError, match=r"settings\.json"):
        claim_run(tmp_path, PRESETS["tiny"], "d1", OPTIONS)
