"""Fixtures for all tests; what they do is said in ``tests/services.py``."""

import pytest

pytest_plugins = ["tests.services"]

SERVICE_FIXTURES = {"kafka_server", "kafka_bootstrap", "redis_server", "redis_url", "own_kafka", "own_redis"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server, so that ``-m 'not services'`` leaves the rest."""
    for item in items:
        if SERVICE_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.services)
