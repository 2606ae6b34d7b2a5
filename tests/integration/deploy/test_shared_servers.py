"""A server that several processes use: whoever comes first starts it, whoever leaves last ends it."""

import multiprocessing
from multiprocessing.synchronize import Event
from pathlib import Path

from deploy.local.redis import LocalRedis
from tests.services import shared

DEADLINE_S = 120.0
SPAWN = multiprocessing.get_context("spawn")


def test_the_last_of_two_processes_ends_it(redis_requirements: None, tmp_path: Path) -> None:
    server, ready, may_leave = LocalRedis(tmp_path / "shared"), SPAWN.Event(), SPAWN.Event()
    other = SPAWN.Process(target=use, args=(server.folder, ready, may_leave))
    with shared(server):
        pid = server.pid
        assert pid is not None
        other.start()
        assert ready.wait(DEADLINE_S)
    assert server.pid == pid, "the other one has not left"
    may_leave.set()
    other.join(DEADLINE_S)
    assert other.exitcode == 0
    assert server.pid is None


def test_a_process_that_was_killed_keeps_nothing_alive(redis_requirements: None, tmp_path: Path) -> None:
    server, ready, never = LocalRedis(tmp_path / "shared"), SPAWN.Event(), SPAWN.Event()
    other = SPAWN.Process(target=use, args=(server.folder, ready, never))
    other.start()
    assert ready.wait(DEADLINE_S)
    other.kill()
    other.join(DEADLINE_S)
    with shared(server):
        assert server.pid is not None
    assert server.pid is None


def use(folder: Path, ready: Event, may_leave: Event) -> None:
    with shared(LocalRedis(folder)):
        ready.set()
        may_leave.wait(DEADLINE_S)
