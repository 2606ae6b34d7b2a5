"""The CSV has exactly the promised columns and loses no digit."""

import csv
from pathlib import Path

from consumers.score_table import COLUMNS, ScoreTable
from tests.unit.consumers.samples import score


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_columns_are_the_promised_ones() -> None:
    expected = (
        "camera_id,session_id,frame_index,captured_at,psnr_db,feature_distance,regular_score,anomaly_score,"
        "bank_version,memory_state"
    )
    assert ",".join(COLUMNS) == expected


def test_a_row_holds_every_number(tmp_path: Path) -> None:
    path = tmp_path / "new" / "scores.csv"
    exact = 0.1 + 0.2
    with ScoreTable(path) as table:
        table.add([score(7, exact)])
        assert table.num_rows == 1
    assert path.read_text("utf-8").splitlines()[0] == ",".join(COLUMNS)
    (row,) = rows_of(path)
    assert row == {
        "camera_id": "cam1",
        "session_id": "s1",
        "frame_index": "7",
        "captured_at": "2026-03-01T08:00:00.700000Z",
        "psnr_db": "31.5",
        "feature_distance": "0.125",
        "regular_score": "0.125",
        "anomaly_score": "0.30000000000000004",
        "bank_version": "3",
        "memory_state": "live",
    }
    assert float(row["anomaly_score"]) == exact


def test_warming_frames_have_empty_numbers(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    with ScoreTable(path) as table:
        table.add([score(0, None), score(1)])
    warming, scored = rows_of(path)
    for column in ("psnr_db", "feature_distance", "regular_score", "anomaly_score"):
        assert warming[column] == ""
        assert scored[column] != ""
    assert warming["bank_version"] == "3"


def test_an_old_table_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("old\n" * 50, "utf-8")
    with ScoreTable(path) as table:
        table.add([score(1)])
    assert [row["frame_index"] for row in rows_of(path)] == ["1"]
