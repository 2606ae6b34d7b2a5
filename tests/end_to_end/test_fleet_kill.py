"""A fleet as processes over a real Kafka and a real Redis, a worker of it killed half way.

What it must come to is computed from the frames in the log, in one thread (``engram/demo/recompute.py``).
"""

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from engram.build.shipped import WALKWAY, shipped_bundle
from engram.demo.checks import NUMBERS
from engram.demo.recompute import key_of
from engram.demo.stack_run import FleetRun, StackDemoRequest, run_fleet
from memory_store.bank import first_broken_link
from schemas.messages import FrameScore

SECONDS = 20.0
DEADLINE_S = 180.0
Numbers = dict[tuple[str, str, int], tuple[float | None, ...]]


@pytest.fixture
def addresses(kafka_bootstrap: str, redis_url: str) -> Mapping[str, str]:
    return {"ENGRAM_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap, "ENGRAM_STORE__URL": redis_url}


def run(addresses: Mapping[str, str], out: Path, victim: str | None, **settings: object) -> FleetRun:
    named = {path.replace("__", "."): value for path, value in settings.items()}
    request = StackDemoRequest(shipped_bundle(WALKWAY), out, SECONDS, DEADLINE_S, print, victim, named)
    return run_fleet(addresses, request, threading.Event())


def numbers(scores: tuple[FrameScore, ...]) -> Numbers:
    return {key_of(score): tuple(getattr(score, name) for name in NUMBERS) for score in scores}


def largest_difference(first: Numbers, second: Numbers) -> float:
    assert first.keys() == second.keys()
    pairs = [(a, b) for key in first for a, b in zip(first[key], second[key], strict=True)]
    assert all((a is None) == (b is None) for a, b in pairs)
    return max(abs(a - b) / max(1.0, abs(b)) for a, b in pairs if a is not None and b is not None)


@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_with_the_bank_frozen_a_killed_worker_changes_no_score_and_no_event(
    addresses: Mapping[str, str], tmp_path: Path
) -> None:
    hurt = run(addresses, tmp_path, "worker-1", memory__updates=False)
    assert all(check.ok for check in hurt.checks()), hurt.checks()
    assert {score.worker_id for score in hurt.scores} == {"worker-1", "worker-2"}
    assert {score.bank_version for score in hurt.scores} == {0}
    assert largest_difference(numbers(tuple(hurt.calm.scores.values())), numbers(hurt.scores)) <= 1e-5
    assert sorted(event.id for event in hurt.calm.events) == sorted(event.id for event in hurt.events)
    assert hurt.events


@pytest.mark.timeout(1500)
def test_with_updates_on_every_score_can_be_computed_again_from_the_version_it_names(
    addresses: Mapping[str, str], tmp_path: Path
) -> None:
    moved = run(addresses, tmp_path, "worker-2", coordinator__round_s=1.0, coordinator__quarantine_s=0.5)
    assert all(check.ok for check in moved.checks()), moved.checks()
    assert {score.bank_version for score in moved.scores} > {0}
    versions = [entry.version for entry in moved.entries]
    assert versions == list(range(len(versions)))
    assert first_broken_link(moved.entries) is None
