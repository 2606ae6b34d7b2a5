"""Pictures of events as files: one an event, of its newest peak, and never anything else."""

import base64
import errno
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from consumers.snapshots import save_snapshots, snapshot_name
from schemas.errors import FatalError
from schemas.messages import AnomalyEvent, Thumbnail
from tests.small_bundle import jpeg
from tests.unit.consumers.samples import event


def shown(message: AnomalyEvent, picture: bytes | None) -> AnomalyEvent:
    text = None if picture is None else base64.b64encode(picture).decode()
    thumbnail = None if text is None else Thumbnail(width=64, height=48, jpeg_base64=text)
    return message.model_copy(update={"data": message.data.model_copy(update={"thumbnail": thumbnail})})


FIRST, PEAK = jpeg("cam1", 1), jpeg("cam1", 2)
START, UPDATE, END = event(5, 9), event(5, 15, "update", 1), event(5, 18, "end", 2)


def test_an_event_has_one_file_with_its_newest_picture(tmp_path: Path) -> None:
    told = [shown(START, FIRST), shown(UPDATE, None), shown(END, PEAK), shown(event(30, 31, camera_id="cam2"), FIRST)]
    written = save_snapshots(told, tmp_path / "made")
    assert [path.relative_to(tmp_path / "made") for path in written] == [
        Path("cam1/2026-03-01T08-00-00Z_s1_5.jpg"),
        Path("cam2/2026-03-01T08-00-03Z_s1_30.jpg"),
    ]
    assert [path.read_bytes() for path in written] == [PEAK, FIRST]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(written), "nothing half is left"


def test_a_full_disk_leaves_what_was_there_and_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = save_snapshots([shown(START, FIRST)], tmp_path)

    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:1])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FatalError, match="No space left on device"):
        save_snapshots([shown(END, PEAK)], tmp_path)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
    assert path.read_bytes() == FIRST


def test_messages_without_a_picture_leave_no_file(tmp_path: Path) -> None:
    assert save_snapshots([START, UPDATE, END], tmp_path) == ()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [b"#!/bin/sh", b"", b"GIF89a"])
def test_what_is_no_jpeg_is_not_written(tmp_path: Path, wrong: bytes) -> None:
    if wrong:
        assert save_snapshots([shown(START, wrong)], tmp_path) == ()
    with pytest.raises(ValidationError):
        Thumbnail(width=1, height=1, jpeg_base64="?" * 8)


def test_a_name_stays_in_its_folder() -> None:
    """Ids have no slashes, and none begins with a dot."""
    assert snapshot_name(START).parts == ("cam1", "2026-03-01T08-00-00Z_s1_5.jpg")
    with pytest.raises(ValidationError):
        AnomalyEvent.model_validate(START.model_dump() | {"data": START.data.model_dump() | {"camera_id": "../x"}})


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "cam1").write_text("a file where a folder should be")
    with pytest.raises(FatalError, match="pictures must go into a folder that can be written"):
        save_snapshots([shown(START, FIRST)], tmp_path)
