"""A small bundle, and the settings of every process of one test: names that nothing else has."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bundles.bundle import save_bundle
from tests.small_bundle import small_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "small"
    save_bundle(path, small_bundle())
    return path


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
