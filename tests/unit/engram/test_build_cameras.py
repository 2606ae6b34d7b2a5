"""From sources and settings to feeds."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from bundles.bundle import save_bundle
from engram.build.bundles import require_bundle
from engram.build.cameras import bundle_defaults, camera_feeds, camera_names, resolved_sources
from schemas.errors import FatalError, SettingsError
from schemas.settings import ProducerSettings, load_with_origins
from schemas.settings.detection import ProducerSection
from tests.small_bundle import small_bundle

SCENE = "synthetic://walkway?seed=1&seconds=2"


def test_cameras_are_numbered_unless_named() -> None:
    assert camera_names(3, []) == ("cam1", "cam2", "cam3")
    assert camera_names(2, ["a", "b"]) == ("a", "b")
    with pytest.raises(SettingsError, match="once per source or not at all, got 1 for 2"):
        camera_names(2, ["a"])


def test_every_producer_setting_reaches_the_feed() -> None:
    corners = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5))
    section = ProducerSection(
        fps=4, width=64, height=48, mask=(corners,), jpeg_quality=70, pace="backfill", max_frame_bytes=5000
    )
    (feed,) = camera_feeds([SCENE], ["gate"], section)
    assert feed.camera_id == "gate"
    assert (feed.pacing.fps, feed.pacing.mode) == (4, "backfill")
    assert (feed.encoding.size, feed.encoding.quality, feed.encoding.max_bytes) == ((64, 48), 70, 5000)
    assert feed.encoding.mask is not None


def test_defaults_leave_size_and_picture_alone() -> None:
    (feed,) = camera_feeds([SCENE], ["gate"], ProducerSection())
    assert feed.encoding.size is None
    assert feed.encoding.mask is None
    assert feed.pacing.mode == "live"


def test_the_lowest_quality_is_not_above_the_one_asked_for() -> None:
    (feed,) = camera_feeds([SCENE], ["gate"], ProducerSection(jpeg_quality=10))
    assert feed.encoding.min_quality == feed.encoding.quality == 10


def test_a_file_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="nowhere"):
        camera_feeds([str(tmp_path / "nowhere.mp4")], ["gate"], ProducerSection())


def test_a_bundle_must_be_named(tmp_path: Path) -> None:
    assert require_bundle(tmp_path) == tmp_path
    with pytest.raises(SettingsError, match="--bundle DIR"):
        require_bundle(None)


def test_unnamed_cameras_of_a_fleet_get_the_names_of_their_machine() -> None:
    assert camera_names(2, [], ["box-1", "box-2"]) == ("box-1", "box-2")
    assert camera_names(1, ["gate"], ["box-1"]) == ("gate",)


def test_a_rate_for_the_source_reaches_it(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "1.png"), np.zeros((48, 64, 3), np.uint8))
    (feed,) = camera_feeds([str(tmp_path)], ["gate"], ProducerSection(source_fps=4))
    assert feed.source.fps == 4


def test_a_bundle_says_what_it_wants_where_nobody_has_said(tmp_path: Path) -> None:
    manifest = save_bundle(tmp_path / "small", small_bundle()).manifest
    wanted = bundle_defaults(load_with_origins(ProducerSettings, None, {}, {}), tmp_path / "small")
    assert wanted == {
        "producer.fps": manifest.fps,
        "producer.width": manifest.width,
        "producer.height": manifest.height,
    }
    chosen = {"producer.fps": 3, "producer.width": 640, "producer.height": 480}
    assert bundle_defaults(load_with_origins(ProducerSettings, None, chosen, {}), tmp_path / "small") == {}


def test_sources_may_stand_where_no_list_of_processes_shows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "rtsp://bob:s3cr3t@cam/1"
    (tmp_path / "one").write_text(f"{address}\n")
    (tmp_path / "many").write_text(f"# the yard\n{address}\n\nfilm.mp4\n")
    monkeypatch.setenv("GATE_CAMERA", address)
    named = ["env:GATE_CAMERA", f"file:{tmp_path / 'one'}", "film.mp4"]
    assert resolved_sources(named) == (address, address, "film.mp4")
    assert resolved_sources(["a.mp4"], [tmp_path / "many"]) == ("a.mp4", address, "film.mp4")


def test_a_source_that_stands_nowhere_is_told_without_what_was_read(tmp_path: Path) -> None:
    (tmp_path / "two").write_text("rtsp://bob:s3cr3t@cam/1\nrtsp://bob:s3cr3t@cam/2\n")
    (tmp_path / "film").write_bytes(b"\xff\xd8\x00s3cr3t")
    for source in ("env:NO_SUCH_CAMERA", f"file:{tmp_path}/nowhere", f"file:{tmp_path}/two", f"file:{tmp_path}/film"):
        with pytest.raises(SettingsError, match="must") as caught:
            resolved_sources([source])
        assert "s3cr3t" not in str(caught.value)
    with pytest.raises(SettingsError, match="--source-file"):
        resolved_sources([])
