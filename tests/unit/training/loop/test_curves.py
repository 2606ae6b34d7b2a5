"""Curves of a run: what is drawn is read again, and a run that goes on draws no point twice."""

from pathlib import Path

import pytest

from training.loop.run_folder import CURVES, open_curves, read_curves


def test_points_are_kept_in_order(tmp_path: Path) -> None:
    with open_curves(tmp_path, 0) as curves:
        curves.add(25, {"loss/pixel": 0.5, "learning_rate": 1e-3})
        curves.add(40, {"validation/pixel": 0.25})
    assert read_curves(tmp_path) == [
        {"step": 25, "loss/pixel": 0.5, "learning_rate": 1e-3},
        {"step": 40, "validation/pixel": 0.25},
    ]


def test_what_lies_beyond_the_checkpoint_is_drawn_anew(tmp_path: Path) -> None:
    with open_curves(tmp_path, 0) as curves:
        for step in (25, 50, 75):
            curves.add(step, {"loss/pixel": 1.0})
    with open_curves(tmp_path, 50) as curves:
        curves.add(75, {"loss/pixel": 0.5})
    assert [(point["step"], point["loss/pixel"]) for point in read_curves(tmp_path)] == [
        (25, 1.0),
        (50, 1.0),
        (75, 0.5),
    ]


def test_a_line_cut_off_by_a_crash_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / CURVES).write_text('{"step": 25, "loss/pixel": 1.0}\n{"step": 50, "loss/pi')
    assert [point["step"] for point in read_curves(tmp_path)] == [25]
    assert read_curves(tmp_path / "absent") == []


def test_lines_that_a_disk_has_lost_are_passed_over(tmp_path: Path) -> None:
    whole = b'{"step": 25, "loss/pixel": 1.0}\n'
    (tmp_path / CURVES).write_bytes(b"\0\0\xff\n" + whole + b"[]\n{}\n\n")
    assert [point["step"] for point in read_curves(tmp_path)] == [25]


@pytest.mark.parametrize("wanted", [False, True])
def test_a_board_is_written_where_wanted(tmp_path: Path, wanted: bool) -> None:
    with open_curves(tmp_path, 0, tmp_path / "board" if wanted else None) as curves:
        curves.add(25, {"loss/pixel": 0.5})
    assert (tmp_path / "board").exists() == wanted
