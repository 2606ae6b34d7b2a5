"""From sources and settings to feeds."""

import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from bundles.bundle import save_bundle
from engram.build.bundles import bundle_folder
from engram.build.cameras import bundle_defaults, camera_feeds, camera_names, camera_plans, resolved_sources
from engram.build.shipped import ANYWHERE, WALKWAY, shipped_bundle
from producers.naming import default_camera_names
from producers.sources import open_source
from schemas.errors import FatalError, SettingsError
from schemas.settings import Loaded, ProducerSettings, WatchSettings, load_with_origins
from schemas.settings.detection import ProducerSection
from schemas.settings.layers import Given
from tests.small_bundle import small_bundle

SCENE = "synthetic://walkway?seed=1&seconds=2"


def test_cameras_are_named_after_their_machine_unless_named() -> None:
    assert camera_names(3, []) == default_camera_names(3)
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
    assert feed.encoding.mask is not None
    image = np.full((4, 4, 3), 9, np.uint8)
    assert feed.encoding.mask.hide(image) is image
    assert feed.pacing.mode == "live"


def test_the_lowest_quality_is_not_above_the_one_asked_for() -> None:
    (feed,) = camera_feeds([SCENE], ["gate"], ProducerSection(jpeg_quality=10))
    assert feed.encoding.min_quality == feed.encoding.quality == 10


def test_a_file_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="nowhere"):
        camera_feeds([str(tmp_path / "nowhere.mp4")], ["gate"], ProducerSection())


def test_a_bundle_is_a_folder_or_one_that_comes_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert bundle_folder(tmp_path) == tmp_path
    assert bundle_folder(None) == bundle_folder(Path(ANYWHERE)) == shipped_bundle(ANYWHERE)
    assert bundle_folder(Path("walkway")) == shipped_bundle(WALKWAY)
    (tmp_path / "walkway").mkdir()
    assert bundle_folder(Path("walkway")) == Path("walkway"), "a folder of this name comes first"


def test_a_rate_for_the_source_reaches_it(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "1.png"), np.zeros((48, 64, 3), np.uint8))
    (feed,) = camera_feeds([str(tmp_path)], ["gate"], ProducerSection(source_fps=4))
    assert feed.source.fps == 4


def test_a_bundle_says_what_it_wants_where_nobody_has_said(tmp_path: Path) -> None:
    manifest = save_bundle(tmp_path / "small", small_bundle()).manifest
    wanted = bundle_defaults(load_with_origins(ProducerSettings, None, {}, {}), tmp_path / "small")
    assert {path: each.value for path, each in wanted.items() if isinstance(each, Given)} == {
        "producer.fps": manifest.fps,
        "producer.width": manifest.width,
        "producer.height": manifest.height,
        "producer.colours": "all" if manifest.channels == 3 else "grey",
    }
    chosen = {"producer.fps": 3, "producer.width": 640, "producer.height": 480, "producer.colours": "all"}
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
    assert resolved_sources([]) == ()


def read(folder: Path, text: str, **flags: object) -> Loaded[ProducerSettings]:
    file = folder / "engram.toml"
    file.write_text(text, "utf-8")
    return load_with_origins(ProducerSettings, file, {f"producer.{name}": value for name, value in flags.items()}, {})


CAMERAS = f"""
[producer]
fps = 5

[cameras.gate]
source = "{SCENE}"
fps = 4
width = 64
height = 48
masks = [[0, 0, 1, 0.5]]

[cameras.yard]
source_env = "YARD_CAMERA"

[cameras.judged]
enter = 0.5
"""


def test_the_cameras_of_a_file_are_those_with_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YARD_CAMERA", "rtsp://bob:s3cr3t@cam/1\n")
    gate, yard = camera_plans(read(tmp_path, CAMERAS), (), ())
    assert (gate.camera_id, gate.source, gate.producer.fps, gate.producer.width) == ("gate", SCENE, 4, 64)
    assert (yard.camera_id, yard.source, yard.producer.fps) == ("yard", "rtsp://bob:s3cr3t@cam/1", 5)
    assert [gate.is_recorded, yard.is_recorded] == [True, False]
    assert "s3cr3t" not in repr(yard)
    assert camera_plans(read(tmp_path, CAMERAS), (), ("gate",)) == (gate,)


def test_sources_that_are_typed_take_the_settings_of_their_name(tmp_path: Path) -> None:
    other, gate = camera_plans(read(tmp_path, CAMERAS), ("a.mp4", "b.mp4"), ("other", "gate"))
    assert (other.source, other.producer.fps) == ("a.mp4", 5)
    assert (gate.source, gate.producer.fps, len(gate.producer.mask)) == ("b.mp4", 4, 1)
    assert camera_plans(read(tmp_path, CAMERAS, fps=2.0), ("b.mp4",), ("gate",))[0].producer.fps == 2


@pytest.mark.parametrize(
    ("text", "names", "said"),
    [
        ("", (), r"give SOURCE or --source-file FILE, or \[cameras\.NAME\]"),
        ("[cameras.judged]\nenter = 0.5", (), "a source must be named, got none"),
        (CAMERAS, ("gaet",), "cameras of the settings file are gate, yard, got gaet"),
        (CAMERAS, (), "cameras.yard: environment variable YARD_CAMERA must hold one source in one line, got 0 lines"),
        ("[cameras.a]\nsource_file = '/nowhere'", (), "'/nowhere' is not"),
    ],
)
def test_cameras_that_cannot_be_found_are_told(tmp_path: Path, text: str, names: tuple[str, ...], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        camera_plans(read(tmp_path, text), (), names)


def test_two_cameras_may_not_share_a_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="a name of its own"):
        camera_plans(read(tmp_path, ""), ("a.mp4", "b.mp4"), ("gate", "gate"))


def test_what_a_bundle_wants_goes_behind_what_a_camera_says(tmp_path: Path) -> None:
    save_bundle(tmp_path / "small", small_bundle())
    first = read(tmp_path, CAMERAS)
    wanted = bundle_defaults(first, tmp_path / "small")
    loaded = load_with_origins(ProducerSettings, tmp_path / "engram.toml", wanted, {})
    (gate,) = camera_plans(loaded, (), ("gate",))
    assert (gate.producer.fps, gate.producer.width) == (4, 64)
    (other,) = camera_plans(loaded, ("a.mp4",), ("other",))
    assert (other.producer.fps, other.producer.width) == (5, 32), "the file's rate, the bundle's size"
    assert loaded.origins["producer.width"] == f"bundle {tmp_path / 'small'}"


def write_film(path: Path) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for level in range(3):
        writer.write(np.full((48, 64, 3), 50 * level, np.uint8))
    writer.release()


def test_a_folder_that_we_may_not_look_into_is_left_to_who_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied", str(path))

    loaded = load_with_origins(WatchSettings, None, {}, {})
    monkeypatch.setattr(Path, "iterdir", refuse)
    (plan,) = camera_plans(loaded, (str(tmp_path),), ("gate",))
    assert plan.source == str(tmp_path)
    with pytest.raises(FatalError, match="Permission denied"):
        open_source(plan.source)


def test_a_folder_of_films_is_refused_with_what_to_type_instead(tmp_path: Path) -> None:
    folder = tmp_path / "my films"
    folder.mkdir()
    for name in ("1.avi", "2.avi", "3.AVI"):
        write_film(folder / name)
    (folder / "._1.avi").write_bytes(b"what another system noted of it")
    loaded = load_with_origins(WatchSettings, None, {}, {})
    with pytest.raises(SettingsError, match=r"'.*/my films' holds films alone \(3\)") as refused:
        camera_plans(loaded, [f"{folder}/"], ["yard"])
    _, in_turn, _, each = str(refused.value).splitlines()
    # What is told is typed, with a program in our place that says what it was given.
    said = (tmp_path / "engram", "#!/bin/sh\necho $# $*\n")
    said[0].write_text(said[1])
    said[0].chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    lines = subprocess.run(["sh", "-c", in_turn], env=path, check=True, capture_output=True, text=True).stdout
    assert lines.splitlines() == [f"4 watch {folder}/{name} --camera yard" for name in ("3.AVI", "1.avi", "2.avi")]
    line = subprocess.run(["sh", "-c", each], env=path, check=True, capture_output=True, text=True).stdout
    assert line == f"4 watch {folder}/3.AVI {folder}/1.avi {folder}/2.avi\n"
    (plan,) = camera_plans(loaded, [str(folder / "1.avi")], ["yard"])
    assert plan.is_recorded


def test_a_folder_with_pictures_is_a_recording_whatever_lies_beside_them(tmp_path: Path) -> None:
    write_film(tmp_path / "1.avi")
    loaded = load_with_origins(ProducerSettings, None, {}, {})
    with pytest.raises(SettingsError, match=r"do engram produce \"\$film\" --camera gate; done"):
        camera_plans(loaded, [str(tmp_path)], ["gate"])
    assert cv2.imwrite(str(tmp_path / "1.png"), np.zeros((48, 64, 3), np.uint8))
    assert [plan.camera_id for plan in camera_plans(loaded, [str(tmp_path)], ["gate"])] == ["gate"]
