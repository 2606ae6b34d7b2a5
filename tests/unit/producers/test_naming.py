"""Names of cameras that nobody has named."""

import socket
from pathlib import Path

import pytest

from producers import naming
from producers.feed import CameraFeed
from producers.naming import default_camera_names
from tests.unit.producers.scripted_source import ScriptedSource


@pytest.mark.parametrize("host", ["edge7", "Büro.lan", "-x-", "", "a b" * 40, "localhost"])
def test_any_host_gives_names_that_cameras_may_have(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    names = default_camera_names(3)
    assert len(set(names)) == 3
    assert [name.rpartition("-")[2] for name in names] == ["1", "2", "3"]
    for name in names:
        CameraFeed(name, ScriptedSource([]))


def test_the_same_after_a_restart() -> None:
    assert default_camera_names(2) == default_camera_names(2)


def test_two_boxes_with_one_host_name_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: set[str] = set()
    for number in range(2):
        path = tmp_path / f"machine-id-{number}"
        path.write_text(f"{number}" * 32)
        monkeypatch.setattr(naming, "_MACHINE_ID", path)
        names.update(default_camera_names(1))
    assert len(names) == 2
