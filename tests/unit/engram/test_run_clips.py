"""Stores by their address, and the media of what is watched in one process."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from bundles.bundle import save_bundle
from consumers.media.clipper import ClipOptions
from consumers.media.folder import FolderStore
from consumers.media.store import Retention
from engram.build.bundles import load_engine
from engram.build.cameras import camera_feeds
from engram.cli.clips import retention
from engram.run.clips import WatchedClips, media_store
from engram.run.console import media_place
from engram.run.embedded import Embedded
from engram.run.watch import WatchRequest, run_watch
from memory_store.stores.sqlite import SqliteStore
from schemas.errors import SettingsError
from schemas.settings import WatchSettings, load_with_origins
from tests.small_bundle import small_bundle
from tests.unit.engram.test_run_watch import Ear


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "small"
    save_bundle(path, small_bundle())
    return path


def overrides(bundle: Path, folder: Path) -> dict[str, object]:
    return {
        "worker.bundle": bundle,
        "worker.threads": 1,
        "producer.pace": "backfill",
        "store.url": f"sqlite:///{folder}/banks.db",
        "events.enter": 0.0,
        "events.exit": 0.0,
    }


def test_what_is_watched_has_its_media_when_it_is_over(bundle: Path, tmp_path: Path) -> None:
    """One event, from the first scored frame to the end of the recording."""
    loaded = load_with_origins(WatchSettings, None, overrides(bundle, tmp_path), {})
    sources = ["synthetic://walkway?seed=1&seconds=3"]
    request = WatchRequest(sources, ["gate"], None, lambda event: None, str(tmp_path / "media"))
    run_watch(loaded, request, threading.Event())
    files = sorted(path.name.partition(".")[2] for path in (tmp_path / "media" / "gate").rglob("gate_*"))
    assert files == ["jpg", "jpg.json", "mp4", "mp4.json"]


def test_a_store_that_fails_at_the_end_costs_the_media_alone(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "media").mkdir()
    media = FolderStore(tmp_path / "media")
    loaded = load_with_origins(WatchSettings, None, overrides(bundle, tmp_path), {}).settings
    feeds = camera_feeds(["synthetic://walkway?seed=1&seconds=2"], ["a"], loaded.producer)
    companion = WatchedClips(media, ClipOptions("nowhere"))  # a topic that is not there takes nothing
    ear, store = Ear(), SqliteStore(tmp_path / "banks.db")
    whole = Embedded(loaded, load_engine(loaded.worker), store, feeds, ear, companion=companion)
    with pytest.raises(Exception, match="nowhere"):
        whole.run(threading.Event())
    store.close()
    assert len(ear.scores) == 20, "all frames were scored and told"


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("ftp://me:secret@h/x", "media go into a folder or to s3://bucket/prefix, got"),
        (" ", "media go into a folder or to s3://bucket/prefix, got an empty text"),
        ("s3://", "a bucket must be given as s3://bucket"),
        ("s3://UPPER/x", "a bucket must be given as s3://bucket"),
        ("s3://yard/?x=1", "a bucket must be given as s3://bucket"),
    ],
)
def test_an_address_that_names_no_store_is_refused(place: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as refused:
        media_store(place)
    assert "secret" not in str(refused.value)
    with pytest.raises(SettingsError, match=told) as refused:
        media_place(place, None)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("of", [media_store, media_place])
def test_a_folder_beside_the_address_of_a_server_is_refused(of: Callable[[str, str], object], tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"s3://bucket/prefix, got http://me:\*+@h:9 and the folder '.*/media'; name"
    ):
        of(f"{tmp_path}/media", "http://me:secret@h:9")
    assert not (tmp_path / "media").exists(), "nothing was begun"


def test_how_long_media_stay_is_said_in_words() -> None:
    assert retention("14d", 2.5) == Retention(timedelta(days=14), 2_500_000_000)
    assert retention("ever", 1) == Retention(None, 1_000_000_000)
    with pytest.raises(SettingsError, match=r"--keep must be a length of time such as 30s.*, or 'ever'"):
        retention("soon", 1)
