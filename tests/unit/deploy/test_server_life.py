"""What all local servers do, tried on a real process that is no server: ports, readiness, faults, an end; no Java."""

import fcntl
import json
import random
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from deploy.local import ports, server
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.process import DetachedProcess
from deploy.local.server import LocalServer
from deploy.local.stack import ServerStatus, Stack, StackStatus, stack_settings
from deploy.local.wait import wait_until
from schemas.errors import FatalError, TransientError


class Sleeper(LocalServer):
    """Ready once it has said so in its log; says the words it is given, then sleeps or ends."""

    name = "sleeper"
    stop_timeout_s = 5.0
    script = "echo up; exec sleep 60"
    is_locked: bool | None = None

    def is_ready(self) -> bool:
        return self.pid is not None and "up\n" in self._process.log()

    def _command(self) -> Sequence[str]:
        self.is_locked = _is_locked(self.folder / "lock")
        self._port("client")
        self._port("controller")
        return ["sh", "-c", self.script]


class Napper(Sleeper):
    """Another, as Redis is beside Kafka."""

    name = "napper"


def _is_locked(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Sleeper]:
    made = Sleeper(tmp_path / "new" / "folder")
    yield made
    made.kill()


def started(made: Sleeper) -> Sleeper:
    made.start()
    made.wait_ready(20)
    return made


def test_an_address_is_chosen_at_the_first_start_and_kept(sleeper: Sleeper) -> None:
    assert sleeper.known_address is None
    assert not sleeper.folder.exists(), "to ask is not to choose"
    started(sleeper)
    address = sleeper.address
    assert sleeper.known_address == address
    other = Sleeper(sleeper.folder)
    assert (other.address, other.pid) == (address, sleeper.pid)
    sleeper.restart(20)
    assert sleeper.address == address


def test_each_purpose_has_a_port_of_its_own(sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where chance would give the same one twice."""
    drawn = iter([25_001, 25_001, 25_002])
    monkeypatch.setattr(random, "randrange", lambda *_: next(drawn))
    monkeypatch.setattr(ports, "is_free", lambda _: True)
    assert (sleeper._port("client"), sleeper._port("controller")) == (25_001, 25_002)
    assert json.loads((sleeper.folder / "sleeper.ports.json").read_text()) == {"client": 25_001, "controller": 25_002}


def test_a_relative_folder_is_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = Sleeper(Path("stack"))
    monkeypatch.chdir("/")
    assert made.folder == tmp_path / "stack"
    assert made.log_path == tmp_path / "stack" / "sleeper.log"


def test_a_remembered_port_that_somebody_took_is_refused_with_what_to_do(
    sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PORT_RELEASE_S", 0.05)
    port = sleeper._port("client")
    with socket.create_server((LOOPBACK, port)), pytest.raises(FatalError) as refused:
        sleeper.start()
    assert f"port {port} of sleeper in {sleeper.folder} is in use by another program" in str(refused.value)
    assert "or delete the folder" in str(refused.value)
    assert sleeper.pid is None
    started(sleeper)  # nobody has it any more


def test_a_server_that_runs_is_left_alone(sleeper: Sleeper) -> None:
    """It holds its ports itself: another start must not take that for somebody else's."""
    pid = started(sleeper).pid
    with socket.create_server((LOOPBACK, sleeper._port("client"))):
        sleeper.start()
    assert sleeper.pid == pid


def test_one_that_dies_while_starting_is_told_with_the_end_of_its_log(sleeper: Sleeper) -> None:
    sleeper.script = "seq 1 40; echo out of memory; exit 3"
    sleeper.start()
    with pytest.raises(FatalError) as died:
        sleeper.wait_ready(20)
    lines = str(died.value).splitlines()
    assert lines[0] == f"sleeper died while starting. The end of {sleeper.log_path}:"
    assert lines[1:] == [*map(str, range(27, 41)), "out of memory"]


def test_one_that_is_not_ready_in_time_may_be_tried_again(sleeper: Sleeper) -> None:
    sleeper.script = "echo loading; exec sleep 60"
    sleeper.start()
    assert wait_until(lambda: "loading" in sleeper.log_path.read_text(), 20)
    with pytest.raises(TransientError, match=rf"sleeper \(pid {sleeper.pid}\) was not ready within 0 s") as late:
        sleeper.wait_ready(0.0)
    assert str(late.value).endswith("loading")
    assert sleeper.pid is not None


def test_what_was_said_before_a_restart_does_not_count_as_ready(sleeper: Sleeper) -> None:
    started(sleeper)
    sleeper.stop()
    assert not sleeper.is_ready()
    sleeper.script = "echo loading; exec sleep 60"
    sleeper.start()
    with pytest.raises(TransientError):
        sleeper.wait_ready(0.0)


def test_a_kill_is_no_goodbye_and_a_stop_is_one(sleeper: Sleeper) -> None:
    sleeper.script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    started(sleeper).kill()
    assert "bye" not in sleeper.log_path.read_text()
    started(sleeper).stop()
    assert sleeper.log_path.read_text().endswith("up\nbye\n")


def test_a_process_that_is_not_there_is_stopped_and_killed_without_a_word(tmp_path: Path) -> None:
    never = DetachedProcess("never", tmp_path)
    never.stop(0.0)
    never.kill()
    assert (never.pid, never.log(), never.log_tail()) == (None, "", "")


@pytest.mark.parametrize("text", ["", "{", '{"pid": 1}', '{"pid": 1, "birth": "x", "log_start_bytes": 0, "more": 1}'])
def test_a_record_that_cannot_be_read_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.pid.json").write_text(text)
    assert DetachedProcess("odd", tmp_path).pid is None


def test_a_process_that_nobody_of_ours_started_is_not_ours(tmp_path: Path) -> None:
    """The pid of a living process, but another birth: after a reboot pids begin anew."""
    own = DetachedProcess("own", tmp_path)
    own.start(["sleep", "60"])
    record = json.loads((tmp_path / "own.pid.json").read_text())
    (tmp_path / "stale.pid.json").write_text(json.dumps(record | {"birth": record["birth"] + "0"}))
    stale = DetachedProcess("stale", tmp_path)
    assert stale.pid is None
    stale.kill()
    assert own.pid == record["pid"], "somebody else's process must live on"
    own.kill()


def test_no_port_at_all_is_an_error_that_says_where_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _: False)
    searched = rf"between {ports._LOWEST} and {ports._HIGHEST} on 127\.0\.0\.1 in 200 tries"
    with pytest.raises(OSError, match=f"no free port found {searched}"):
        free_port()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Both servers replaced by sleepers; it looks for the real programs all the same."""
    made = Stack(tmp_path / "stack")
    made.kafka, made.redis = Sleeper(made.folder), Napper(made.folder)  # type: ignore[assignment]
    made.redis.url = "redis://there/0"  # type: ignore[misc]
    made.kafka.bootstrap_servers = "there:1"  # type: ignore[misc]
    yield made
    made.wipe()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, script in {"java": "echo 'version \"21\"' >&2", "redis-server": "exit 0"}.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.delenv("JAVA_HOME", raising=False)


@pytest.mark.usefixtures("programs")
def test_up_starts_both_under_the_lock_and_leaves_settings(stack: Stack) -> None:
    found = stack.up(20)
    assert found.is_ready
    assert (stack.kafka.is_locked, stack.redis.is_locked) == (True, True)  # type: ignore[attr-defined]
    assert not _is_locked(stack.folder / "lock")
    assert stack_settings(stack.folder) == {
        "ENGRAM_KAFKA__BOOTSTRAP_SERVERS": "there:1",
        "ENGRAM_STORE__URL": "redis://there/0",
    }
    assert f"set -a; . {stack.env_path}; set +a" in str(found)


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("broken", ["kafka", "redis"])
def test_up_with_one_that_dies_leaves_no_settings(stack: Stack, broken: str) -> None:
    """Commands that read them would wait for a server that is not there."""
    getattr(stack, broken).script = "echo no room; exit 1"
    with pytest.raises(FatalError, match="no room"):
        stack.up(20)
    assert stack_settings(stack.folder) == {}
    found = stack.status()
    assert not found.is_ready
    assert getattr(found, broken).pid is None
    assert "for this shell" not in str(found)


@pytest.mark.usefixtures("programs")
def test_down_keeps_the_folder_and_wipe_does_not(stack: Stack) -> None:
    address = stack.up(20).kafka.address
    down = stack.down()
    assert (down.kafka.pid, down.redis.pid, down.kafka.address) == (None, None, address)
    assert stack_settings(stack.folder) == {}
    stack.up(20)
    wiped = stack.wipe()
    assert (wiped.kafka.pid, wiped.redis.pid, wiped.kafka.address) == (None, None, None)
    assert not stack.folder.exists()


def status(name: str, pid: int | None, is_ready: bool, address: str | None = "127.0.0.1:9") -> ServerStatus:
    return ServerStatus(name, address, pid, is_ready, Path(f"/logs/{name}.log"))


@pytest.mark.parametrize(
    ("one", "line"),
    [
        (status("kafka", 7, True), "kafka  ready      127.0.0.1:9            pid 7        log /logs/kafka.log"),
        (status("redis", 7, False), "redis  not ready  127.0.0.1:9            pid 7        log /logs/redis.log"),
        (
            status("redis", None, False, None),
            "redis  down       -                      pid -        log /logs/redis.log",
        ),
    ],
)
def test_a_line_says_how_a_server_is(one: ServerStatus, line: str) -> None:
    assert str(one) == line


@pytest.mark.parametrize(("kafka", "redis"), [(True, True), (True, False), (False, True)])
def test_a_stack_is_ready_when_both_are(kafka: bool, redis: bool) -> None:
    both = StackStatus(Path("/s"), status("kafka", 1, kafka), status("redis", 2, redis), Path("/s/stack.env"))
    assert both.is_ready is (kafka and redis)
    assert ("for this shell" in str(both)) is both.is_ready


def test_settings_may_hold_any_value(tmp_path: Path) -> None:
    (tmp_path / "stack.env").write_text("A=1\n\nB=x=y\nC=\n")
    assert stack_settings(tmp_path) == {"A": "1", "B": "x=y", "C": ""}
