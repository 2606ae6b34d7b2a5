"""From sources and settings to feeds."""

from pathlib import Path

import pytest

from engram.build.bundles import require_bundle
from engram.build.cameras import camera_feeds, camera_names
from schemas.errors import FatalError, SettingsError
from schemas.settings.detection import ProducerSection

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
