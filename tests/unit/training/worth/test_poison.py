"""What is abnormal and learned all the same: through the gate, and past it."""

import numpy as np
import pytest

from tests.unit.training.worth.makeshift import scene, take
from training.worth import arms
from training.worth.learning import learn
from training.worth.poison import GUARD_FRAMES, may_teach, poison
from training.worth.recognising import watched
from training.worth.scenes import Scene


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arms, "NUM_DRAWS", 20)


def test_an_event_and_what_is_about_it_teach_nothing() -> None:
    yard = scene("yard", 1.0, 0)
    memory = learn(yard.normal)
    (event,) = watched(yard.test[0], memory).with_states
    teaches_F = may_teach(yard.test[0], memory)
    first, end = event.first - GUARD_FRAMES, event.last + 1 + GUARD_FRAMES
    assert not teaches_F[first:end].any()
    assert teaches_F[:first].all() and teaches_F[end:].all()


def test_a_camera_that_is_not_the_one_that_is_remembered_teaches_nothing() -> None:
    """Once that is noticed, which takes a second."""
    strange = take("strange", 100, 12.0, 7)
    assert not may_teach(strange, learn(scene("yard", 1.0, 0).normal))[20:].any()


def test_what_the_gate_holds_back_costs_nothing() -> None:
    """In this scene all that is abnormal is over the threshold; without the gate it teaches."""
    yard = scene("yard", 1.0, 0)
    rows = {(row.what, row.measure): row for row in poison([yard])}
    assert rows["abnormal frames", "% that may teach"].value == 0.0
    assert rows["normal frames", "% that may teach"].value > 30.0
    assert rows["5% of frames, guarded", "AUC difference"].value == pytest.approx(0.0)
    row = rows["5% of frames", "AUC difference"]
    assert row.low is not None and row.high is not None
    assert row.low <= row.value <= row.high
    assert row.value < 0.5


def test_a_scene_without_anything_abnormal_is_not_poisoned() -> None:
    yard = scene("yard", 1.0, 0)
    calm = Scene("calm", yard.normal, tuple(take(f"calm{n}", 80, 1.0, 70 + n, slice(0, 0)) for n in range(4)))
    assert [row.what for row in poison([calm])] == ["normal frames"]
    assert np.isfinite([row.value for row in poison([calm])]).all()
