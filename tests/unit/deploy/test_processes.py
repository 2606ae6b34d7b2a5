"""Ports and waiting."""

import itertools
import os
import socket
import subprocess
import sys
from pathlib import Path

from deploy.local import ports
from deploy.local.ports import LOOPBACK, accepts, free_port, is_free
from deploy.local.process import DetachedProcess, birth_of
from deploy.local.wait import wait_until


def test_a_free_port_can_be_listened_on_and_lies_below_the_outgoing_ones() -> None:
    port = free_port()
    assert 20_000 <= port < 32_000
    assert is_free(port)
    assert not accepts(port)
    with socket.create_server((LOOPBACK, port)):
        assert accepts(port)
        assert not is_free(port)


def test_a_taken_port_is_not_given() -> None:
    lowest_left = ports._HIGHEST - 500
    assert free_port(range(ports._LOWEST, lowest_left)) >= lowest_left


def test_wait_until_asks_again_until_it_holds() -> None:
    answers = itertools.chain([False, False], itertools.repeat(True))
    assert wait_until(lambda: next(answers), 30)


def test_wait_until_asks_at_least_once() -> None:
    assert wait_until(lambda: True, 0.0)
    assert not wait_until(lambda: False, 0.0)


def test_birth_tells_processes_apart() -> None:
    mine = birth_of(os.getpid())
    assert mine is not None
    assert birth_of(os.getpid()) == mine
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert birth_of(child.pid) not in {None, mine}
        child.kill()
        assert wait_until(lambda: birth_of(child.pid) is None, 30)  # a zombie until the end of the block


def test_log_begins_at_the_last_start(tmp_path: Path) -> None:
    process = DetachedProcess("echo", tmp_path)
    for word in ("first", "second"):
        process.start(["sh", "-c", f"echo $WORD; echo {word}; exec sleep 60"], {"WORD": "hello"})
        assert wait_until(lambda word=word: word in process.log(), 30)  # type: ignore[misc]
        assert process.log() == f"hello\n{word}\n"
        assert process.log_tail(1) == word
        process.stop(5.0)
    assert process.pid is None
    assert process.log() == "hello\nfirst\nhello\nsecond\n"


def test_stop_kills_what_does_not_listen(tmp_path: Path) -> None:
    process = DetachedProcess("deaf", tmp_path)
    process.start(["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"])
    assert wait_until(lambda: "deaf" in process.log(), 30)
    process.stop(0.1)
    assert process.pid is None


def test_a_dead_process_leaves_its_log_for_the_message(tmp_path: Path) -> None:
    process = DetachedProcess("brief", tmp_path)
    process.start(["sh", "-c", "echo this is why; exit 3"])
    assert wait_until(lambda: process.pid is None, 30)
    assert process.log_tail() == "this is why"
