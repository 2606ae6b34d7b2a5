"""Fixtures for all tests; what they do is said in ``tests/services.py``."""

import gc
import os
from functools import lru_cache
from pathlib import Path

import pytest
import typer.testing
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from engram.__main__ import COLLECT_EVERY

pytest_plugins = ["tests.services"]

# Before the first import of torch: processes that test side by side, and their children, would fight for the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# As the program does it: a sixth of the time goes by otherwise.
gc.set_threshold(COLLECT_EVERY)

# A tenth of a second each time that a test calls a command.
typer.testing._get_command = lru_cache(typer.testing._get_command)  # type: ignore[attr-defined]

# How fast an example is made or run says how busy the machine is. Where a change is judged, its examples are the same
# each time, so that it is judged by what it changed; whoever works on the code sees new ones at each run.
IS_JUDGED = os.environ.get("REQUIRE_SERVICES") == "1"
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=IS_JUDGED)
settings.load_profile("untimed")
if IS_JUDGED:
    # Examples would also be made of the constants in all modules of ours that a process has imported by then: of others
    # in each of the processes that test side by side, and of others again after an edit anywhere.
    providers._get_local_constants = lambda: providers._local_constants

SERVICE_FIXTURES = {
    "kafka_server",
    "kafka_bootstrap",
    "broker",
    "redis_server",
    "redis_url",
    "own_kafka",
    "own_redis",
    "redis_requirements",
    "own_mosquitto",
}


LONG = {"golden", "training"}
"""Folders of tests that train and export networks."""


def pytest_configure(config: pytest.Config) -> None:
    """Let each of the processes that test side by side collect the files from another one on.

    What one has compiled the others find; else all would compile the same file at the same time, and so every file.
    """
    number = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if number and config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        files = sorted(str(path) for path in Path(__file__).parent.rglob("test_*.py"))
        first = int(number) * len(files) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        config.args = [*files[first:], *files[:first]]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs a server, so that ``-m 'not services'`` leaves the rest; leave out faults, unless asked for."""
    for item in items:
        if SERVICE_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.services)
    if "faults" not in config.option.markexpr:
        long = [item for item in items if item.get_closest_marker("faults")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
    if "PYTEST_XDIST_WORKER" in os.environ:
        items[:] = mixed(items)


def mixed(items: list[pytest.Item]) -> list[pytest.Item]:
    """File by file, those that wait for servers spread among those that compute; each kind in its order.

    Processes that test side by side would else all wait at first, and all fight for the cores at the end. What computes
    for long comes first, lest one process is left alone with it.
    """
    kinds: dict[bool, dict[Path, list[pytest.Item]]] = {True: {}, False: {}}
    waiting = {item.path for item in items if item.get_closest_marker("services")}
    for item in sorted(items, key=lambda item: (LONG.isdisjoint(item.path.parts), item.path)):
        kinds[item.path in waiting].setdefault(item.path, []).append(item)
    placed = [(number / len(files), own) for files in kinds.values() for number, own in enumerate(files.values())]
    return [item for _, own in sorted(placed, key=lambda pair: pair[0]) for item in own]


def pytest_unconfigure() -> None:
    """Let go of what the program has set aside: libraries that are still held at the end complain of it at length."""
    gc.unfreeze()
