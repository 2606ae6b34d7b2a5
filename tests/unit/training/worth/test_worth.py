"""``engram memory-worth`` from a folder of footage to its table, with a real, small network."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from bundles.bundle import save_bundle
from engram.cli.app import app
from schemas.errors import FatalError
from tests.small_bundle import small_bundle
from tests.unit.training.labelled_scene import turning_noisy, write_clip, write_labels
from training.worth.scenes import SceneOptions
from training.worth.worth import ALL_ARMS, memory_worth


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worth")
    save_bundle(folder / "bundle", small_bundle())
    for name in ("hall", "yard"):
        for camera in "ab":
            write_clip(folder / "scenes" / name / "train" / camera, 0, 60, camera=camera)
        write_clip(folder / "scenes" / name / "test" / "turning", 50, 40, camera=name)
        write_clip(folder / "scenes" / name / "test" / "again", 50, 40, camera=name + "2")
        for clip in ("turning", "again"):
            write_labels(folder / "scenes" / name, clip, turning_noisy())
    return folder


def call(place, *arguments):
    where = ("--bundle", place / "bundle", "--data", place / "scenes", "--cache", place / "cache", "--device", "cpu")
    return CliRunner().invoke(app, [str(part) for part in ("memory-worth", *where, *arguments)], env={"COLUMNS": "200"})


def test_all_questions_are_answered_for_all_scenes(place):
    result = call(place, "-o", "json")
    assert result.exit_code == 0, result.stderr
    (line,) = result.stdout.splitlines()
    told = json.loads(line)
    assert told["scenes"] == ["hall", "yard"]
    assert {row["arm"] for row in told["rows"]} == {
        "form left out",
        "single evidence",
        "as shipped",
        "swap",
        "adaptation",
        "left out",
        "poison",
        "own camera",
        "wrong camera",
        "verdict",
        "disturbance",
        "drift",
    }
    for row in told["rows"]:
        assert np.isfinite(row["value"]), row
        assert row["low"] is None or row["low"] <= row["high"]
        if row["measure"] == "AUC":
            assert 0 <= row["value"] <= 100
    assert {row["scene"] for row in told["rows"]} == {"hall", "yard", "all"}


def test_a_question_alone_is_a_table_alone(place):
    result = call(place, "--arm", "swap")
    assert result.exit_code == 0, result.stderr
    assert "own less noise" in result.stdout
    assert "adaptation" not in result.stdout
    assert "50 is chance" in result.stdout


def test_a_question_that_is_none_is_refused_before_the_work(place):
    with pytest.raises(FatalError, match=r"must be one of forms, .* got 'colour'"):
        memory_worth(place / "bundle", place / "nothing", SceneOptions(place / "cache"), ["colour"])
    assert call(place, "--arm", "colour").exit_code != 0
    assert "disturbance" in ALL_ARMS


def test_help_tells_what_is_asked():
    result = CliRunner().invoke(app, ["memory-worth", "--help"], env={"COLUMNS": "200"})
    for text in ("--arm", "disturbance", "--normal-s", "Example: engram memory-worth"):
        assert text in result.stdout
