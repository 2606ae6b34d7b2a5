"""A supervisor hears that a process began, lives and ends, and nothing from one whose loop turns no more."""

import os
import queue
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engram.observe.desk import open_desk
from engram.observe.supervisor import TELL_S, _every_s, supervised
from schemas.settings.connections import HttpSection

QUICK_USEC = "30000"


class Supervisor:
    """What systemd is to us: a socket of datagrams, read at all times, for it holds a few of them only."""

    def __init__(self, folder: str, is_abstract: bool = False) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._heard: queue.Queue[str] = queue.Queue()
        path = str(Path(folder) / "notify")
        self._socket.bind(f"\0{path}" if is_abstract else path)
        self.environment = {"NOTIFY_SOCKET": f"@{path}" if is_abstract else path, "WATCHDOG_USEC": QUICK_USEC}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def hears(self) -> list[str]:
        """The next message."""
        return self._heard.get(timeout=60).splitlines()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RD)
        self._reader.join(60)
        self._socket.close()

    def _read(self) -> None:
        while message := self._socket.recv(4096):
            self._heard.put(message.decode())


@pytest.fixture
def folder() -> Iterator[str]:
    """Paths of sockets must be short."""
    with tempfile.TemporaryDirectory() as made:
        yield made


@pytest.mark.parametrize("is_abstract", [False, True])
def test_it_hears_of_the_beginning_of_life_and_of_the_end(folder: str, is_abstract: bool) -> None:
    with closing(Supervisor(folder, is_abstract)) as supervisor:
        with supervised(tuple, tuple, supervisor.environment):
            assert supervisor.hears() == ["READY=1", "STATUS=at work", "WATCHDOG=1"]
            assert supervisor.hears() == ["STATUS=at work", "WATCHDOG=1"]
        last = supervisor.hears()
        while "WATCHDOG=1" in last:
            last = supervisor.hears()
        assert last == ["STOPPING=1"]


def test_who_waits_lives_and_who_is_stuck_is_silent(folder: str) -> None:
    stuck: list[str] = []
    with (
        closing(Supervisor(folder)) as supervisor,
        supervised(lambda: tuple(stuck), lambda: ("the log\nmust answer",), supervisor.environment),
    ):
        assert supervisor.hears() == ["READY=1", "STATUS=the log must answer", "WATCHDOG=1"]
        stuck.append("the loop has not come round for 130 s")
        heard = supervisor.hears()
        while "WATCHDOG=1" in heard:
            heard = supervisor.hears()
        assert heard == ["STATUS=the loop has not come round for 130 s; the log must answer"]
        stuck.clear()
        while "WATCHDOG=1" not in heard:
            heard = supervisor.hears()


def test_every_process_with_a_desk_is_supervised(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Supervisor(folder)) as supervisor:
        for name, value in supervisor.environment.items():
            monkeypatch.setenv(name, value)
        with open_desk(HttpSection(), "work"):
            assert supervisor.hears() == ["READY=1", "STATUS=work: its parts are being made", "WATCHDOG=1"]


def test_without_a_supervisor_nothing_is_said_and_one_that_is_gone_does_no_harm(folder: str) -> None:
    with supervised(tuple, tuple, {}):
        pass
    with supervised(tuple, tuple, {"NOTIFY_SOCKET": f"{folder}/nobody"}):
        pass


def test_three_times_within_what_the_watchdog_allows() -> None:
    assert _every_s({"WATCHDOG_USEC": "6000000"}) == 2.0
    assert _every_s({"WATCHDOG_USEC": "60000000"}) == TELL_S
    assert _every_s({"WATCHDOG_USEC": "6000000", "WATCHDOG_PID": str(os.getpid() + 1)}) == TELL_S
    assert _every_s({"WATCHDOG_USEC": "much"}) == _every_s({}) == TELL_S
