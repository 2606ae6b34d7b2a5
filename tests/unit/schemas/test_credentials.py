"""A secret in a file that changes, is gone for a moment, or was never there."""

from pathlib import Path

import pytest

from schemas.credentials import MAX_BYTES, CredentialFile
from schemas.errors import SettingsError


def test_it_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("first \n")
    file = CredentialFile(path, "kafka.credentials_file")
    assert file.now() == "first "
    path.write_text("second")
    assert file.now() == "second"


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"], ids=["gone", "empty", "no text"])
def test_while_it_cannot_be_read_the_last_one_serves(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "password"
    path.write_text("first")
    file = CredentialFile(path, "kafka.credentials_file")
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert file.now() == "first"


def test_it_must_be_there_at_the_start_and_the_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"kafka\.credentials_file must name a readable .*No such file"):
        CredentialFile(tmp_path / "none", "kafka.credentials_file")


def test_what_it_holds_is_not_shown_and_has_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2" * MAX_BYTES)
    file = CredentialFile(path, "x")
    assert "hunter2" not in repr(file)
    assert len(file.now()) == MAX_BYTES
