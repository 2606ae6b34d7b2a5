"""What every fault is held against: a fleet of cameras, two workers and a coordinator, harmed half way.

Afterwards the topics and the store alone say whether all was well: each frame scored once, scores and event ids those
of a calm run in one thread over the same frames, versions contiguous, the audit chain whole.
"""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from engram.build.shipped import WALKWAY, shipped_bundle
from engram.demo.checks import check_bank
from engram.demo.fleet import Fleet
from engram.demo.stack_run import FleetRun, StackDemoRequest, run_fleet
from memory_store.bank import first_broken_link

SECONDS = 20.0
DEADLINE_S = 300.0
Harm = Callable[[Fleet], None]
HarmedRun = Callable[..., FleetRun]


def addresses(bootstrap_servers: str, store_url: str) -> Mapping[str, str]:
    """As ``run_fleet`` takes them."""
    return {"ENGRAM_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers, "ENGRAM_STORE__URL": store_url}


@pytest.fixture
def harmed(tmp_path: Path) -> HarmedRun:
    """``harmed(kafka, redis, harm)``: runs the fleet, checks what it must come to, and gives what it left behind."""

    def run(bootstrap_servers: str, store_url: str, harm: Harm, **settings: object) -> FleetRun:
        named = {path.replace("__", "."): value for path, value in settings.items()}
        named |= {"coordinator.round_s": 1.0, "coordinator.quarantine_s": 0.5}
        request = StackDemoRequest(
            shipped_bundle(WALKWAY), tmp_path / "logs", SECONDS, DEADLINE_S, print, None, named, harm
        )
        found = run_fleet(addresses(bootstrap_servers, store_url), request, threading.Event())
        checks = (*found.checks(), *check_bank(found.entries))
        assert all(check.ok for check in checks), checks
        versions = [entry.version for entry in found.entries]
        assert sorted(set(versions)) == list(range(max(versions) + 1))
        assert first_broken_link(found.entries) is None
        return found

    return run
