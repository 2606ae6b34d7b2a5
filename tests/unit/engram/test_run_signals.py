"""Real processes, real signals."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

DRAINS = """
import sys
from engram.run.process import stop_on_signals
with stop_on_signals() as stop:
    print("ready", flush=True)
    stop.wait(60)
    print("draining", flush=True)
    if {stuck}:
        while True:
            stop.wait(60) and __import__("time").sleep(0.05)
print("done", flush=True)
"""


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for child in started:
        child.kill()
        child.wait(10)


def start(children: list[subprocess.Popen[str]], stuck: bool) -> subprocess.Popen[str]:
    code = DRAINS.format(stuck=stuck)
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    children.append(child)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains(children: list[subprocess.Popen[str]], number: signal.Signals) -> None:
    child = start(children, stuck=False)
    child.send_signal(number)
    out, err = child.communicate(timeout=30)
    assert out == "draining\ndone\n"
    assert err == "stopping; once more to leave at once\n"
    assert child.returncode == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_leaves_at_once(children: list[subprocess.Popen[str]], second: signal.Signals) -> None:
    child = start(children, stuck=True)
    child.send_signal(signal.SIGTERM)
    assert child.stdout is not None
    assert child.stdout.readline() == "draining\n"
    child.send_signal(second)
    assert child.wait(30) == 128 + second


MEETS_ANOTHER_THREAD = """
import signal, threading, time
from engram.run.process import stop_on_signals
with stop_on_signals() as stop:
    tell = lambda: (time.sleep(0.2), signal.pthread_kill(threading.get_ident(), signal.SIGTERM))
    threading.Thread(target=tell).start()
    print("told" if stop.wait(20) else "waited in vain", flush=True)
"""


def test_a_signal_that_does_not_wake_the_main_thread_is_heard_all_the_same() -> None:
    """As one is that comes between the last look at signals and the wait."""
    command = [sys.executable, "-c", MEETS_ANOTHER_THREAD]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "told\n")
