"""A small bundle, the settings of every process of one test (names that nothing else has), and a bank with versions."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bundles.bundle import save_bundle
from engram.build.adapters import open_store
from engram.cli.app import app
from schemas.settings.connections import StoreSection
from tests.integration.engram.bank_store import Call, teach
from tests.secured_kafka import SecuredKafka, secured_kafka
from tests.small_bundle import small_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "small"
    save_bundle(path, small_bundle())
    return path


@pytest.fixture(scope="session")
def broker(kafka_requirements: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """With TLS, SASL and access rules."""
    with secured_kafka(tmp_path_factory.mktemp("secured-kafka"), kafka_requirements) as running:
        yield running


@pytest.fixture
def settings(kafka_bootstrap: str, redis_url: str, bundle: Path, fresh_name: Callable[[str], str]) -> dict[str, str]:
    """As environment."""
    return {
        "ENGRAM_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap,
        "ENGRAM_KAFKA__TOPIC_PREFIX": f"{fresh_name('p')}.",
        "ENGRAM_KAFKA__FRAMES_PARTITIONS": "2",
        "ENGRAM_STORE__URL": redis_url,
        "ENGRAM_STORE__KEY_PREFIX": fresh_name("bank")[-60:],
        "ENGRAM_WORKER__BUNDLE": str(bundle),
        "ENGRAM_WORKER__THREADS": "1",
    }


@pytest.fixture(params=["sqlite", "redis"])
def section(request: pytest.FixtureRequest, tmp_path: Path, fresh_name: Callable[[str], str]) -> StoreSection:
    if request.param == "sqlite":
        return StoreSection(url=f"sqlite:///{tmp_path / 'banks.db'}")
    return StoreSection(url=request.getfixturevalue("redis_url"), key_prefix=fresh_name("bank")[-60:])


@pytest.fixture
def call_bank(section: StoreSection, bundle: Path) -> Call:
    environment = {
        "ENGRAM_STORE__URL": section.url,
        "ENGRAM_STORE__KEY_PREFIX": section.key_prefix,
        "ENGRAM_WORKER__BUNDLE": str(bundle),
        "COLUMNS": "250",
        "TERM": "dumb",
        "NO_COLOR": "1",
    }

    def run(*words: object, **more: str) -> Result:
        return CliRunner(env=environment | more).invoke(app, ["bank", *(str(word) for word in words)])

    return run


@pytest.fixture
def lobby(call_bank: Call, section: StoreSection) -> list[str]:
    """Bank 'lobby' at version 3; the digests of all its versions."""
    assert call_bank("create", "lobby").exit_code == 0
    with open_store(section) as store:
        teach(store, "lobby", (1, 2, 3))
        banks = [store.read_version("lobby", version) for version in range(4)]
    return [bank.digest for bank in banks if bank is not None]
