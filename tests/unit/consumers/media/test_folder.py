"""The folder as a store: whole files only, and faults in words."""

import errno
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from consumers.media.folder import PART, FolderStore
from consumers.media.store import Retention, sweep
from schemas.errors import FatalError, TransientError

NAME = "gate/2026-03-01/gate_s1_20-01234567.mp4"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = FolderStore(tmp_path / "deep" / "media")
    made.check()
    return made


def test_what_was_put_is_there_under_its_uri(store: FolderStore, tmp_path: Path) -> None:
    assert store.get(NAME) is None
    store.put(NAME, b"one", "video/mp4")
    store.put(NAME, b"two", "video/mp4")
    assert store.get(NAME) == b"two"
    assert store.uri(NAME) == f"file://{tmp_path}/deep/media/{NAME}"
    assert [(file.name, file.num_bytes) for file in store.stored()] == [(NAME, 3)]


def test_a_uri_is_one_whatever_the_folder_is_called(tmp_path: Path) -> None:
    assert FolderStore(tmp_path / "my media ü#1").uri("a/b/c").endswith("/my%20media%20%C3%BC%231/a/b/c")


def test_what_is_deleted_takes_its_empty_folders_along(store: FolderStore, tmp_path: Path) -> None:
    store.put(NAME, b"one", "video/mp4")
    store.put("gate/2026-03-02/x-01234567.jpg", b"two", "image/jpeg")
    store.delete(NAME)
    store.delete(NAME)
    assert [path.name for path in (tmp_path / "deep/media/gate").iterdir()] == ["2026-03-02"]


def test_a_full_disk_leaves_what_was_there(store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(NAME, b"one", "video/mp4")

    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:1])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(TransientError, match=r"take a file: No space left on device; free space, or keep less"):
        store.put(NAME, b"longer", "video/mp4")
    assert store.get(NAME) == b"one"
    assert not list(tmp_path.rglob(f"*{PART}"))


def test_two_that_write_one_file_leave_it_whole(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a rebalance two members may make the same; in containers both have the same process id."""
    other, seen = FolderStore(tmp_path / "deep" / "media"), list[bytes | None]()

    def slow(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:3])
            file.flush()
            if content == b"mine, whole":
                other.put(NAME, b"the other's, whole", "video/mp4")
                seen.append(store.get(NAME))
            return file.write(content[3:])

    monkeypatch.setattr(Path, "write_bytes", slow)
    store.put(NAME, b"mine, whole", "video/mp4")
    assert [*seen, store.get(NAME)] == [b"the other's, whole", b"mine, whole"]
    assert not list(tmp_path.rglob(f"*{PART}"))


def test_what_a_dead_process_left_goes_at_a_start_where_all_is_kept(store: FolderStore, tmp_path: Path) -> None:
    store.put(NAME, b"one", "video/mp4")
    left = (tmp_path / "deep/media" / NAME).with_name(f"x.77{PART}")
    left.write_bytes(b"ha")
    os.utime(left, (1, 1))
    store.check()
    assert [file.name for file in store.stored()] == [NAME]


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FatalError, match=r"must be written: .*; give this user a folder"):
        FolderStore(tmp_path / "file" / "media").check()


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x"])
def test_no_name_leads_out_of_it(store: FolderStore, name: str) -> None:
    with pytest.raises(FatalError, match="must lie in the store's folder"):
        store.put(name, b"", "image/jpeg")


def test_a_sweep_deletes_what_is_old_and_what_a_dead_process_left(store: FolderStore, tmp_path: Path) -> None:
    store.put(NAME, b"one", "video/mp4")
    left = (tmp_path / "deep/media" / NAME).with_name(f"x.77{PART}")
    left.write_bytes(b"ha")
    os.utime(left, (1, 1))
    now = datetime.now(timezone.utc)
    assert sweep(store, Retention(timedelta(days=1)), now) == 0
    assert not left.exists()
    assert sweep(store, Retention(timedelta(days=1)), now + timedelta(days=2)) == 1
    assert list(store.stored()) == []
