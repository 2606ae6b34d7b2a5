"""From a store's address to an adapter that works, and credentials that reach only the client."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from engram.wiring import address_with_credentials, open_store, open_store_for_worker
from schemas.errors import SettingsError
from schemas.settings.connections import StoreSection


def test_a_sqlite_address_makes_the_folder_and_a_store_that_answers(tmp_path: Path) -> None:
    section = StoreSection(url=f"sqlite:///{tmp_path / 'new' / 'deep' / 'banks.db'}")
    with open_store(section) as store:
        assert store.list_banks() == []
    with open_store_for_worker(section) as store:
        assert store.read("shared") is None
    assert (tmp_path / "new" / "deep" / "banks.db").exists()


def test_a_relative_sqlite_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store(StoreSection(url="sqlite:///here.db")):
        assert (tmp_path / "here.db").exists()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite://host/x"])
def test_an_address_without_a_path_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="must be sqlite:///path"), open_store(StoreSection(url=url)):
        pass


@pytest.mark.parametrize(
    ("url", "user", "password", "expected"),
    [
        ("redis://h:1/0", None, None, "redis://h:1/0"),
        ("redis://h:1/0", "me", None, "redis://me:@h:1/0"),
        ("redis://h:1/0", None, "p@ss/word", "redis://:p%40ss%2Fword@h:1/0"),
        ("redis://old:one@h:1/2", "me", "new", "redis://me:new@h:1/2"),
    ],
)
def test_credentials_are_put_into_the_address(url: str, user: str | None, password: str | None, expected: str) -> None:
    secret = None if password is None else SecretStr(password)
    section = StoreSection(url=url, username=user, password=secret)
    assert address_with_credentials(section) == expected
