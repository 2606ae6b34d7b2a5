"""Segments on a disk: torn tails, damage, caps, locks, versions, a disk that cannot be written."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.spool.segments import KeptFrame, skim, sound_end
from producers.spool.shelf import Shelf
from producers.spool.spool import MIB, Spool, SpoolOptions
from schemas.errors import DamagedError, SettingsError
from tests.unit.producers.spools import header, jpeg


def shelf_of(folder: Path, num_records: int, segment_bytes: int = MIB) -> Shelf:
    shelf = Shelf(folder, segment_bytes)
    for index in range(num_records):
        shelf.append(header(index), jpeg(index), float(index))
    return shelf


def taken(shelf: Shelf) -> list[int]:
    found = []
    while (record := shelf.take()) is not None:
        assert record.value == jpeg(record.header.frame_index)
        found.append(record.header.frame_index)
        shelf.settle(record.place)
    return found


def test_what_was_appended_comes_back_in_order_whole_and_once(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path, 100, segment_bytes=2000)
    assert len(list(tmp_path.glob("*.segment"))) > 10
    assert taken(shelf) == list(range(100))
    assert shelf.take() is None
    assert len(list(tmp_path.glob("*.segment"))) == 1, "what is done with is deleted"


def test_the_next_run_goes_on_where_the_log_has_it(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path, 10)
    first, second, third = (shelf.take() for _ in range(3))
    assert first is not None
    assert second is not None
    assert third is not None
    shelf.settle(third.place)
    shelf.settle(first.place)
    shelf.close()
    again = Shelf(tmp_path, MIB)
    assert again.num_found == 9
    assert taken(again) == list(range(1, 10))


def test_what_is_given_back_is_the_next_one_and_what_is_done_is_not_taken_again(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path, 6)
    records = [shelf.take() for _ in range(4)]
    places = [record.place for record in records if record is not None]
    shelf.settle(places[2])
    assert shelf.give_back(places[1])
    shelf.settle(places[0])
    assert taken(shelf) == [1, 4, 5]
    assert shelf.num_in_hand == 1
    shelf.settle(places[3])
    assert taken(shelf) == []


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_tail_is_cut_off_and_counted(tmp_path: Path, cut: int) -> None:
    shelf_of(tmp_path, 5).close()
    (path,) = tmp_path.glob("*.segment")
    whole = [record.place for record in skim(path, 1)]
    os.truncate(path, path.stat().st_size - cut)
    again = Shelf(tmp_path, MIB)
    assert again.num_torn_bytes == whole[-1].end - whole[-1].start - cut
    assert again.num_found == 4
    again.append(header(4), jpeg(4), 4.0)
    assert taken(again) == [0, 1, 2, 3, 4]


def test_zeros_that_a_power_cut_left_behind_are_cut_off(tmp_path: Path) -> None:
    shelf_of(tmp_path, 5).close()
    (path,) = tmp_path.glob("*.segment")
    with path.open("ab") as file:
        file.write(bytes(5000))
    again = Shelf(tmp_path, MIB)
    assert again.num_torn_bytes == 5000
    assert taken(again) == [0, 1, 2, 3, 4]


@settings(deadline=None, max_examples=60)
@given(at=st.integers(0, 10**6), junk=st.binary(min_size=1, max_size=9))
def test_whatever_stands_there_is_a_frame_or_damage(at: int, junk: bytes, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("junk")
    shelf_of(folder, 5).close()
    (path,) = folder.glob("*.segment")
    content = bytearray(path.read_bytes())
    start = at % len(content)
    content[start : start + len(junk)] = junk
    path.write_bytes(content)
    end = sound_end(path)
    assert end <= len(content)
    again = Shelf(folder, MIB)
    found = taken(again)
    assert found == list(range(len(found)))


def test_a_frame_that_is_damaged_later_costs_no_other(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path, 5)
    (path,) = tmp_path.glob("*.segment")
    place = [record.place for record in skim(path, 1)][2]
    with path.open("r+b") as file:
        file.seek(place.end - 3)
        file.write(b"???")
    found: list[int] = []
    lost: list[Sequence[KeptFrame]] = []
    while True:
        try:
            record = shelf.take()
        except DamagedError as error:
            assert "fails its checksum" in str(error)
            lost.append(shelf.step_over())
            continue
        if record is None:
            break
        found.append(record.header.frame_index)
        shelf.settle(record.place)
    assert found == [0, 1, 3, 4]
    assert [one.header.frame_index for records in lost for one in records] == [2]


def test_a_length_that_cannot_be_believed_costs_the_rest_of_its_segment(tmp_path: Path) -> None:
    shelf = shelf_of(tmp_path, 20, segment_bytes=3000)
    path = sorted(tmp_path.glob("*.segment"))[0]
    place = [record.place for record in skim(path, 1)][1]
    with path.open("r+b") as file:
        file.seek(place.start)
        file.write(b"\xff" * 8)
    first = shelf.take()
    assert first is not None
    with pytest.raises(DamagedError, match="says it has"):
        shelf.take()
    assert shelf.step_over() == ()
    shelf.settle(first.place)
    assert taken(shelf)[-1] == 19


def test_one_process_at_a_time_and_the_lock_dies_with_it(tmp_path: Path) -> None:
    first = Spool(SpoolOptions(tmp_path / "a" / "spool"))
    with pytest.raises(SettingsError, match=rf"of one process alone, '.*spool' is used by process {os.getpid()}; stop"):
        Spool(SpoolOptions(tmp_path / "a" / "spool"))
    first.close()
    Spool(SpoolOptions(tmp_path / "a" / "spool")).close()


def test_a_spool_of_another_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    Spool(SpoolOptions(tmp_path)).close()
    (tmp_path / "VERSION").write_text("engram-spool 2\n")
    for _ in range(2):
        with pytest.raises(SettingsError, match="must be of version 'engram-spool 1', it says 'engram-spool 2'"):
            Spool(SpoolOptions(tmp_path))
    (tmp_path / "VERSION").write_text("engram-spool 1\n")
    Spool(SpoolOptions(tmp_path)).close()


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        SettingsError, match=r"must be a folder that can be written, '.*file/spool' cannot be: Not a dir"
    ):
        Spool(SpoolOptions(tmp_path / "file" / "spool"))


def test_a_disk_that_can_only_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it looks to a process: a user who may write everything runs the tests in many places."""

    def read_only(*_: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.open", read_only)
    with pytest.raises(SettingsError, match="cannot be: Read-only file system"):
        Spool(SpoolOptions(tmp_path))


def test_room_is_taken_from_the_oldest_of_all_cameras(tmp_path: Path) -> None:
    lost: dict[str, list[int]] = {"a": [], "b": []}
    now = [0.0]
    spool = Spool(SpoolOptions(tmp_path, max_bytes=64_000), lambda: now[0])
    for camera in lost:

        def on_lost(records: Sequence[KeptFrame], cause: str, camera: str = camera) -> None:
            assert cause == "spool_full"
            lost[camera] += [record.header.frame_index for record in records]

        spool.shelf(camera, on_lost)
    for index in range(30):
        now[0] += 1
        spool.keep("a", header(index), jpeg(index, 1000))
    assert lost == {"a": [], "b": []}
    for index in range(60):
        now[0] += 1
        spool.keep("b", header(index), jpeg(index, 1000))
    assert lost["a"] == list(range(30)), "all of a is older than b"
    assert lost["b"] == list(range(len(lost["b"])))
    assert 0 < len(lost["b"]) < 30
    assert spool.num_bytes <= 64_000


def test_a_write_that_the_disk_took_in_part_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(SpoolOptions(tmp_path))
    shelf = spool.shelf("a", lambda _records, _cause: None)
    spool.keep("a", header(0), jpeg(0))
    write = os.writev  # without the value
    with monkeypatch.context() as patch:
        patch.setattr("os.writev", lambda file, pieces: write(file, pieces[:3]))
        assert spool.keep("a", header(1), jpeg(1)) is None
    assert spool.keep("a", header(2), jpeg(2)) is not None
    assert taken(shelf) == [2], "room was made of what was oldest"


def test_a_disk_that_fails_otherwise_than_full_costs_nothing_that_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(SpoolOptions(tmp_path))
    shelf = spool.shelf("a", lambda _records, _cause: None)
    spool.keep("a", header(0), jpeg(0))

    def read_only(*_: object) -> int:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr("os.writev", read_only)
        assert spool.keep("a", header(1), jpeg(1)) is None
    assert taken(shelf) == [0]
