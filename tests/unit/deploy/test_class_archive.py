"""An archive has its name only when Java has written all of it; whatever goes wrong costs nothing but time."""

import sys
from pathlib import Path

import pytest

from deploy.local.class_archive import archive_of, make_archive, with_archive

WRITES = "import sys; file = sys.argv[2].partition('=')[2]; open(file, 'w').write('classes'); sys.exit({})"


@pytest.fixture
def java(tmp_path: Path) -> Path:
    path = tmp_path / "java"
    path.write_text("one")
    return path


def test_each_java_has_its_own(java: Path, tmp_path: Path) -> None:
    first = archive_of(tmp_path, java)
    assert archive_of(tmp_path, java) == first
    (tmp_path / "link").symlink_to(java)
    assert archive_of(tmp_path, tmp_path / "link") == first
    (tmp_path / "other").write_text("two")
    assert archive_of(tmp_path, tmp_path / "other") != first


def test_only_what_is_there_is_used(tmp_path: Path) -> None:
    archive = tmp_path / "classes.jsa"
    assert not with_archive(archive)
    archive.touch()
    assert f"-XX:SharedArchiveFile={archive}" in with_archive(archive)


def test_it_is_made_once(tmp_path: Path) -> None:
    archive = tmp_path / "classes.jsa"
    program = [sys.executable, "-c", WRITES.format(0), "--"]
    make_archive(archive, program, [])
    assert archive.read_text() == "classes"
    archive.write_text("the first")
    make_archive(archive, program, [])
    assert archive.read_text() == "the first"
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.parametrize(
    "command", [[sys.executable, "-c", WRITES.format(1), "--"], ["/no/such/java"], ["false"], ["true"]]
)
def test_failing_leaves_nothing(command: list[str], tmp_path: Path) -> None:
    make_archive(tmp_path / "classes.jsa", command, [])
    assert not list(tmp_path.iterdir())
