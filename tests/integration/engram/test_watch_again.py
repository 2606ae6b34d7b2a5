"""What a recording teaches does not depend on how fast it is read, nor on how the worker portions it."""

import csv
from collections.abc import Mapping
from pathlib import Path

from typer.testing import CliRunner

from bundles.bundle import save_bundle
from engram.cli.app import app
from memory_store.bank import AuditEntry
from memory_store.stores.sqlite import SqliteStore
from tests.small_bundle import jpeg, small_bundle

NUM_FRAMES = 90
START = "2026-03-01T08:00:00.5Z"
ROUNDS = {
    "ENGRAM_WORKER__THREADS": "1",
    "ENGRAM_MEMORY__LEARN_S": "3",
    "ENGRAM_COORDINATOR__ROUND_S": "2",
    "ENGRAM_COORDINATOR__QUARANTINE_S": "1",
}
HURRIED = {"ENGRAM_WORKER__MAX_BATCH": "16", "ENGRAM_WORKER__COMMIT_INTERVAL_MS": "700"}
PATIENT = {"ENGRAM_WORKER__MAX_BATCH": "1", "ENGRAM_WORKER__COMMIT_INTERVAL_MS": "0"}


def test_every_pace_gives_the_same_versions_and_scores(tmp_path: Path) -> None:
    """Nine seconds, of which the last two are not calm: as fast as may be, frame by frame, and as if it were live."""
    save_bundle(tmp_path / "bundle", small_bundle(remembers=True))
    (tmp_path / "recording").mkdir()
    for index in range(NUM_FRAMES):
        (tmp_path / "recording" / f"{index}.jpg").write_bytes(jpeg("calm", index))
    hurried = watched(tmp_path, "hurried", "backfill", HURRIED)
    patient = watched(tmp_path, "patient", "backfill", PATIENT)
    live = watched(tmp_path, "live", "live", HURRIED)
    assert len(hurried) >= 4
    assert [told(entry) for entry in hurried] == [told(entry) for entry in patient] == [told(entry) for entry in live]
    scores = [judged(tmp_path / f"{name}.csv") for name in ("hurried", "patient", "live")]
    assert len(scores[0]) == NUM_FRAMES
    assert len({version for _, version, _ in scores[0]}) >= 3, "the memory is read while it is made"
    assert scores[0] == scores[1] == scores[2]


def watched(folder: Path, name: str, pace: str, changed: Mapping[str, str]) -> list[AuditEntry]:
    """The log of the camera's bank after its recording was watched."""
    store = folder / f"{name}.db"
    options = ["--camera", "gate", "--bundle", folder / "bundle", "--start", START, "--pace", pace]
    files = ["--store", f"sqlite:///{store}", "--scores", folder / f"{name}.csv"]
    arguments = [str(one) for one in ("watch", folder / "recording", *options, *files)]
    done = CliRunner().invoke(app, arguments, env={**ROUNDS, **changed, "ENGRAM_HOME": str(folder / "home")})
    assert done.exit_code == 0, done.output
    banks = SqliteStore(store)
    try:
        return list(banks.log("gate"))
    finally:
        banks.close()


def told(entry: AuditEntry) -> tuple[int, str, int]:
    return entry.version, entry.digest, entry.change.num_frames


def judged(path: Path) -> list[tuple[str, str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [(row["frame_index"], row["bank_version"], row["anomaly_score"]) for row in csv.DictReader(file)]
