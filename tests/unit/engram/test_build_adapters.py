"""From a store's address to an adapter that works."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from engram.build.adapters import kafka_connection, kafka_options, open_store, open_store_for_worker, redis_address
from schemas.errors import SettingsError
from schemas.settings.connections import KafkaSection, StoreSection


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


def test_credentials_of_redis_reach_the_client_and_no_log() -> None:
    section = StoreSection(
        url="redis://h:1/0", username="me", password=SecretStr("hunter2"), key_prefix="p", timeout_s=3
    )
    address = redis_address(section)
    assert (address.url, address.username, address.password) == ("redis://h:1/0", "me", "hunter2")
    assert (address.prefix, address.timeout_s) == ("p", 3)
    assert "hunter2" not in repr(section) + repr(address)


def test_every_kafka_setting_reaches_the_client() -> None:
    section = KafkaSection(
        bootstrap_servers="a:1,b:2",
        client_id="me",
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        username="u",
        password=SecretStr("hunter2"),
        ssl_cafile=Path("/ca.pem"),
        ssl_certfile=Path("/cert.pem"),
        ssl_keyfile=Path("/key.pem"),
        session_timeout_s=7,
        replication_factor=3,
    )
    connection = kafka_connection(section)
    client = connection.client_settings()
    assert client["bootstrap_servers"] == ["a:1", "b:2"]
    assert (client["client_id"], client["security_protocol"]) == ("me", "SASL_SSL")
    assert (client["sasl_mechanism"], client["sasl_plain_username"]) == ("SCRAM-SHA-512", "u")
    assert client["sasl_plain_password"] == "hunter2"
    assert [client[f"ssl_{name}file"] for name in ("ca", "cert", "key")] == ["/ca.pem", "/cert.pem", "/key.pem"]
    assert "hunter2" not in repr(connection)
    options = kafka_options(section, in_flight_bytes=123)
    assert (options.session_timeout_s, options.replication_factor, options.in_flight_bytes) == (7, 3, 123)
