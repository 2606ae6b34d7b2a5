"""From a store's address to an adapter that works."""

from pathlib import Path

import pytest

from engram.wiring import open_store, open_store_for_worker
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
