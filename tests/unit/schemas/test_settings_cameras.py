"""Cameras in the file: what a table says, what it takes over from all, what is refused; no password is shown."""

from pathlib import Path
from typing import Any

import pytest

from schemas.errors import SettingsError
from schemas.settings import (
    AllSettings,
    ConsumerSettings,
    Loaded,
    ProducerSettings,
    WorkerSettings,
    load_with_origins,
    masked,
)
from schemas.settings.cameras import CameraSection, events_of, producer_of
from schemas.settings.detection import EventsSection, ProducerSection

ADDRESS = "rtsp://bob:s3cr3t@cam/1"
GATE = f"""
[producer]
fps = 5
jpeg_quality = 70
mask = [[0, 0, 0.2, 0.1]]

[events]
enter = 0.9

[cameras.gate]
source = "{ADDRESS}"
fps = 4
masks = [[[0, 0], [0.5, 0], [0, 0.5]], [0.5, 0.5, 0.25, 0.5]]
hours = ["Mon-Fri 08:00-18:00"]
timezone = "Europe/Berlin"
start = 2026-01-31T08:00:00+01:00

[cameras.gate.zones]
door = [0.25, 0.0, 0.5, 0.5]

[cameras."gate.2"]
source_env = "GATE_2"
target_false_alarms_per_day = 3
"""


def loaded(folder: Path, text: str, kind: type[Any] = AllSettings, **flags: object) -> Loaded[Any]:
    file = folder / "engram.toml"
    file.write_text(text, "utf-8")
    return load_with_origins(kind, file, {name.replace("__", "."): value for name, value in flags.items()}, {})


def refused(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as error:
        loaded(folder, text)
    return str(error.value)


def test_a_table_says_what_one_camera_does(tmp_path: Path) -> None:
    gate = loaded(tmp_path, GATE).settings.cameras["gate"]
    assert (gate.source, gate.fps, gate.hours) == (ADDRESS, 4, ("Mon-Fri 08:00-18:00",))
    assert gate.masks == (((0, 0), (0.5, 0), (0, 0.5)), ((0.5, 0.5), (0.75, 0.5), (0.75, 1), (0.5, 1)))
    assert gate.zones == {"door": ((0.25, 0), (0.75, 0), (0.75, 0.5), (0.25, 0.5))}
    assert gate.start is not None
    assert gate.start.isoformat() == "2026-01-31T08:00:00+01:00"


def test_what_a_table_does_not_say_is_as_all_have_it(tmp_path: Path) -> None:
    settings = loaded(tmp_path, GATE).settings
    gate, second = settings.cameras["gate"], settings.cameras["gate.2"]
    first, other = (producer_of(camera, settings.producer) for camera in (gate, second))
    assert (first.fps, first.jpeg_quality, len(first.mask)) == (4, 70, 2)
    assert (other.fps, other.jpeg_quality, len(other.mask), other.hours) == (5, 70, 1, ())
    assert events_of(gate, settings.events).enter == 0.9
    assert events_of(second, settings.events).enter is None, "its own rate of false alarms frees it of the bound of all"


def test_a_flag_goes_before_a_table_and_a_table_before_all_else(tmp_path: Path) -> None:
    read = loaded(tmp_path, GATE, ProducerSettings, producer__fps=2.0)
    flags = {path for path, origin in read.origins.items() if origin == "flag"}
    assert producer_of(read.settings.cameras["gate"], read.settings.producer, flags).fps == 2
    assert producer_of(read.settings.cameras["gate"], read.settings.producer).fps == 4


def test_an_empty_list_is_said_and_nothing_is_not() -> None:
    default = ProducerSection(hours=("Mon",), mask=(((0, 0), (1, 0), (1, 1)),))
    assert producer_of(CameraSection(hours=(), masks=()), default).hours == ()
    assert producer_of(CameraSection(hours=(), masks=()), default).mask == ()
    assert producer_of(CameraSection(), default) == default


@pytest.mark.parametrize(
    ("camera", "bounds"),
    [
        (CameraSection(), (0.9, 0.8, 1.0)),
        (CameraSection(enter=0.5), (0.5, None, 1.0)),
        (CameraSection(enter=0.5, exit=0.4), (0.5, 0.4, 1.0)),
        (CameraSection(exit=0.7), (0.9, 0.7, 1.0)),
        (CameraSection(target_false_alarms_per_day=4), (None, None, 4.0)),
        (CameraSection(target_false_alarms_per_day=4, enter=0.6), (0.6, None, 4.0)),
    ],
)
def test_bounds_of_a_camera_do_not_mix_with_those_of_all(
    camera: CameraSection, bounds: tuple[float | None, ...]
) -> None:
    events = events_of(camera, EventsSection(enter=0.9, exit=0.8))
    assert (events.enter, events.exit, events.target_false_alarms_per_day) == bounds


def test_each_value_says_where_it_is_from_and_a_password_is_stars(tmp_path: Path) -> None:
    read = loaded(tmp_path, GATE, ProducerSettings)
    shown = masked(read.settings)
    assert (
        read.origins["cameras.gate.2.source_env"] == read.origins["cameras.gate.fps"] == f"file {tmp_path}/engram.toml"
    )
    assert shown["cameras.gate.source"] == "rtsp://bob:**********@cam/1"
    assert shown.keys() == read.origins.keys()
    assert "s3cr3t" not in repr(read.settings)


def test_a_process_without_cameras_reads_the_same_file(tmp_path: Path) -> None:
    assert not any(path.startswith("cameras") for path in loaded(tmp_path, GATE, ConsumerSettings).origins)
    assert set(loaded(tmp_path, GATE, WorkerSettings).settings.cameras) == {"gate", "gate.2"}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("fsp = 3", "cameras.gate.fsp is no setting of a camera; did you mean cameras.gate.fps?"),
        ("", "cameras.gate says nothing; give at least a source, or take it out"),
        ("fps = -1", "cameras.gate.fps: Input should be greater than 0, got -1 (file "),
        ("hours = ['Mo 8-10']", "cameras.gate.hours: hours must be like 'Mon-Fri 08:00-18:00'"),
        ("hours = '22:00-06:00'", "cameras.gate.hours: must be a list in brackets, as in"),
        ("masks = 'all'", "cameras.gate.masks: must be a list in brackets, as in"),
        ('[cameras.gate.zones]\n"a\\nb" = [0, 0, 1, 1]', "cameras.gate.zones.a\ufffdb: a name must have 1 to 64"),
        (f"[cameras.gate.zones]\n{'z' * 999} = [0, 0, 1, 1]", f"cameras.gate.zones.{'z' * 81}: a name must have"),
        ("timezone = 'Mars/Base'", "cameras.gate.timezone: a time zone must have a name like Europe/Berlin"),
        ("masks = [[0, 0]]", "cameras.gate.masks: a shape must be a polygon [[x, y], …] with 3 corners or more"),
        ("masks = [[0, 0, 2, 1]]", "cameras.gate.masks: a box must be x, y, width, height in fractions"),
        ("masks = [[[0, 0], [1, 1], [0.5, 0.5]]]", "cameras.gate.masks: a shape must enclose something"),
        ("width = 100", "cameras.gate: width and height must be given both or not at all (file "),
        ("source = 'a'\nsource_env = 'B'", "cameras.gate: only one of source, source_file, source_env may be given"),
        ("[cameras.gate.zones]\n'a b' = [0, 0, 1, 1]", "cameras.gate.zones.a b: a name must have 1 to 64 letters"),
        ("start = 2026-01-31T08:00:00", "cameras.gate.start: Input should have timezone info"),
        ("start = 1900-01-01T00:00:00Z", "cameras.gate.start: the time must lie from 1970 to 2200"),
        ("paused_until = '9999-12-31T23:59:59-12:00'", "cameras.gate.paused_until: the time must be a time that can"),
        ("severity = 'high'", "cameras.gate.severity: Input should be 'info', 'warning' or 'critical'"),
        ("clock = 'ntp'", "cameras.gate.clock: Input should be 'auto', 'camera' or 'arrival'"),
        ("enter = 0.5\nexit = 0.9", "cameras.gate: exit must be at most enter"),
        ("exit = 0.9\n[events]\nenter = 0.5", "cameras.gate: exit must be at most enter, got exit 0.9 and enter 0.5"),
    ],
)
def test_what_is_wrong_in_a_table_is_told_with_file_camera_and_key(tmp_path: Path, table: str, said: str) -> None:
    text = refused(tmp_path, f"[cameras.gate]\n{table}")
    assert said in text
    assert "engram.toml" in text or "[events]" in text


@pytest.mark.parametrize(
    "text",
    [
        f"cameras = '{ADDRESS}'",
        f"[cameras]\ngate = '{ADDRESS}'",
        f"[cameras]\nsource = '{ADDRESS}'",
        f"[cameras.'{ADDRESS}']\nfps = 1",
        f"[cameras.gate]\nsource = ['{ADDRESS}']",
        f"[cameras.gate]\nsource_env = '{ADDRESS}'",
        f"[cameras.gate]\n'{ADDRESS}' = 1",
        f"[cameras.gate]\nsource = '{ADDRESS}'\nfps = 0",
        f"[cameras.gate]\nsource = '{ADDRESS}",
        f"[[cameras]]\nsource = '{ADDRESS}'",
    ],
)
def test_no_mistake_shows_the_password_of_a_camera(tmp_path: Path, text: str) -> None:
    assert "s3cr3t" not in refused(tmp_path, text)


def test_cameras_are_for_files_only() -> None:
    with pytest.raises(SettingsError, match=r"cameras are told in a settings file, a table each: \[cameras\.gate\]"):
        load_with_origins(AllSettings, None, {}, {"ENGRAM_CAMERAS": "x"})
